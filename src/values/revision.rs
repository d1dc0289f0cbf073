//! Revisions as HTTP says them: the entity tag of a row that counts its changes, and the condition that names some.

use std::{fmt, str::FromStr};

use super::Invalid;

/// The state of something that counts its changes, as a strong entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// An `If-Match` condition (RFC 9110 section 13.1.1) of at most 1024 characters. A tag that is not ours matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(String);

impl IfMatch {
    /// Whether the condition holds for this state. Weak tags never match here.
    #[must_use]
    pub fn allows(&self, revision: i64) -> bool {
        let tag = Revision(revision).to_string();
        self.0.split(',').map(str::trim).any(|it| it == "*" || it == tag)
    }
}

impl FromStr for IfMatch {
    type Err = Invalid;

    /// # Errors
    /// `too_long`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        if raw.chars().count() > 1024 {
            return Err(Invalid::new("too_long", "A condition has at most 1024 characters."));
        }
        Ok(Self(raw.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_for_the_states_it_names() {
        let allows = |raw: &str, revision| raw.parse::<IfMatch>().unwrap().allows(revision);
        assert!(allows("\"7\"", 7) && allows("\"6\", \"7\"", 7) && allows("*", 7));
        assert!(!allows("\"7\"", 8) && !allows("W/\"7\"", 7) && !allows("7", 7) && !allows("", 7));
        assert_eq!("*,".repeat(513).parse::<IfMatch>().map_err(|it| it.code), Err("too_long"));
    }
}
