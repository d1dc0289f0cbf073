//! A key that signs and verifies access tokens, for one algorithm.

use aws_lc_rs::{
    encoding::AsDer,
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde_json::json;
use zeroize::Zeroizing;

use super::seal::{Purpose, Sealer};
use crate::entity::{json::JsonText, signing_key::Model};

/// A key.
pub struct JwtKey {
    /// The key id, which is the RFC 7638 thumbprint.
    pub id: String,
    /// The only algorithm that the key is used with.
    pub algorithm: Algorithm,
    pub(super) encoding: EncodingKey,
    decoding: DecodingKey,
    /// The public half; a shared secret has none.
    public_jwk: Option<Jwk>,
}

/// A key cannot be generated or read.
#[derive(Debug, thiserror::Error)]
#[error("the signing key cannot be used: {0}")]
pub struct JwtKeyError(pub(super) String);

impl From<jsonwebtoken::errors::Error> for JwtKeyError {
    fn from(err: jsonwebtoken::errors::Error) -> Self {
        Self(err.to_string())
    }
}

impl From<Unspecified> for JwtKeyError {
    fn from(_: Unspecified) -> Self {
        Self("it could not be generated".into())
    }
}

impl JwtKey {
    /// Generates a private key as PKCS #8 DER. RSA keys have 3072 bits. Fails for a symmetric algorithm, whose secret the
    /// operator chooses.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, JwtKeyError> {
        let random = SystemRandom::new();
        let der = match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8v1(&random)?.as_ref().to_vec(),
            Algorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref().to_vec(),
            Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa3072)?.as_der()?.as_ref().to_vec(),
            other => return Err(JwtKeyError(format!("no key is generated for {other:?}"))),
        };
        Ok(Zeroizing::new(der))
    }

    /// Generates a key, and returns it with its sealed private half.
    pub fn generate_sealed(algorithm: Algorithm, sealer: &Sealer) -> Result<(Self, Vec<u8>), JwtKeyError> {
        let pkcs8 = Self::generate(algorithm)?;
        let key = Self::from_pkcs8(algorithm, &pkcs8)?;
        let sealed = sealer.seal(Purpose::SigningKey, &key.id, &pkcs8);
        Ok((key, sealed))
    }

    /// Opens the private key in a row.
    pub fn open(row: &Model, sealer: &Sealer) -> anyhow::Result<Self> {
        let pkcs8 = sealer.open(Purpose::SigningKey, &row.kid, &row.private_key)?;
        Ok(Self::from_pkcs8(row.algorithm.parse()?, &pkcs8)?)
    }

    /// Reads a private key made by [`Self::generate`].
    pub fn from_pkcs8(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, JwtKeyError> {
        let encoding = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(pkcs8),
            Algorithm::ES256 => EncodingKey::from_ec_der(pkcs8),
            // As PEM, because jsonwebtoken reads RSA keys in DER only as PKCS #1.
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem(pkcs8).as_bytes())?,
            other => return Err(JwtKeyError(format!("{other:?} has no private keys"))),
        };
        let mut public_jwk = Jwk::from_encoding_key(&encoding, algorithm)?;
        let id = public_jwk.thumbprint(ThumbprintHash::SHA256)?;
        public_jwk.common.key_id = Some(id.clone());
        public_jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let decoding = DecodingKey::from_jwk(&public_jwk)?;
        Ok(Self { id, algorithm, encoding, decoding, public_jwk: Some(public_jwk) })
    }

    /// Makes an HS256 key of the operator's shared secret. It is never published.
    pub fn from_shared_secret(secret: &[u8]) -> Result<Self, JwtKeyError> {
        let encoding = EncodingKey::from_secret(secret);
        let id = Jwk::from_encoding_key(&encoding, Algorithm::HS256)?.thumbprint(ThumbprintHash::SHA256)?;
        Ok(Self { id, algorithm: Algorithm::HS256, encoding, decoding: DecodingKey::from_secret(secret), public_jwk: None })
    }

    /// Returns the value of `alg` for this key (RFC 7518 section 3.1).
    pub const fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::EdDSA => "EdDSA",
            Algorithm::ES256 => "ES256",
            Algorithm::RS256 => "RS256",
            _ => "HS256",
        }
    }

    /// Returns the public half as a JWK (RFC 7517). A shared secret has none.
    pub fn public_jwk(&self) -> Option<serde_json::Value> {
        self.public_jwk.as_ref().map(|jwk| json!(jwk))
    }

    /// Returns a row for this key, with its sealed private half.
    pub fn to_row(&self, sealed: Vec<u8>, created_at: DateTime<Utc>, activates_at: DateTime<Utc>) -> Model {
        Model {
            kid: self.id.clone(),
            algorithm: self.algorithm_name().into(),
            private_key: sealed,
            public_jwk: JsonText(self.public_jwk().unwrap_or_default()),
            created_at,
            activates_at,
            retires_at: None,
            revoked_at: None,
        }
    }

    /// Returns whether `signature` (base64url) over `message` was made with this key.
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm).unwrap_or(false)
    }
}

/// Converts PKCS #8 from DER to PEM (RFC 7468 section 10).
fn pem(der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64.encode(der));
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn t11_generated_rsa_keys_have_3072_bits() {
        let pkcs8 = JwtKey::generate(Algorithm::RS256).unwrap();
        let key = JwtKey::from_pkcs8(Algorithm::RS256, &pkcs8).unwrap();
        let modulus = key.public_jwk().unwrap()["n"].as_str().unwrap().to_owned();
        assert_eq!(URL_SAFE_NO_PAD.decode(modulus).unwrap().len() * 8, 3072);
    }
}
