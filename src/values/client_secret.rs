//! What the secrets have in common that a client receives, keeps and sends back: a prefix by which people and secret scanners
//! recognise them, and 32 random bytes, of which only the SHA-256 is stored.

/// Declares such a secret and its digest: `client_secret!(TicketHandle, HandleDigest, "vh1.", "Is not a handle.");`.
macro_rules! client_secret {
    ($(#[$about:meta])* $Secret:ident, $(#[$of_digest:meta])* $Digest:ident, $prefix:literal, $not:literal) => {
        $(#[$about])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $Secret(zeroize::Zeroizing<[u8; 32]>);

        $(#[$of_digest])*
        #[derive(Clone, Debug, PartialEq, Eq, sea_orm::DeriveValueType)]
        pub struct $Digest(Vec<u8>);

        // SeaORM requires this of every primary key; only numbers can support it.
        impl sea_orm::TryFromU64 for $Digest {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($Digest)))
            }
        }

        impl $Secret {
            /// The length of the text, in bytes.
            pub const LENGTH: usize = $prefix.len() + 43;

            /// Makes one of random bytes.
            pub fn new(random: zeroize::Zeroizing<[u8; 32]>) -> Self {
                Self(random)
            }

            /// Returns the digest, as it is stored. The secret has 256 random bits, so its digest cannot be inverted.
            pub fn digest(&self) -> $Digest {
                use aws_lc_rs::digest::{SHA256, digest};
                $Digest(digest(&SHA256, &*self.0).as_ref().to_vec())
            }

            /// Returns the text, for the client.
            pub fn expose(&self) -> String {
                use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
                format!("{}{}", $prefix, URL_SAFE_NO_PAD.encode(*self.0))
            }
        }

        impl std::str::FromStr for $Secret {
            type Err = $crate::values::Invalid;

            /// Fails with `format`.
            fn from_str(raw: &str) -> Result<Self, Self::Err> {
                use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
                let bytes = raw.strip_prefix($prefix).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
                let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
                bytes.map(|bytes| Self(zeroize::Zeroizing::new(bytes))).ok_or_else(|| Self::Err::new("format", $not))
            }
        }

        /// Hides the bytes: a log must not contain them.
        impl std::fmt::Debug for $Secret {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(concat!(stringify!($Secret), "(hidden)"))
            }
        }
    };
}

pub(super) use client_secret;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use crate::values::{challenge::Challenge, ticket_handle::TicketHandle};

    proptest! {
        #[test]
        fn the_text_of_a_secret_parses_to_the_same_secret(bytes: [u8; 32], other: [u8; 32]) {
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
        let challenge = Challenge::new(Zeroizing::new([7; 32])).expose();
        assert!(challenge.parse::<Challenge>().is_ok() && challenge.parse::<TicketHandle>().is_err());
    }
}
