//! Sealing: secrets lie in the database only under the master key (AES-256-GCM), bound to their purpose and id,
//! so that one row's secret cannot be put in another's place.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// The length of a master key, in bytes.
pub const KEY_LEN: usize = 32;

/// Seals and opens under one master key.
pub struct Sealer(RandomizedNonceKey);

/// The box does not open: another master key, another purpose or id, or altered bytes.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open the secrets in this database")]
pub struct WrongKey;

impl Sealer {
    /// Takes the master key into use.
    ///
    /// # Panics
    /// Never: AES-256 takes any 32 bytes.
    #[must_use]
    pub fn new(master_key: &[u8; KEY_LEN]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, master_key).expect("AES-256 takes any 32 bytes"))
    }

    /// Seals `secret` for `purpose` and `id`: a random nonce, then ciphertext and tag.
    ///
    /// # Panics
    /// Never: AES-GCM refuses only inputs beyond 64 GiB.
    #[must_use]
    pub fn seal(&self, purpose: &str, id: &str, secret: &[u8]) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self.0.seal_in_place_append_tag(bound_to(purpose, id), &mut sealed).expect("secrets are short");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Opens what [`Self::seal`] made for the same `purpose` and `id`.
    ///
    /// # Errors
    /// [`WrongKey`].
    pub fn open(&self, purpose: &str, id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(WrongKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrongKey)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self.0.open_in_place(nonce, bound_to(purpose, id), &mut plain).map_err(|_| WrongKey)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// What a box is bound to; NUL separates, as neither part can hold it.
fn bound_to(purpose: &str, id: &str) -> Aad<Vec<u8>> {
    Aad::from([b"vestibule\0", purpose.as_bytes(), b"\0", id.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_only_under_its_key_purpose_and_id() {
        let sealer = Sealer::new(&[7; KEY_LEN]);
        let closed = sealer.seal("pepper", "1", b"secret");
        assert_eq!(*sealer.open("pepper", "1", &closed).unwrap(), b"secret");
        assert!(sealer.open("pepper", "2", &closed).is_err());
        assert!(sealer.open("signing-key", "1", &closed).is_err());
        assert!(Sealer::new(&[8; KEY_LEN]).open("pepper", "1", &closed).is_err());
        assert!(sealer.open("pepper", "1", &closed[1..]).is_err());
        assert!(sealer.open("pepper", "1", b"").is_err());
    }

    #[test]
    fn the_same_secret_is_never_sealed_alike() {
        let sealer = Sealer::new(&[7; KEY_LEN]);
        assert_ne!(sealer.seal("pepper", "1", b"secret"), sealer.seal("pepper", "1", b"secret"));
    }
}
