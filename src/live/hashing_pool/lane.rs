//! What a job of a hashing pool is, and the lane in which it computes its hashes.

use std::{
    array::from_fn,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use vestibule_lanes::{Input, LENGTH};
use zeroize::Zeroizing;

/// What a thread calls with its verdict on a job. Returns the future of a job that runs.
pub(super) type Work = Box<dyn FnOnce(Verdict) -> Option<Computation> + Send>;

/// The rest of a job. It awaits nothing but its lane.
pub(super) type Computation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether a job runs.
pub(super) enum Verdict {
    Run(Lane),
    /// The job has waited too long, or made room for a job of another network.
    Reject,
}

/// Where a job computes its hashes, one after another, while other jobs compute theirs.
pub struct Lane {
    pub(super) hash: Arc<Mutex<Hash>>,
    /// The thread has no other lane (`password.lanes = 1`), so the `bcrypt` crate computes the hashes.
    pub(super) is_only_lane: bool,
}

/// The hash that a job waits for.
pub(super) enum Hash {
    None,
    Requested(Input),
    Computed([u8; LENGTH]),
}

impl Lane {
    /// Computes the bcrypt hash of `password` with 2^`cost` rounds. Of a password, bcrypt reads at most 71 bytes.
    pub async fn bcrypt(&self, password: &[u8], salt: [u8; 16], cost: u32) -> [u8; LENGTH] {
        if self.is_only_lane {
            let mut key = Zeroizing::new(password.to_vec());
            key.push(0);
            let hash = bcrypt::bcrypt(cost, salt, &key);
            return from_fn(|at| hash[at]);
        }
        *lock(&self.hash) = Hash::Requested(Input::new(password, salt, cost));
        poll_fn(|_| {
            let mut hash = lock(&self.hash);
            match *hash {
                Hash::Computed(result) => {
                    *hash = Hash::None;
                    Poll::Ready(result)
                }
                _ => Poll::Pending,
            }
        })
        .await
    }
}

pub(super) fn lock(hash: &Mutex<Hash>) -> MutexGuard<'_, Hash> {
    hash.lock().unwrap_or_else(PoisonError::into_inner)
}
