//! Ids of signing keys, as tokens' headers (`kid`) and paths name them.

use std::str::FromStr;

use super::{Invalid, string_newtype::string_newtype};

/// The id of a signing key: 1 to 64 characters of `[A-Za-z0-9_-]`. Vestibule's own are RFC 7638 thumbprints of 43 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

string_newtype!(KeyId);

impl FromStr for KeyId {
    type Err = Invalid;

    /// Fails with `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_plain = raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if raw.is_empty() || raw.len() > 64 || !is_plain {
            return Err(Invalid::new("pattern", "Is not the id of a signing key."));
        }
        Ok(Self(raw.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_1_to_64_plain_characters() {
        assert!(["a", "AZaz09-_", &"k".repeat(64)].iter().all(|raw| raw.parse::<KeyId>().is_ok()));
        assert!(["", "a.b", "a/b", "é", "a b", "a\0", &"k".repeat(65)].iter().all(|raw| raw.parse::<KeyId>().is_err()));
    }
}
