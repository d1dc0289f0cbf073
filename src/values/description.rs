//! Descriptions of roles.

use std::str::FromStr;

use super::{Invalid, name::Name, string_newtype::string_newtype};

/// A description: 1 to 300 characters on one line, by the rules of a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

string_newtype!(Description);

impl FromStr for Description {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long` or `not_allowed` (control characters).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        Name::parse_line(raw, 300).map(Self)
    }
}
