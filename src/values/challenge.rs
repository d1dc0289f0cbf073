//! Challenges. A client that has shown the password, or has read the mailbox, receives one where the account also needs a second
//! factor.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;

use super::{Invalid, client_secret::client_secret, factor_kind::FactorProofKind};

client_secret!(
    /// A challenge: `vc1.` and 32 random bytes in base64url.
    Challenge,
    /// The SHA-256 of a challenge, as it is stored.
    ChallengeDigest,
    "vc1.",
    "Is not a challenge."
);

/// What a caller receives that has to prove a second factor.
#[derive(Debug, Clone)]
pub struct Challenged {
    /// The challenge.
    pub challenge: Challenge,
    /// How a second factor can be proven.
    pub factors: Vec<FactorProofKind>,
    /// How long the challenge lives, in seconds.
    pub expires_in: i64,
}

/// What a challenge completes. It completes nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum ChallengePurpose {
    /// A log-in with a password.
    LogIn,
    /// A reset of the password by mail.
    Reset,
    /// The undoing of a changed address by mail.
    Revert,
}

impl ChallengePurpose {
    /// Every purpose.
    pub const ALL: &'static [Self] = &[Self::LogIn, Self::Reset, Self::Revert];

    /// Returns the name in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogIn => "log_in",
            Self::Reset => "reset",
            Self::Revert => "revert",
        }
    }
}

impl fmt::Display for ChallengePurpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for ChallengePurpose {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|purpose| purpose.as_str() == raw);
        found.copied().ok_or_else(|| Invalid::new("not_allowed", "Is not the purpose of a challenge."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_written_as_its_name() {
        for purpose in ChallengePurpose::ALL {
            assert_eq!(purpose.to_string().parse(), Ok(*purpose));
        }
        assert_eq!("verify".parse::<ChallengePurpose>().map_err(|invalid| invalid.code), Err("not_allowed"));
    }
}
