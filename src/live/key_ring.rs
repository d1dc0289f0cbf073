//! The key ring: the keys that sign and verify access tokens. The algorithm belongs to the key, never to a token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header,
    jwk::{Jwk, PublicKeyUse, ThumbprintHash},
};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::entity::{
    json::JsonText,
    signing_key::{self, Model},
};

/// What a token's `typ` says (RFC 9068 section 2.1).
pub const TYPE: &str = "at+jwt";

/// One key, with what it takes to sign and to verify.
pub struct Key {
    /// The key id: the RFC 7638 thumbprint.
    pub id: String,
    /// The one algorithm this key is for.
    pub algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The public half; a shared secret has none.
    public: Option<Jwk>,
}

/// A key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("the signing key cannot be used: {0}")]
pub struct BadKey(String);

impl From<jsonwebtoken::errors::Error> for BadKey {
    fn from(err: jsonwebtoken::errors::Error) -> Self {
        Self(err.to_string())
    }
}

impl From<aws_lc_rs::error::Unspecified> for BadKey {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self("it could not be generated".into())
    }
}

impl Key {
    /// A new private key for `algorithm`, as PKCS #8 DER. RSA keys have 3072 bits.
    ///
    /// # Errors
    /// For a symmetric algorithm, whose secret is the operator's own.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, BadKey> {
        let random = SystemRandom::new();
        let der = match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::generate_pkcs8v1(&random)?.as_ref().to_vec(),
            Algorithm::ES256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?.as_ref().to_vec(),
            Algorithm::RS256 => RsaKeyPair::generate(KeySize::Rsa3072)?.as_der()?.as_ref().to_vec(),
            other => return Err(BadKey(format!("no key is generated for {other:?}"))),
        };
        Ok(Zeroizing::new(der))
    }

    /// A private key made by [`Self::generate`].
    ///
    /// # Errors
    /// When the bytes are no such key.
    pub fn private(algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, BadKey> {
        let encoding = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(pkcs8),
            Algorithm::ES256 => EncodingKey::from_ec_der(pkcs8),
            // PEM, because jsonwebtoken takes RSA keys in DER only as PKCS #1.
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem(pkcs8).as_bytes())?,
            other => return Err(BadKey(format!("no private key is of {other:?}"))),
        };
        let mut public = Jwk::from_encoding_key(&encoding, algorithm)?;
        let id = public.thumbprint(ThumbprintHash::SHA256)?;
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { id, algorithm, encoding, decoding: DecodingKey::from_jwk(&public)?, public: Some(public) })
    }

    /// The operator's own secret, for HS256. It is never published.
    ///
    /// # Errors
    /// When the thumbprint cannot be computed.
    pub fn shared(secret: &[u8]) -> Result<Self, BadKey> {
        let encoding = EncodingKey::from_secret(secret);
        let id = Jwk::from_encoding_key(&encoding, Algorithm::HS256)?.thumbprint(ThumbprintHash::SHA256)?;
        Ok(Self { id, algorithm: Algorithm::HS256, encoding, decoding: DecodingKey::from_secret(secret), public: None })
    }

    /// The name of the algorithm, as `alg` says it (RFC 7518 section 3.1).
    #[must_use]
    pub const fn algorithm_name(&self) -> &'static str {
        match self.algorithm {
            Algorithm::EdDSA => "EdDSA",
            Algorithm::ES256 => "ES256",
            Algorithm::RS256 => "RS256",
            _ => "HS256",
        }
    }

    /// The public half as JSON; `None` for a shared secret.
    #[must_use]
    pub fn public(&self) -> Option<serde_json::Value> {
        self.public.as_ref().map(|jwk| json!(jwk))
    }

    /// The row of this key, whose private half is `sealed`.
    #[must_use]
    pub fn row(&self, sealed: Vec<u8>, created_at: DateTime<Utc>, activates_at: DateTime<Utc>) -> Model {
        Model {
            kid: self.id.clone(),
            algorithm: self.algorithm_name().into(),
            private_key: sealed,
            public_jwk: JsonText(self.public().unwrap_or_default()),
            created_at,
            activates_at,
            retires_at: None,
            revoked_at: None,
        }
    }

    /// Whether `signature` (base64url) over `message` was made with this key.
    #[must_use]
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm).unwrap_or(false)
    }
}

/// PKCS #8 DER in PEM's clothes (RFC 7468 section 10).
fn pem(der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64.encode(der));
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Zeroizing::new(format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n")))
}

/// All keys whose tokens may still be alive, and the one that signs. What time makes of them is asked at each use.
#[derive(Default)]
pub struct KeyRing {
    keys: HashMap<String, (Model, Arc<Key>)>,
    /// The operator's own secret. Where there is one, it signs.
    shared: Option<Arc<Key>>,
    /// The last key set, and the ids of its keys.
    published: Mutex<(Vec<String>, Bytes)>,
}

impl KeyRing {
    /// A ring of these keys, with the rows that say when each is in use.
    #[must_use]
    pub fn new(keys: Vec<(Model, Arc<Key>)>, shared: Option<Arc<Key>>) -> Self {
        Self { keys: keys.into_iter().map(|it| (it.0.kid.clone(), it)).collect(), shared, published: Mutex::default() }
    }

    /// The key of this id, if its tokens may be good at `now`: an exact look-up in memory, nothing else.
    #[must_use]
    pub fn get(&self, id: &str, now: DateTime<Utc>) -> Option<&Arc<Key>> {
        match self.keys.get(id) {
            Some((row, key)) => row.is_trusted(now).then_some(key),
            None => self.shared.as_ref().filter(|it| it.id == id),
        }
    }

