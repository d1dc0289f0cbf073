//! The kinds of second factors that an account holds, and the ways of proving one.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// The kind of a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType)]
#[serde(rename_all = "snake_case")]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum FactorKind {
    /// An app that shows another code every 30 seconds (RFC 6238).
    Totp,
    /// A passkey.
    Passkey,
}

impl FactorKind {
    /// Returns the name in rows and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => "totp",
            Self::Passkey => "passkey",
        }
    }
}

impl fmt::Display for FactorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for FactorKind {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let found = [Self::Totp, Self::Passkey].into_iter().find(|kind| kind.as_str() == raw);
        found.ok_or_else(|| Invalid::new("not_allowed", "Is not the kind of a factor."))
    }
}

/// How a second factor can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactorProofKind {
    /// With the code of an authenticator app.
    Totp,
    /// With a passkey.
    Passkey,
    /// With a recovery code.
    RecoveryCode,
}

impl FactorProofKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Totp, Self::Passkey, Self::RecoveryCode];

    /// Returns the name in the API: the `kind` of the factor that the client sends.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totp => FactorKind::Totp.as_str(),
            Self::Passkey => FactorKind::Passkey.as_str(),
            Self::RecoveryCode => "recovery_code",
        }
    }
}

impl From<FactorKind> for FactorProofKind {
    fn from(kind: FactorKind) -> Self {
        match kind {
            FactorKind::Totp => Self::Totp,
            FactorKind::Passkey => Self::Passkey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_written_as_its_name() {
        for kind in [FactorKind::Totp, FactorKind::Passkey] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!("recovery_code".parse::<FactorKind>().map_err(|invalid| invalid.code), Err("not_allowed"));
    }
}
