//! Identifiers: the e-mail address or username that a caller logs in with.

use std::str::FromStr;

use super::{Invalid, email::Email, username::Username};

/// An identifier as given at log-in. Parsing never fails: a malformed identifier belongs to no account, so that it takes the
/// same time and gets the same response as a wrong password. White space around it is trimmed, because keyboards add it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// A valid e-mail address.
    Email(Email),
    /// A valid username.
    Username(Username),
    /// Neither. The text is not kept: it may be a password in the wrong field.
    Malformed,
}

impl FromStr for Identifier {
    type Err = Invalid;

    /// Never fails.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        Ok(if raw.contains('@') {
            raw.parse().map_or(Self::Malformed, Self::Email)
        } else {
            raw.parse().map_or(Self::Malformed, Self::Username)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(raw: &str) -> Identifier {
        raw.parse().unwrap()
    }

    #[test]
    fn an_identifier_is_an_email_a_username_or_malformed() {
        assert_eq!(identifier("Ada@Example.org"), Identifier::Email("ada@example.org".parse().unwrap()));
        assert_eq!(identifier("ADA"), Identifier::Username("ada".parse().unwrap()));
        assert_eq!(identifier(" Ada@Example.org\n"), Identifier::Email("ada@example.org".parse().unwrap()));
        assert_eq!(identifier("\u{A0}ada "), Identifier::Username("ada".parse().unwrap()));
        for malformed in
            [" ", "a da", "", "@", "a", "hunter2 hunter2", "ada@", "ada\0", "adm\u{131}n@example.org", &"a".repeat(100_000)]
        {
            assert_eq!(identifier(malformed), Identifier::Malformed);
        }
    }
}
