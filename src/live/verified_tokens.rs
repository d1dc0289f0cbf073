//! Verified tokens: this process verifies the signature of a token once and remembers the result. Expiry, key status and
//! revocation are checked at each use, so the cache affects nothing but speed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use crate::values::claims::Claims;

/// The maximum number of tokens remembered, about 10 MB.
const CAPACITY: usize = 10_000;

/// A token whose signature is valid.
#[derive(Clone)]
pub struct VerifiedToken {
    /// The id of the key that signed it.
    pub key_id: Arc<str>,
    /// Its claims.
    pub claims: Arc<Claims>,
}

/// A bounded cache, keyed by the SHA-256 of the whole token.
pub struct VerifiedTokens(Cache<[u8; 32], VerifiedToken>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl VerifiedTokens {
    /// Returns the remembered result for `token`. Otherwise calls `verify`, and remembers its result unless it is `None`.
    pub fn get_or_verify(&self, token: &str, verify: impl FnOnce() -> Option<VerifiedToken>) -> Option<VerifiedToken> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        self.0.get(&key).or_else(|| verify().inspect(|verified| self.0.insert(key, verified.clone())))
    }
}
