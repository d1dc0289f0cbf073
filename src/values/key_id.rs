//! Key ids: what names a signing key in a token's header and in a path.

use std::str::FromStr;

use super::{Invalid, word::word};

/// The id of a signing key: 1 to 64 of `[A-Za-z0-9_-]`; ours are RFC 7638 thumbprints, of 43.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

word!(KeyId);

impl FromStr for KeyId {
    type Err = Invalid;

    /// # Errors
    /// `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_plain = raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if raw.is_empty() || raw.len() > 64 || !is_plain {
            return Err(Invalid::new("pattern", "Is not the id of a key."));
        }
        Ok(Self(raw.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_plain() {
        assert!(["a", "AZaz09-_", &"k".repeat(64)].iter().all(|raw| raw.parse::<KeyId>().is_ok()));
        assert!(["", "a.b", "a/b", "é", "a b", "a\0", &"k".repeat(65)].iter().all(|raw| raw.parse::<KeyId>().is_err()));
    }
}
