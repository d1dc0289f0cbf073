//! The text of refresh tokens: the session, a serial, and a MAC which shows that Vestibule issued the token.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Invalid, counters::Serial, ids::SessionId};

/// The prefix of every refresh token, by which people and secret scanners recognise one.
const PREFIX: &str = "vrt_";
/// The length of the MAC (HMAC-SHA-256), in bytes.
pub const MAC_LEN: usize = 32;

/// A refresh token: `vrt_` and 75 characters of base64url. Parsing does not check the MAC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RefreshToken {
    /// The session it belongs to.
    pub session: SessionId,
    /// The serial: the log-in issues serial 1, and each refresh issues the next one.
    pub serial: Serial,
    /// The MAC of [`RefreshToken::message`].
    pub mac: [u8; MAC_LEN],
}

impl RefreshToken {
    /// Returns the bytes that the MAC authenticates: the session and the serial.
    pub fn message(session: SessionId, serial: Serial) -> [u8; 24] {
        let mut message = [0; 24];
        message[..16].copy_from_slice(Uuid::from(session).as_bytes());
        message[16..].copy_from_slice(&i64::from(serial).to_be_bytes());
        message
    }
}

impl fmt::Display for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24 + MAC_LEN];
        bytes[..24].copy_from_slice(&Self::message(self.session, self.serial));
        bytes[24..].copy_from_slice(&self.mac);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for RefreshToken {
    type Err = Invalid;

    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("format", "Is not a refresh token.");
        let bytes = raw.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or_else(invalid)?;
        let (session, rest) = bytes.split_first_chunk::<16>().ok_or_else(invalid)?;
        let (serial, mac) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
        Ok(Self {
            session: Uuid::from_bytes(*session).into(),
            serial: i64::from_be_bytes(*serial).into(),
            mac: mac.try_into().map_err(|_| invalid())?,
        })
    }
}

/// Hides the MAC: with it, anybody who reads a log could refresh the session.
impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({}, {}, hidden)", self.session, i64::from(self.serial))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_a_token_parses_to_the_same_token_and_has_no_other_spelling(
            session: u128, serial: i64, mac: [u8; MAC_LEN], at in 0usize..79
        ) {
            let token = RefreshToken { session: Uuid::from_u128(session).into(), serial: serial.into(), mac };
            let text = token.to_string();
            prop_assert_eq!(text.len(), 79);
            prop_assert_eq!(text.parse::<RefreshToken>(), Ok(token));
            let shown = format!("{token:?}");
            prop_assert!(!shown.contains(&text[40..]));
            let mut other = text.into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            prop_assert_ne!(String::from_utf8(other).unwrap().parse::<RefreshToken>(), Ok(token));
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for raw in
            ["", "vrt_", "vrt_AAAA", "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln", &format!("vrt_{}", "A".repeat(76)), &"A".repeat(75)]
        {
            assert!(raw.parse::<RefreshToken>().is_err(), "{raw}");
        }
    }
}
