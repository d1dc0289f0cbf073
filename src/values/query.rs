//! Query parameters of lists.

use std::str::FromStr;

use super::{Invalid, string_newtype::string_newtype};

/// The maximum number of items of a page: 1 to 100, 25 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u64);

impl Default for Limit {
    fn default() -> Self {
        Self(25)
    }
}

impl From<Limit> for u64 {
    fn from(limit: Limit) -> Self {
        limit.0
    }
}

impl FromStr for Limit {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        match raw.parse() {
            Ok(limit @ 1..=100) if raw.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(limit)),
            _ => Err(Invalid::new("not_allowed", "Must be a whole number from 1 to 100.")),
        }
    }
}

/// The position at which a page begins, from the page before: 1 to 512 characters that only the server interprets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(String);

string_newtype!(Cursor);

impl FromStr for Cursor {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_base64url = raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if raw.is_empty() || raw.len() > 512 || !is_base64url {
            return Err(Invalid::new("not_allowed", "Is not a cursor of this list."));
        }
        Ok(Self(raw.to_owned()))
    }
}

/// The id of an audit event's subject, of any kind: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectId(String);

string_newtype!(SubjectId);

impl FromStr for SubjectId {
    type Err = Invalid;

    /// Fails with `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_plain = raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if raw.is_empty() || raw.len() > 64 || !is_plain {
            return Err(Invalid::new("pattern", "Must be 1 to 64 ASCII letters, digits, dots, underscores and hyphens."));
        }
        Ok(Self(raw.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1", Some(1))]
    #[case("100", Some(100))]
    #[case("0", None)]
    #[case("101", None)]
    #[case("+5", None)]
    #[case("-1", None)]
    #[case("5.0", None)]
    #[case("", None)]
    #[case("99999999999999999999999", None)]
    fn h09_a_limit_is_1_to_100(#[case] raw: &str, #[case] expected: Option<u64>) {
        assert_eq!(raw.parse::<Limit>().ok().map(u64::from), expected);
    }

    #[test]
    fn a_cursor_is_base64url() {
        assert!("eyJ-_9".parse::<Cursor>().is_ok());
        assert!(["", "a=", "a b", "é", &"a".repeat(513)].iter().all(|raw| raw.parse::<Cursor>().is_err()));
    }
}
