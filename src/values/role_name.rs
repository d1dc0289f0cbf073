//! Names of roles, including the two built-in roles.

use std::str::FromStr;

use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};

use super::{Invalid, characters::first_disallowed, string_newtype::string_newtype};

/// The name of a role, as in tokens and paths: 2 to 32 characters of `[a-z0-9_-]`. A name from the database or from the claims
/// of a token was checked when it was written, and is not checked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType)]
#[serde(transparent)]
pub struct RoleName(String);

string_newtype!(RoleName);

impl RoleName {
    /// The built-in role that grants every permission and cannot be changed.
    pub const ADMIN: &'static str = "admin";
    /// The built-in role that grants no permission. Users reach only their own objects.
    pub const USER: &'static str = "user";

    /// The maximum number of roles, including the built-in ones. It limits the size of a 403, which lists the roles that grant
    /// a permission.
    pub const MOST: usize = 1_000;

    /// A name that the database stores.
    pub(crate) fn stored(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name [`RoleName::ADMIN`].
    pub fn admin() -> Self {
        Self(Self::ADMIN.to_owned())
    }

    /// The name [`RoleName::USER`].
    pub fn user() -> Self {
        Self(Self::USER.to_owned())
    }
}

// SeaORM requires this of every primary key; only numbers can support it.
impl TryFromU64 for RoleName {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("RoleName"))
    }
}

impl FromStr for RoleName {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long` or `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        if let Some(which) = first_disallowed(raw, |character| matches!(character, 'a'..='z' | '0'..='9' | '_' | '-')) {
            let rule = "A role name may contain only lower-case ASCII letters, digits, underscores and hyphens";
            return Err(Invalid::new("pattern", format!("{rule}, but {which}.")));
        }
        match raw.len() {
            0..2 => Err(Invalid::new("too_short", "A role name must have at least 2 characters.")),
            2..=32 => Ok(Self(raw.to_owned())),
            _ => Err(Invalid::new("too_long", "A role name must have at most 32 characters.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("hr", Ok(()))]
    #[case("billing_clerk-2", Ok(()))]
    #[case("abcdefghijklmnopqrstuvwxyz012345", Ok(()))]
    #[case("a", Err("too_short"))]
    #[case("abcdefghijklmnopqrstuvwxyz0123456", Err("too_long"))]
    #[case("Admin", Err("pattern"))]
    #[case("a.b", Err("pattern"))]
    #[case("a b", Err("pattern"))]
    #[case("ad\u{131}", Err("pattern"))]
    fn a_role_name_is_rejected_rather_than_changed(#[case] raw: &str, #[case] expected: Result<(), &str>) {
        let parsed = raw.parse::<RoleName>().map_err(|invalid| invalid.code);
        assert_eq!(parsed, expected.map(|()| RoleName(raw.to_owned())));
    }

    #[test]
    fn the_built_in_names_are_valid() {
        assert_eq!(RoleName::ADMIN.parse(), Ok(RoleName::admin()));
        assert_eq!(RoleName::USER.parse(), Ok(RoleName::user()));
    }
}
