//! The key ring: the keys that sign and verify access tokens. The key that `kid` names determines the algorithm; the token
//! never does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use jsonwebtoken::Header;
use sea_orm::{ConnectionTrait, DbErr};
use serde::Serialize;
use serde_json::json;

use super::{
    jwt_key::{JwtKey, JwtKeyError},
    seal::Sealer,
};
use crate::entity::signing_key::{self, Model};

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const TOKEN_TYPE: &str = "at+jwt";

/// Every key that was not revoked, with its row. The row's times are compared with the clock at each use.
#[derive(Default)]
pub struct KeyRing {
    keys: HashMap<String, (Model, Arc<JwtKey>)>,
    /// The operator's shared secret. If it is set, it signs.
    shared_secret: Option<Arc<JwtKey>>,
    /// The last key set, and the ids of its keys.
    published: Mutex<(Vec<String>, Bytes)>,
}

impl KeyRing {
    /// Makes a ring of these keys.
    pub fn new(keys: Vec<(Model, Arc<JwtKey>)>, shared_secret: Option<Arc<JwtKey>>) -> Self {
        let keys = keys.into_iter().map(|(row, key)| (row.kid.clone(), (row, key))).collect();
        Self { keys, shared_secret, published: Mutex::default() }
    }

    /// Loads the keys that were not revoked. Also returns the ids of the keys that the sealer does not open. Keys that
    /// `in_use` contains are not opened again, so a process keeps them after the master key was changed.
    pub async fn load(conn: &impl ConnectionTrait, sealer: &Sealer, in_use: &Self) -> Result<(Self, Vec<String>), DbErr> {
        let (mut keys, mut unopened) = (Vec::new(), Vec::new());
        for row in signing_key::Entity::unrevoked(conn).await? {
            match in_use.key(&row.kid).or_else(|| JwtKey::open(&row, sealer).ok().map(Arc::new)) {
                Some(key) => keys.push((row, key)),
                None => unopened.push(row.kid),
            }
        }
        Ok((Self::new(keys, in_use.shared_secret.clone()), unopened))
    }

    fn key(&self, id: &str) -> Option<Arc<JwtKey>> {
        self.keys.get(id).map(|(_, key)| Arc::clone(key))
    }

    /// Returns the key with this id if its tokens may be valid at `now`.
    pub fn verifier(&self, id: &str, now: DateTime<Utc>) -> Option<&Arc<JwtKey>> {
        match self.keys.get(id) {
            Some((row, key)) => row.is_trusted(now).then_some(key),
            None => self.shared_secret.as_ref().filter(|key| key.id == id),
        }
    }

    /// Returns the public keys as a JWK set (RFC 7517 section 5), oldest first, so that all replicas return the same bytes.
    pub fn jwks(&self, now: DateTime<Utc>) -> Bytes {
        let mut keys: Vec<_> = self.keys.values().filter(|(row, _)| row.is_trusted(now)).collect();
        keys.sort_by_key(|(row, _)| (row.created_at, &row.kid));
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if published.1.is_empty() || !keys.iter().map(|(row, _)| &row.kid).eq(&published.0) {
            let jwks: Vec<_> = keys.iter().filter_map(|(_, key)| key.public_jwk()).collect();
            let ids = keys.iter().map(|(row, _)| row.kid.clone()).collect();
            *published = (ids, json!({ "keys": jwks }).to_string().into());
        }
        published.1.clone()
    }

    /// Returns the key that signs at `now`.
    pub fn signer(&self, now: DateTime<Utc>) -> Option<Arc<JwtKey>> {
        let signer = || signing_key::signer(self.keys.values().map(|(row, _)| row), now).and_then(|row| self.key(&row.kid));
        self.shared_secret.clone().or_else(signer)
    }

    /// Signs `claims` at `now`. Returns a compact JWT whose header is exactly `alg`, `typ` and `kid`, or `None` if no key signs.
    pub fn sign(&self, claims: &impl Serialize, now: DateTime<Utc>) -> Result<Option<String>, JwtKeyError> {
        let Some(key) = self.signer(now) else { return Ok(None) };
        let mut header = Header::new(key.algorithm);
        header.typ = Some(TOKEN_TYPE.into());
        header.kid = Some(key.id.clone());
        Ok(Some(jsonwebtoken::encode(&header, claims, &key.encoding)?))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{
        Algorithm,
        jwk::{Jwk, ThumbprintHash},
    };

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(60 * minute, 0).unwrap()
    }

    /// A key that signs from this minute on.
    fn active_from(key: JwtKey, minute: i64) -> (Model, Arc<JwtKey>) {
        (key.to_row(Vec::new(), at(0), at(minute)), Arc::new(key))
    }

    fn new(algorithm: Algorithm) -> JwtKey {
        JwtKey::from_pkcs8(algorithm, &JwtKey::generate(algorithm).unwrap()).unwrap()
    }

    fn shared_secret() -> Arc<JwtKey> {
        Arc::new(JwtKey::from_shared_secret(&[9; 32]).unwrap())
    }

    #[test]
    fn t12_the_time_alone_decides_which_key_signs_and_which_are_trusted() {
        let (mut first, second) = (active_from(new(Algorithm::EdDSA), 1), active_from(new(Algorithm::EdDSA), 10));
        first.0.retires_at = Some(at(71));
        let ids = [first.0.kid.clone(), second.0.kid.clone()];
        let ring = KeyRing::new(vec![first, second], None);
        let signer =
            |minute| jsonwebtoken::decode_header(ring.sign(&json!({}), at(minute)).unwrap().unwrap()).unwrap().kid.unwrap();
        // At minute 0 this clock is behind that of the replica that made the first key.
        for (minute, signs) in [(0, 0), (1, 0), (9, 0), (10, 1), (71, 1)] {
            assert_eq!(signer(minute), ids[signs], "minute {minute}");
        }
        let published = |minute| {
            let set = String::from_utf8(ring.jwks(at(minute)).into()).unwrap();
            ids.each_ref().map(|id| set.contains(id.as_str()))
        };
        assert_eq!([published(0), published(70), published(71)], [[true, true], [true, true], [false, true]]);
        assert!(ring.verifier(&ids[0], at(70)).is_some() && ring.verifier(&ids[0], at(71)).is_none());
    }

    #[test]
    fn every_algorithm_verifies_what_it_signs() {
        let generated = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256].map(new);
        let rings = generated.into_iter().map(|key| KeyRing::new(vec![active_from(key, 0)], None));
        for ring in rings.chain([KeyRing::new(Vec::new(), Some(shared_secret()))]) {
            let token = ring.sign(&json!({ "sub": "somebody" }), at(0)).unwrap().unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let id = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
            assert!(ring.verifier(&id, at(0)).unwrap().verifies(message, signature));
            assert!(!ring.verifier(&id, at(0)).unwrap().verifies(&message[1..], signature));
        }
    }

    #[test]
    fn t12_the_key_set_names_each_key_by_its_thumbprint_and_contains_no_secret() {
        let keys = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256].map(|algorithm| active_from(new(algorithm), 0));
        let ring = KeyRing::new(keys.into(), Some(shared_secret()));
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
}
