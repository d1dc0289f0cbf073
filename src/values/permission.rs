//! Permissions: the table of Vestibule's own, the names that applications choose, and sets of both.

use std::{collections::BTreeSet, str::FromStr};

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::Serialize;

use super::{Invalid, characters::first_disallowed, string_newtype::string_newtype};

/// One of Vestibule's own permissions, as a type that guards name in a handler's signature.
pub trait Permission: Send + Sync + 'static {
    /// The name on the wire.
    const NAME: &'static str;
}

macro_rules! permissions {
    ($($marker:ident, $name:literal, $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            #[derive(Clone, Copy, Debug)]
            pub struct $marker;

            impl Permission for $marker {
                const NAME: &'static str = $name;
            }
        )*

        /// All of Vestibule's own permissions: the name on the wire and the sentence.
        pub const ALL: &[(&str, &str)] = &[$(($name, $sentence)),*];
    };
}

permissions! {
    ReadUsers,        "users:read",        "See every account.";
    WriteUsers,       "users:write",       "Create and change accounts, disable them and set their passwords.";
    DeleteUsers,      "users:delete",      "Delete accounts.";
    RecoverUsers,     "users:recover",     "Remove the second factors of accounts whose owners have lost them.";
    AssignRoles,      "roles:assign",      "Give roles to accounts and take them away.";
    ReadSessions,     "sessions:read",     "See where any account is logged in.";
    EndSessions,      "sessions:end",      "Log any account out.";
    ReadRoles,        "roles:read",        "See roles and permissions.";
    WriteRoles,       "roles:write",       "Create, change and delete roles.";
    ReadAudit,        "audit:read",        "Read the audit trail.";
    ReadKeys,         "keys:read",         "See the signing keys.";
    RotateKeys,       "keys:rotate",       "Rotate and revoke signing keys.";
    IntrospectTokens, "tokens:introspect", "Check whether an access token is valid.";
    ReadMails,        "mails:read",        "See the mails that were sent and those that wait.";
    WriteMails,       "mails:write",       "Send mails again, and send test mails.";
}

/// One of Vestibule's own permissions, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct OwnPermission(&'static str);

impl OwnPermission {
    /// Returns the permission that the type `P` names.
    pub const fn of<P: Permission>() -> Self {
        Self(P::NAME)
    }

    /// Returns all of Vestibule's own permissions.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|(name, _)| Self(name))
    }

    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl From<OwnPermission> for PermissionName {
    fn from(permission: OwnPermission) -> Self {
        Self(permission.0.to_owned())
    }
}

/// The name of a permission, Vestibule's own or an application's: `word:word`, each word of `[a-z0-9._-]`, at most 64
/// characters. A name from the database was checked when it was written, and is not checked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, DeriveValueType)]
#[serde(transparent)]
pub struct PermissionName(String);

string_newtype!(PermissionName);

// SeaORM requires this of every primary key; only numbers can support it.
impl TryFromU64 for PermissionName {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("PermissionName"))
    }
}

impl FromStr for PermissionName {
    type Err = Invalid;

    /// Fails with `too_long` or `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_allowed = |character| matches!(character, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':');
        if let Some(which) = first_disallowed(raw, is_allowed) {
            let rule =
                "A permission may contain only lower-case ASCII letters, digits, dots, underscores and hyphens, and one colon";
            return Err(Invalid::new("pattern", format!("{rule}, but {which}.")));
        }
        if raw.len() > 64 {
            return Err(Invalid::new("too_long", "A permission must have at most 64 characters."));
        }
        match raw.split_once(':') {
            Some((thing, action)) if is_word(thing) && is_word(action) => Ok(Self(raw.to_owned())),
            _ => Err(Invalid::new(
                "pattern",
                "A permission must be two words with one colon between them, such as billing:refund.",
            )),
        }
    }
}

impl PermissionName {
    /// Returns the permission of Vestibule's own that was probably meant, if this name begins like one (`users:` or `user:`)
    /// but is none. A role with such a permission would grant nothing.
    pub fn suggestion(&self) -> Option<&'static str> {
        let subject = |name: &str| name.split(':').next().unwrap_or_default().trim_end_matches('s').to_owned();
        let own = || ALL.iter().map(|(name, _)| *name);
        if own().any(|name| name == self.0) || !own().any(|name| subject(name) == subject(&self.0)) {
            return None;
        }
        own().min_by_key(|name| strsim::damerau_levenshtein(name, &self.0))
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(':')
}

