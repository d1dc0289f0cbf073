//! Usernames: short names to log in with. A username never contains an `@`, so that it cannot be mistaken for an e-mail
//! address.

use std::str::FromStr;

use super::{Invalid, characters::first_disallowed, string_newtype::string_newtype};

/// A username: 3 to 32 characters of `[a-z0-9._-]`, the first of them a letter. Upper-case ASCII letters are lower-cased, and
/// white space around the username is trimmed, because keyboards add both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Username(String);

string_newtype!(Username);

impl FromStr for Username {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long` or `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        // To Rust, the control character U+0085 is white space; to the pattern in the contract (ECMA-262), it is not.
        let raw = raw.trim_matches(|character: char| character.is_whitespace() && character != '\u{85}');
        if let Some(which) =
            first_disallowed(raw, |character| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-'))
        {
            let rule = "A username may contain only ASCII letters, digits, dots, underscores and hyphens";
            return Err(Invalid::new("pattern", format!("{rule}, but {which}.")));
        }
        if let Some(which) = raw.get(..1).and_then(|first| first_disallowed(first, |character| character.is_ascii_alphabetic())) {
            return Err(Invalid::new("pattern", format!("A username must start with a letter, but {which}.")));
        }
        match raw.len() {
            0..3 => Err(Invalid::new("too_short", "A username must have at least 3 characters.")),
            3..=32 => Ok(Self(raw.to_ascii_lowercase())),
            _ => Err(Invalid::new("too_long", "A username must have at most 32 characters.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ada", Ok("ada"))]
    #[case("Ada.Lovelace_1815-x", Ok("ada.lovelace_1815-x"))]
    #[case("abcdefghijklmnopqrstuvwxyz012345", Ok("abcdefghijklmnopqrstuvwxyz012345"))]
    #[case("", Err("too_short"))]
    #[case("ab", Err("too_short"))]
    #[case("abcdefghijklmnopqrstuvwxyz0123456", Err("too_long"))]
    #[case("1ada", Err("pattern"))]
    #[case(".ada", Err("pattern"))]
    #[case("ada@example.org", Err("pattern"))]
    #[case("ada l", Err("pattern"))]
    #[case(" Ada\t\u{a0}", Ok("ada"))]
    #[case(" abcdefghijklmnopqrstuvwxyz012345 ", Ok("abcdefghijklmnopqrstuvwxyz012345"))]
    #[case(" ab ", Err("too_short"))]
    #[case("   ", Err("too_short"))]
    #[case("ada\0", Err("pattern"))]
    #[case("ada\nl", Err("pattern"))]
    #[case("ada\u{85}", Err("pattern"))]
    #[case("\u{212A}elvin", Err("pattern"))]
    #[case("adm\u{131}n", Err("pattern"))]
    fn a_username_is_short_and_plain(#[case] raw: &str, #[case] expected: Result<&str, &str>) {
        assert_eq!(
            raw.parse::<Username>().map(Username::into_string).map_err(|invalid| invalid.code),
            expected.map(str::to_owned)
        );
    }

    proptest! {
        #[test]
        fn p05_a_username_is_canonical_and_never_an_email(raw in "\\PC{0,40}|[A-Za-z][A-Za-z0-9._-]{2,31}") {
            if let Ok(username) = raw.parse::<Username>() {
                prop_assert_eq!(username.as_str().parse::<Username>(), Ok(username.clone()));
                prop_assert!(username.as_str().parse::<super::super::email::Email>().is_err());
            }
        }
    }
}
