//! Handles: what a client that requests a mail receives and keeps. A code from the mail counts only together with a handle, so
//! that nobody who is told a code can use it elsewhere, and nobody else can use up the attempts of this client.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use zeroize::Zeroizing;

use super::Invalid;

/// The prefix of every handle, by which people and secret scanners recognise one.
const PREFIX: &str = "vh1.";
/// The number of random bytes.
const LEN: usize = 32;

/// A handle: `vh1.` and 32 random bytes in base64url.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketHandle(Zeroizing<[u8; LEN]>);

/// The SHA-256 of a handle, as it is stored. A handle has 256 random bits, so its digest cannot be inverted.
#[derive(Clone, Debug, PartialEq, Eq, DeriveValueType)]
pub struct HandleDigest(Vec<u8>);

// SeaORM requires this of every primary key; only numbers can support it.
impl TryFromU64 for HandleDigest {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("HandleDigest"))
    }
}

impl TicketHandle {
    /// The length of the text, in bytes.
    pub const LENGTH: usize = PREFIX.len() + 43;

    /// Makes a handle of random bytes.
    pub fn new(random: Zeroizing<[u8; LEN]>) -> Self {
        Self(random)
    }

    /// Returns the digest under which the handle is stored.
    pub fn digest(&self) -> HandleDigest {
        HandleDigest(digest::digest(&digest::SHA256, &*self.0).as_ref().to_vec())
    }

    /// Returns the text, for the client that requested the mail.
    pub fn expose(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*self.0))
    }
}

impl FromStr for TicketHandle {
    type Err = Invalid;

    /// Fails with `format`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let bytes = raw.strip_prefix(PREFIX).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(|bytes| Self(Zeroizing::new(bytes))).ok_or_else(|| Invalid::new("format", "Is not a handle."))
    }
}

/// Hides the bytes: a log must not contain them.
impl fmt::Debug for TicketHandle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TicketHandle(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_of_a_handle_parses_to_the_same_handle(bytes: [u8; LEN], other: [u8; LEN]) {
            let (handle, other) = (TicketHandle::new(Zeroizing::new(bytes)), TicketHandle::new(Zeroizing::new(other)));
            let text = handle.expose();
            prop_assert_eq!(text.len(), TicketHandle::LENGTH);
            prop_assert_eq!(text.parse::<TicketHandle>(), Ok(handle.clone()));
            let shown = format!("{handle:?}");
            prop_assert!(!shown.contains(&text[4..]));
            prop_assert_eq!(handle.digest() == other.digest(), handle == other);
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        for raw in ["", "vh1.", "vh1.AAAA", &format!("vh1.{}", "A".repeat(44)), &format!("vt1.{}", "A".repeat(43))] {
            assert_eq!(raw.parse::<TicketHandle>().map(drop).map_err(|invalid| invalid.code), Err("format"), "{raw}");
        }
    }
}
