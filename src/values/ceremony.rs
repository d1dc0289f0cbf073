//! The text of a ceremony: what a client keeps between the two requests by which a passkey is made or used. Only the service can
//! read it.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::Invalid;

/// The beginning of every text.
const PREFIX: &str = "vp1.";
/// The length of the id, in bytes.
const ID_LEN: usize = 16;

/// The text of a ceremony: `vp1.`, and in base64url the id and the sealed content. Parsing does not open it.
#[derive(Clone, PartialEq, Eq)]
pub struct CeremonyText {
    /// The id, from which the key of the content is derived.
    pub id: Uuid,
    /// The sealed content.
    pub sealed: Vec<u8>,
}

impl CeremonyText {
    /// The greatest length of the text, in bytes. The content is shorter than 1 KiB.
    pub const MAX_LENGTH: usize = 2048;
}

impl fmt::Display for CeremonyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", URL_SAFE_NO_PAD.encode([self.id.as_bytes(), self.sealed.as_slice()].concat()))
    }
}

impl FromStr for CeremonyText {
    type Err = Invalid;

    /// Fails with `format`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let parse = || {
            let bytes = URL_SAFE_NO_PAD.decode(raw.strip_prefix(PREFIX)?).ok()?;
            let (id, sealed) = bytes.split_first_chunk::<ID_LEN>()?;
            Some(Self { id: Uuid::from_bytes(*id), sealed: sealed.to_vec() })
        };
        let text = (raw.len() <= Self::MAX_LENGTH).then(parse).flatten();
        text.ok_or_else(|| Invalid::new("format", "Is not the text of a ceremony."))
    }
}

/// Leaves the content out, which nobody can read.
impl fmt::Debug for CeremonyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CeremonyText({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_parses_to_what_it_was_written_from(id: u128, sealed in prop::collection::vec(any::<u8>(), 0..1000)) {
            let text = CeremonyText { id: Uuid::from_u128(id), sealed };
            prop_assert_eq!(text.to_string().parse::<CeremonyText>(), Ok(text));
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        let id = "A".repeat(22);
        for raw in ["", "vp1.", &format!("vp1.{}", &id[1..]), &format!("vp2.{id}"), &format!("vp1.{id}="), &format!(" vp1.{id}")]
        {
            assert_eq!(raw.parse::<CeremonyText>().map_err(|invalid| invalid.code), Err("format"), "{raw}");
        }
        let longest = format!("vp1.{}", "A".repeat(CeremonyText::MAX_LENGTH - 4));
        assert!(longest.parse::<CeremonyText>().is_ok());
        assert!(format!("{longest}AAAA").parse::<CeremonyText>().is_err());
    }
}
