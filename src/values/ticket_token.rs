//! The text of ticket tokens: the part of a mailed link that proves its holder reads the mailbox.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Invalid, ids::TicketId};

/// The prefix of every ticket token, by which people and secret scanners recognise one.
const PREFIX: &str = "vt1.";
/// The length of the MAC (HMAC-SHA-256), in bytes.
pub const MAC_LEN: usize = 32;

/// A ticket token: `vt1.`, the id of the ticket and its MAC, both in base64url, with a dot between them. Parsing does not check
/// the MAC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TicketToken {
    /// The ticket.
    pub ticket: TicketId,
    /// The MAC of the ticket's purpose, id, user and address.
    pub mac: [u8; MAC_LEN],
}

impl TicketToken {
    /// The length of the text, in bytes.
    pub const LENGTH: usize = PREFIX.len() + 22 + 1 + 43;
}

impl fmt::Display for TicketToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, mac) = (URL_SAFE_NO_PAD.encode(Uuid::from(self.ticket).as_bytes()), URL_SAFE_NO_PAD.encode(self.mac));
        write!(out, "{PREFIX}{id}.{mac}")
    }
}

impl FromStr for TicketToken {
    type Err = Invalid;

    /// Fails with `invalid_ticket`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let parse = || {
            let (id, mac) = raw.strip_prefix(PREFIX)?.split_once('.')?;
            let id: [u8; 16] = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
            let mac = URL_SAFE_NO_PAD.decode(mac).ok()?.try_into().ok()?;
            Some(Self { ticket: Uuid::from_bytes(id).into(), mac })
        };
        parse().ok_or_else(|| Invalid::new("invalid_ticket", "Is not the token of a link."))
    }
}

/// Hides the MAC: with it, anybody who reads a log could use the link.
impl fmt::Debug for TicketToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "TicketToken({}, hidden)", self.ticket)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_a_token_parses_to_the_same_token_and_has_no_other_spelling(
            id: u128, mac: [u8; MAC_LEN], at in 0..TicketToken::LENGTH
        ) {
            let token = TicketToken { ticket: Uuid::from_u128(id).into(), mac };
            let text = token.to_string();
            prop_assert_eq!(text.len(), TicketToken::LENGTH);
            prop_assert_eq!(text.parse::<TicketToken>(), Ok(token));
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains(&text[30..]));
            let mut other = text.into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            prop_assert_ne!(String::from_utf8(other).unwrap().parse::<TicketToken>(), Ok(token));
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        let id = "A".repeat(22);
        for raw in [
            "",
            "vt1.",
            "vt1..",
            &format!("vt1.{id}"),
            &format!("vt1.{id}.AAAA"),
            &format!("vt1.AAAA.{}", "A".repeat(43)),
            &format!("vt2.{id}.{}", "A".repeat(43)),
            &format!("vt1.{id}.{}=", "A".repeat(43)),
            &format!(" vt1.{id}.{}", "A".repeat(43)),
        ] {
            assert_eq!(raw.parse::<TicketToken>().map_err(|invalid| invalid.code), Err("invalid_ticket"), "{raw}");
        }
    }
}
