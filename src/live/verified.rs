//! Verified tokens: a token's signature and form are checked once in a process, then remembered. What time, keys and
//! revocations say of it is asked at each use, so forgetting or keeping an entry changes nothing but speed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use crate::values::claims::Claims;

/// How many are remembered: some 10 MB.
const CAPACITY: usize = 10_000;

/// A token that is authentic: this key signed these claims.
#[derive(Clone)]
pub struct Verified {
    /// The key that signed it.
    pub key_id: String,
    /// What it says.
    pub claims: Arc<Claims>,
}

/// The memory, bounded. A token is found by the SHA-256 of the whole of it.
pub struct VerifiedTokens(Cache<[u8; 32], Verified>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl VerifiedTokens {
    /// What is known of `token`; else what `verify` finds, which is remembered unless it is `None`.
    pub fn get_or(&self, token: &str, verify: impl FnOnce() -> Option<Verified>) -> Option<Verified> {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        self.0.get(&name).or_else(|| verify().inspect(|fresh| self.0.insert(name, fresh.clone())))
    }
}
