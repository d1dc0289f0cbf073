//! The kinds of mails: what each is about, and what its text must contain.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;

use super::Invalid;

/// What a mail carries that proves, once it comes back, that somebody reads the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A link, and a code for those who cannot follow the link.
    LinkAndCode,
    /// A link only. The page behind it asks for a new password, so that it works on any device without a code.
    Link,
    /// Nothing: the mail informs.
    None,
}

macro_rules! mail_kinds {
    ($($kind:ident $name:literal $proof:ident $about:literal;)*) => {
        /// The kind of a mail. Each kind has a template for each language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
        #[sea_orm(value_type = "String", column_type = "Text")]
        pub enum MailKind { $(#[doc = $about] $kind,)* }

        impl MailKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the name in rows, in the API and in the names of templates.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// Returns the proof that a mail of this kind carries.
            pub const fn proof(self) -> Proof {
                match self { $(Self::$kind => Proof::$proof,)* }
            }

            /// Returns a sentence for the person who operates the service.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$kind => $about,)* }
            }
        }
    };
}

mail_kinds! {
    SignUp               "sign_up"                LinkAndCode "Somebody signs up with this address.";
    AccountExists        "account_exists"         None        "Somebody signs up with this address, which already has an account.";
    Verify               "verify"                 LinkAndCode "The owner of an account proves that this address is theirs.";
    Reset                "reset"                  LinkAndCode "Somebody has forgotten the password of this account.";
    Change               "change"                 LinkAndCode "The owner of an account wants to use this new address.";
    Revert               "revert"                 Link        "The account has a new address; the old mailbox can undo this.";
    Invite               "invite"                 Link        "An administrator invites this address.";
    PasswordChanged      "password_changed"       None        "The password was changed.";
    PasswordReset        "password_reset"         None        "The password was reset with a mail.";
    EmailChangeRequested "email_change_requested" None        "The account is about to get another address.";
    EmailChanged         "email_changed"          None        "The account has a new address.";
    EmailChangeUndone    "email_change_undone"    None        "The account has its old address again.";
    FactorAdded          "factor_added"           None        "The account has a new second factor.";
    FactorRemoved        "factor_removed"         None        "A second factor of the account was removed.";
    FactorsReset         "factors_reset"          None        "An administrator has removed all second factors.";
    FactorRefused        "factor_refused"         None        "Somebody entered three wrong factors after a correct password.";
    RecoveryCodesCreated "recovery_codes_created" None        "The account has new recovery codes.";
    RecoveryCodeUsed     "recovery_code_used"     None        "A recovery code was used.";
    RecoveryCodesLow     "recovery_codes_low"     None        "Few recovery codes are left.";
    RecoveryCodesVoid    "recovery_codes_void"    None        "The recovery codes no longer work, because a backup was restored.";
    NewSignIn            "new_sign_in"            None        "Somebody signed in with a browser that was not known.";
    AccountDisabled      "account_disabled"       None        "An administrator has disabled the account.";
    AccountClosed        "account_closed"         None        "The account was closed.";
    Test                 "test"                   None        "An operator tries whether mail arrives.";
}

impl fmt::Display for MailKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for MailKind {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == raw);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            Invalid::new("not_allowed", format!("Must be one of these: {}.", names.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_kind_is_written_as_its_name() {
        for kind in MailKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
            assert!(kind.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{kind}");
            assert!(kind.about().ends_with('.'), "{kind}");
        }
        let names: BTreeSet<_> = MailKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), MailKind::ALL.len());
    }

    #[test]
    fn other_names_are_rejected_with_a_list() {
        for raw in ["", "Reset", "reset ", "sign-up", "welcome"] {
            let invalid = raw.parse::<MailKind>().unwrap_err();
            assert_eq!(invalid.code, "not_allowed");
            assert!(invalid.detail.contains("reset"), "{invalid}");
        }
    }
}
