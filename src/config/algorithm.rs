//! Signing algorithms.

use std::str::FromStr;

/// The signing algorithm of access tokens (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// RSA with PKCS #1 v1.5 padding and SHA-256.
    Rs256,
    /// HMAC with SHA-256, for services that already share a secret.
    Hs256,
}

impl Algorithm {
    /// Returns the name, as in the settings and in `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::EdDsa, Self::Es256, Self::Rs256, Self::Hs256].into_iter().find(|algorithm| algorithm.as_str() == raw).ok_or(())
    }
}
