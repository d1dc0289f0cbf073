//! The progress of one connection: what the server waits for, since when, and how many bytes the connection keeps in
//! memory. Separate from the connection table so that the table can compare connections.

use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use crate::live::clock::{Clock, SystemClock};

/// What the client has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientStep {
    /// Send the next request on an idle connection.
    NextRequest,
    /// Send the first request, the rest of a head, or the rest of a body.
    RestOfRequest,
    /// Read the response.
    ReadResponse,
}

/// The server waits for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) step: ClientStep,
    /// The uptime at which the wait began.
    pub(super) since: Duration,
}

/// The progress of a connection.
pub(super) struct Progress {
    /// A request is in flight: its head is complete, and its response is not sent.
    in_flight: AtomicBool,
    /// The number of requests whose responses were sent.
    responses: AtomicU64,
    /// The body of the last request was not read to its end.
    unread_body: AtomicBool,
    /// Bytes were written that the client has not accepted.
    writing: AtomicBool,
    state: Mutex<State>,
    eviction: Notify,
}

#[derive(Default)]
struct State {
    /// `None` while the server does not wait for the client.
    wait: Option<Wait>,
    /// The value of `wait` at the moment the connection was chosen for eviction.
    wait_at_eviction: Option<Wait>,
    /// Bytes of a request that is not complete.
    received: usize,
    /// Bytes of a response that the client has not accepted, unless other responses share them.
    unsent: usize,
}

impl Progress {
    /// Returns the progress of a new connection: it waits for its first request.
    pub(super) fn new() -> Self {
        let wait = Wait { step: ClientStep::RestOfRequest, since: SystemClock.uptime() };
        Self {
            in_flight: AtomicBool::default(),
            responses: AtomicU64::default(),
            unread_body: AtomicBool::default(),
            writing: AtomicBool::default(),
            state: Mutex::new(State { wait: Some(wait), ..State::default() }),
            eviction: Notify::new(),
        }
    }

    /// Notes that the head of a request is complete.
    pub(super) fn begin_request(&self) {
        self.stop_waiting();
        self.unread_body.store(false, Ordering::Release);
        self.in_flight.store(true, Ordering::Release);
    }

    /// Notes that the response was sent, or given up.
    pub(super) fn end_request(&self) {
        self.responses.fetch_add(1, Ordering::AcqRel);
        self.in_flight.store(false, Ordering::Release);
    }

    /// Whether a request is in flight.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.load(Ordering::Acquire)
    }

    /// The number of requests whose responses were sent.
    pub(super) fn responses(&self) -> u64 {
        self.responses.load(Ordering::Acquire)
    }

    /// Notes whether the service left a part of the last request's body unread.
    pub(super) fn set_unread_body(&self, is_unread: bool) {
        self.unread_body.store(is_unread, Ordering::Release);
    }

    /// Whether the service left a part of the last request's body unread.
    pub(super) fn has_unread_body(&self) -> bool {
        self.unread_body.load(Ordering::Acquire)
    }

    /// Notes that bytes were written which the client may not have accepted.
    pub(super) fn begin_write(&self) {
        self.writing.store(true, Ordering::Release);
    }

    /// Notes that every written byte was accepted. Returns whether any were outstanding.
    pub(super) fn end_write(&self) -> bool {
        self.writing.swap(false, Ordering::AcqRel)
    }

    /// Whether closing the connection now would lose a response.
    pub(super) fn is_busy(&self) -> bool {
        self.is_in_flight() || self.writing.load(Ordering::Acquire)
    }

    /// Whether the client has not completed the head of any request.
    pub(super) fn has_had_no_request(&self) -> bool {
        !self.is_in_flight() && self.responses() == 0
    }

    /// Waits for the client from now on.
    pub(super) fn wait_for(&self, step: ClientStep) {
        self.wait_since(step, SystemClock.uptime());
    }

    /// Notes that the server has waited for the client since `since`.
    pub(super) fn wait_since(&self, step: ClientStep, since: Duration) {
        self.state().wait = Some(Wait { step, since });
    }

    /// Notes that the server does not wait for the client.
    pub(super) fn stop_waiting(&self) {
        self.state().wait = None;
    }

    /// The present wait for the client.
    pub(super) fn wait(&self) -> Option<Wait> {
        self.state().wait
    }

    /// How many bytes of memory closing the connection would free.
    pub(super) fn buffered(&self) -> usize {
        let state = self.state();
        state.received + state.unsent
    }

    /// Adds bytes of a request that is not complete.
    pub(super) fn add_received(&self, bytes: usize) {
        self.state().received += bytes;
    }

    /// Returns the number of received bytes and resets it: the request is complete, or the service does not read the rest.
    pub(super) fn take_received(&self) -> usize {
        mem::take(&mut self.state().received)
    }

    /// Adds bytes of a response that is about to be sent.
    pub(super) fn add_unsent(&self, bytes: usize) {
        self.state().unsent += bytes;
    }

    /// Returns the number of unsent bytes and resets it: the client has accepted everything that was written.
    pub(super) fn take_unsent(&self) -> usize {
        let mut state = self.state();
        state.wait.take_if(|wait| wait.step == ClientStep::ReadResponse);
        mem::take(&mut state.unsent)
    }

    /// Tells the connection to close, unless the client makes progress at the same moment.
    pub(super) fn evict(&self) {
        let mut state = self.state();
        state.wait_at_eviction = state.wait;
        drop(state);
        self.eviction.notify_one();
    }

    /// Completes when the connection was evicted and its client has made no progress since.
    pub(super) async fn evicted(&self) {
        loop {
            self.eviction.notified().await;
            let state = self.state();
            if state.wait_at_eviction.is_some() && state.wait_at_eviction == state.wait {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
