//! Descriptions: what something is for, in a sentence.

use std::str::FromStr;

use super::{Invalid, name::Name, word::word};

/// What something is for: 1 to 300 characters on one line, by the rules of a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description(String);

word!(Description);

impl FromStr for Description {
    type Err = Invalid;

    /// # Errors
    /// `too_short`, `too_long`, or `not_allowed` for control characters.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        Name::line(raw, 300).map(Self)
    }
}
