//! Identifiers: whom somebody says they are when they log in.

use std::str::FromStr;

use super::{Invalid, email::Email, username::Username};

/// An identifier as given at log-in. Reading one never fails: an ill-formed identifier is simply nobody's, so that it costs
/// and answers the same as a wrong password. White space around it is trimmed, because keyboards add it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// It holds an `@` and is an e-mail address.
    Email(Email),
    /// It holds no `@` and is a username.
    Username(Username),
    /// It can be no account's. What was sent is not kept: it may be a password in the wrong field.
    Unknown,
}

impl FromStr for Identifier {
    type Err = Invalid;

    /// Never fails.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        Ok(if raw.contains('@') {
            raw.parse().map_or(Self::Unknown, Self::Email)
        } else {
            raw.parse().map_or(Self::Unknown, Self::Username)
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
    fn an_identifier_is_an_email_a_username_or_nobodys() {
        assert_eq!(identifier("Ada@Example.org"), Identifier::Email("ada@example.org".parse().unwrap()));
        assert_eq!(identifier("ADA"), Identifier::Username("ada".parse().unwrap()));
        assert_eq!(identifier(" Ada@Example.org\n"), Identifier::Email("ada@example.org".parse().unwrap()));
        assert_eq!(identifier("\u{A0}ada "), Identifier::Username("ada".parse().unwrap()));
        for nobodys in
            [" ", "a da", "", "@", "a", "hunter2 hunter2", "ada@", "ada\0", "adm\u{131}n@example.org", &"a".repeat(100_000)]
        {
            assert_eq!(identifier(nobodys), Identifier::Unknown);
        }
    }
}