    /// The key of this id, whatever its time.
    #[must_use]
    pub fn opened(&self, id: &str) -> Option<Arc<Key>> {
        self.keys.get(id).map(|(_, key)| Arc::clone(key))
    }

    /// The operator's own secret.
    #[must_use]
    pub fn shared(&self) -> Option<Arc<Key>> {
        self.shared.clone()
    }

    /// The public keys as a JWK set (RFC 7517 section 5), oldest first: all replicas spell it alike. While the keys stay
    /// the same, every caller gets the same bytes.
    #[must_use]
    pub fn jwks(&self, now: DateTime<Utc>) -> Bytes {
        let mut keys: Vec<_> = self.keys.values().filter(|(row, _)| row.is_trusted(now)).collect();
        keys.sort_by_key(|(row, _)| (row.created_at, &row.kid));
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.1.is_empty() || !keys.iter().map(|(row, _)| &row.kid).eq(&published.0) {
            let public: Vec<_> = keys.iter().filter_map(|(_, key)| key.public()).collect();
            let ids = keys.iter().map(|(row, _)| row.kid.clone()).collect();
            *published = (ids, json!({ "keys": public }).to_string().into());
        }
        published.1.clone()
    }

    /// The key that signs at `now`, if any does.
    #[must_use]
    pub fn signer(&self, now: DateTime<Utc>) -> Option<Arc<Key>> {
        let own = || signing_key::signer(self.keys.values().map(|(row, _)| row), now).and_then(|it| self.opened(&it.kid));
        self.shared().or_else(own)
    }

    /// Signs `claims` at `now` into a compact JWT whose header is exactly `alg`, `typ` and `kid`.
    ///
    /// # Errors
    /// When no key signs, or the cryptography fails.
    pub fn sign(&self, claims: &impl Serialize, now: DateTime<Utc>) -> Result<String, BadKey> {
        let key = self.signer(now).ok_or_else(|| BadKey("no key signs".into()))?;
        let mut header = Header::new(key.algorithm);
        header.typ = Some(TYPE.into());
        header.kid = Some(key.id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &key.encoding)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(60 * minute, 0).unwrap()
    }

    /// A key that signs from this minute on.
    fn held(key: Key, minute: i64) -> (Model, Arc<Key>) {
        (key.row(Vec::new(), at(0), at(minute)), Arc::new(key))
    }

    fn new() -> Key {
        Key::private(Algorithm::EdDSA, &Key::generate(Algorithm::EdDSA).unwrap()).unwrap()
    }

    #[test]
    fn t12_the_clock_alone_decides_who_signs_and_who_is_believed() {
        let (mut first, second) = (held(new(), 1), held(new(), 10));
        first.0.retires_at = Some(at(71));
        let ids = [first.0.kid.clone(), second.0.kid.clone()];
        let ring = KeyRing::new(vec![first, second], None);
        let signer = |minute| jsonwebtoken::decode_header(ring.sign(&json!({}), at(minute)).unwrap()).unwrap().kid.unwrap();
        // At 0 this clock is behind that of whoever made the first key.
        for (minute, signs) in [(0, 0), (1, 0), (9, 0), (10, 1), (71, 1)] {
            assert_eq!(signer(minute), ids[signs], "minute {minute}");
        }
        let published = |minute| {
            let set = String::from_utf8(ring.jwks(at(minute)).into()).unwrap();
            ids.each_ref().map(|id| set.contains(id.as_str()))
        };
        assert_eq!([published(0), published(70), published(71)], [[true, true], [true, true], [false, true]]);
        assert!(ring.get(&ids[0], at(70)).is_some() && ring.get(&ids[0], at(71)).is_none());
    }

    #[test]
    fn every_algorithm_signs_what_it_verifies() {
        let generated = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256]
            .map(|algorithm| Key::private(algorithm, &Key::generate(algorithm).unwrap()).unwrap());
        let shared = Arc::new(Key::shared(&[9; 32]).unwrap());
        let rings = generated.into_iter().map(|key| KeyRing::new(vec![held(key, 0)], None));
        for ring in rings.chain([KeyRing::new(Vec::new(), Some(shared))]) {
            let token = ring.sign(&json!({ "sub": "somebody" }), at(0)).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let id = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
            assert!(ring.get(&id, at(0)).unwrap().verifies(message, signature));
            assert!(!ring.get(&id, at(0)).unwrap().verifies(&message[1..], signature));
        }
    }

    #[test]
    fn t12_the_key_set_names_each_key_by_its_thumbprint_and_tells_no_secret() {
        let keys = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256]
            .map(|algorithm| held(Key::private(algorithm, &Key::generate(algorithm).unwrap()).unwrap(), 0));
        let ring = KeyRing::new(keys.into(), Some(Arc::new(Key::shared(&[9; 32]).unwrap())));
        let set: serde_json::Value = serde_json::from_slice(&ring.jwks(at(0))).unwrap();
        let keys = set["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 3, "a shared secret is never published");
        for key in keys {
            let jwk: Jwk = serde_json::from_value(key.clone()).unwrap();
            assert_eq!(key["kid"], jwk.thumbprint(ThumbprintHash::SHA256).unwrap());
            assert_eq!(key["use"], "sig");
            assert!(key["alg"].is_string());
            for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
                assert!(key.get(private).is_none(), "{private} is in the key set");
            }
        }
    }

    #[test]
    fn t11_generated_rsa_keys_have_3072_bits() {
        let key = Key::private(Algorithm::RS256, &Key::generate(Algorithm::RS256).unwrap()).unwrap();
        let modulus = key.public().unwrap()["n"].as_str().unwrap().to_owned();
        assert_eq!(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(modulus).unwrap().len() * 8, 3072);
    }
}