/// The permissions that a caller holds or a role grants. The default is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    /// Every present and future permission, including the application's. Only the role `admin` grants this.
    All,
    /// Exactly these permissions.
    Listed(BTreeSet<PermissionName>),
}

impl Grants {
    /// No permission.
    pub fn none() -> Self {
        Self::Listed(BTreeSet::new())
    }

    /// Returns whether the permission of this name is granted.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Listed(names) => names.contains(name),
        }
    }

    /// Returns the permissions that are granted by either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::Listed(mut names), Self::Listed(more)) => {
                names.extend(more);
                Self::Listed(names)
            }
            _ => Self::All,
        }
    }

    /// Returns whether every permission of `other` is granted here too. No list covers `All`, because `All` grows with the
    /// application.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Listed(_), Self::All) => false,
            (Self::Listed(held), Self::Listed(needed)) => needed.is_subset(held),
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self::none()
    }
}

impl FromIterator<PermissionName> for Grants {
    fn from_iter<I: IntoIterator<Item = PermissionName>>(names: I) -> Self {
        Self::Listed(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn each_permission_has_a_valid_unique_name_and_a_whole_sentence() {
        let names: BTreeSet<_> = ALL.iter().map(|(name, _)| name.parse::<PermissionName>().unwrap()).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|(_, sentence)| sentence.ends_with('.')));
    }

    #[rstest]
    #[case("billing:refund", Ok(()))]
    #[case("a.b-c_1:2", Ok(()))]
    #[case("billing", Err("pattern"))]
    #[case(":refund", Err("pattern"))]
    #[case("billing:", Err("pattern"))]
    #[case("a:b:c", Err("pattern"))]
    #[case("Billing:refund", Err("pattern"))]
    #[case("billing:*", Err("pattern"))]
    #[case("billing :refund", Err("pattern"))]
    #[case("", Err("pattern"))]
    fn a_permission_is_word_colon_word(#[case] raw: &str, #[case] expected: Result<(), &str>) {
        let parsed = raw.parse::<PermissionName>().map_err(|invalid| invalid.code);
        assert_eq!(parsed, expected.map(|()| PermissionName(raw.to_owned())));
    }

    #[rstest]
    #[case("user:read", Some("users:read"))]
    #[case("users:raed", Some("users:read"))]
    #[case("users:wrote", Some("users:write"))]
    #[case("role:assign", Some("roles:assign"))]
    #[case("audits:read", Some("audit:read"))]
    #[case("token:introspect", Some("tokens:introspect"))]
    #[case("key:rotat", Some("keys:rotate"))]
    #[case("users:read", None)]
    #[case("billing:refund", None)]
    #[case("users-of-billing:read", None)]
    #[case("rules:write", None)]
    #[case("audio:read", None)]
    fn a_misspelt_own_permission_is_recognised(#[case] raw: &str, #[case] nearest: Option<&str>) {
        assert_eq!(raw.parse::<PermissionName>().unwrap().suggestion(), nearest);
    }

    #[test]
    fn a_permission_has_at_most_64_characters() {
        let longest = format!("a:{}", "b".repeat(62));
        assert!(longest.parse::<PermissionName>().is_ok());
        assert_eq!(format!("{longest}b").parse::<PermissionName>().unwrap_err().code, "too_long");
    }

    fn grants() -> impl Strategy<Value = Grants> {
        prop_oneof![
            1 => Just(Grants::All),
            6 => proptest::collection::btree_set("[a-d]:[a-b]".prop_map(PermissionName), 0..6).prop_map(Grants::Listed),
        ]
    }

    proptest! {
        #[test]
        fn a_union_covers_both_parts_and_nothing_else(one in grants(), other in grants(), name in "[a-d]:[a-b]") {
            let both = one.clone().union(other.clone());
            prop_assert!(both.covers(&one) && both.covers(&other) && both.covers(&Grants::none()));
            prop_assert_eq!(both.contains(&name), one.contains(&name) || other.contains(&name));
            prop_assert_eq!(one.covers(&both), one.covers(&other));
        }

        #[test]
        fn covering_means_containing_every_permission(one in grants(), other in grants(), name in "[a-d]:[a-b]") {
            prop_assert!(!one.covers(&other) || !other.contains(&name) || one.contains(&name));
        }
    }

    #[test]
    fn no_list_covers_all() {
        let listed: Grants = ALL.iter().map(|(name, _)| PermissionName((*name).to_owned())).collect();
        assert!(!listed.covers(&Grants::All));
        assert!(Grants::All.covers(&listed) && Grants::All.contains("billing:refund"));
        assert!(!Grants::default().contains(ReadUsers::NAME));
    }
}
