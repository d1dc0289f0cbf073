//! Ends this process before its nth statement, as if the machine had lost power.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use rustix::process::{Signal, getpid, kill_process};

/// The number of statements that this process may still send.
static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Kills this process before its nth statement or commit from now, which is never sent.
pub(crate) fn before(nth: u64) {
    LEFT.store(nth - 1, Ordering::SeqCst);
}

/// Withdraws [`before`].
pub(crate) fn never() {
    LEFT.store(u64::MAX, Ordering::SeqCst);
}

/// Counts a statement that is about to be sent.
pub(in crate::live::database) fn count() {
    if LEFT.fetch_sub(1, Ordering::SeqCst) == 0 {
        _ = kill_process(getpid(), Signal::KILL);
        loop {
            thread::park(); // until the signal arrives
        }
    }
}
