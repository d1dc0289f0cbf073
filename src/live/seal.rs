//! Sealing: the database holds each secret encrypted under the master key (AES-256-GCM). The ciphertext is bound to a purpose
//! and an id, so that the secret of one row cannot be used in another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// The length of a master key in bytes.
pub const KEY_LEN: usize = 32;

/// What a sealed value is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A row of the table of secrets; the id is its name.
    Secret,
    /// The private half of a signing key; the id is the key's.
    SigningKey,
    /// The secret of an authenticator app; the id is the factor's.
    Totp,
    /// The credential of a passkey; the id is the factor's.
    Passkey,
    /// A ceremony of a passkey; the id is what the ceremony is for.
    Ceremony,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::SigningKey => "signing-key",
            Self::Totp => "totp",
            Self::Passkey => "passkey",
            Self::Ceremony => "ceremony",
        }
    }
}

/// Seals and opens values under one master key.
pub struct Sealer(RandomizedNonceKey);

/// The value was sealed under another master key, or for another purpose or id, or was altered.
#[derive(Debug, thiserror::Error)]
#[error("the master key does not open the secrets in this database")]
pub struct OpenError;

impl Sealer {
    /// Uses this master key.
    pub fn new(master_key: &[u8; KEY_LEN]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, master_key).expect("AES-256 takes any 32 bytes"))
    }

    /// Seals `value`. The result is a random nonce, the ciphertext and the tag.
    pub fn seal(&self, purpose: Purpose, id: &str, value: &[u8]) -> Vec<u8> {
        let mut sealed = value.to_vec();
        let bound_to = associated_data(purpose, id);
        let nonce = self.0.seal_in_place_append_tag(bound_to, &mut sealed).expect("the value is shorter than 64 GiB");
        [nonce.as_ref().as_slice(), &sealed].concat()
    }

    /// Opens a value that was sealed for the same `purpose` and `id`.
    pub fn open(&self, purpose: Purpose, id: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(OpenError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self.0.open_in_place(nonce, associated_data(purpose, id), &mut plain).map_err(|_| OpenError)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Returns what a sealed value is bound to. NUL separates the parts, because neither a purpose nor an id contains it.
fn associated_data(purpose: Purpose, id: &str) -> Aad<Vec<u8>> {
    Aad::from([b"vestibule\0", purpose.name().as_bytes(), b"\0", id.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_only_under_its_key_purpose_and_id() {
        let sealer = Sealer::new(&[7; KEY_LEN]);
        let sealed = sealer.seal(Purpose::Secret, "1", b"secret");
        assert_eq!(*sealer.open(Purpose::Secret, "1", &sealed).unwrap(), b"secret");
        assert!(sealer.open(Purpose::Secret, "2", &sealed).is_err());
        assert!(sealer.open(Purpose::SigningKey, "1", &sealed).is_err());
        assert!(Sealer::new(&[8; KEY_LEN]).open(Purpose::Secret, "1", &sealed).is_err());
        assert!(sealer.open(Purpose::Secret, "1", &sealed[1..]).is_err());
        assert!(sealer.open(Purpose::Secret, "1", b"").is_err());
    }

    #[test]
    fn sealing_a_value_twice_gives_different_bytes() {
        let sealer = Sealer::new(&[7; KEY_LEN]);
        assert_ne!(sealer.seal(Purpose::Secret, "1", b"secret"), sealer.seal(Purpose::Secret, "1", b"secret"));
    }
}
