//! Where one connection stands: what its client is waited for, since when, and how much of it is held in memory.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::crowd::Crowd;
use crate::live::clock::{Clock, SystemClock};

/// What a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The next request on an idle connection.
    NextRequest,
    /// The first request, the rest of a header, or the rest of a body.
    RestOfRequest,
    /// Reading the response.
    Reading,
}

/// The state of a connection. Its stream, its requests and its crowd share it.
pub(super) struct Pace {
    pub(super) crowd: Arc<Crowd>,
    /// A request is being answered.
    pub(super) answering: AtomicBool,
    /// How many requests were answered.
    pub(super) answered: AtomicU64,
    /// The last request's body was not read to its end.
    pub(super) unread: AtomicBool,
    /// Something is written that the client has not taken.
    pub(super) writing: AtomicBool,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Default)]
struct State {
    /// `None` while the client is not waited for.
    awaited: Option<(Awaited, Duration)>,
    /// What `awaited` was when the connection was asked to leave.
    asked: Option<(Awaited, Duration)>,
    /// Bytes of a request that is not complete.
    received: usize,
    /// Bytes of a response that is not taken, if it shares them with no other response.
    unsent: usize,
}

impl Pace {
    /// A connection that waits for its first request.
    pub(super) fn new(crowd: Arc<Crowd>) -> Self {
        let state = State { awaited: Some((Awaited::RestOfRequest, SystemClock.uptime())), ..State::default() };
        Self {
            crowd,
            answering: AtomicBool::default(),
            answered: AtomicU64::default(),
            unread: AtomicBool::default(),
            writing: AtomicBool::default(),
            state: Mutex::new(state),
            asked: Notify::new(),
        }
    }

    /// Whether closing now would lose an answer.
    pub(super) fn is_busy(&self) -> bool {
        self.answering.load(Ordering::Acquire) || self.writing.load(Ordering::Acquire)
    }

    /// Whether the client has not completed the header of a request yet.
    pub(super) fn has_served_nothing(&self) -> bool {
        !self.answering.load(Ordering::Acquire) && self.answered.load(Ordering::Acquire) == 0
    }

    /// Waits for the client from now on.
    pub(super) fn awaits(&self, awaited: Awaited) {
        self.awaits_since(awaited, SystemClock.uptime());
    }

    /// Has waited for the client since then.
    pub(super) fn awaits_since(&self, awaited: Awaited, since: Duration) {
        self.state().awaited = Some((awaited, since));
    }

    /// Waits for the client no more: its request is being answered.
    pub(super) fn is_served(&self) {
        self.state().awaited = None;
    }

    /// What the client is waited for, and since when.
    pub(super) fn awaited(&self) -> Option<(Awaited, Duration)> {
        self.state().awaited
    }

    /// How many bytes closing the connection would free.
    pub(super) fn held(&self) -> usize {
        let state = self.state();
        state.received + state.unsent
    }

    /// More of a request has come.
    pub(super) fn receive(&self, bytes: usize) {
        self.state().received += bytes;
        self.crowd.hold(bytes);
    }

    /// The request is complete, or the rest of it is not wanted.
    pub(super) fn forget_received(&self) {
        let received = mem::take(&mut self.state().received);
        self.crowd.release(received);
    }

    /// A response of so many bytes is about to be sent.
    pub(super) fn send(&self, bytes: usize) {
        self.state().unsent += bytes;
        self.crowd.hold(bytes);
    }

    /// The client's side has taken all that was written.
    pub(super) fn has_sent(&self) {
        let mut state = self.state();
        state.awaited.take_if(|(awaited, _)| *awaited == Awaited::Reading);
        let unsent = mem::take(&mut state.unsent);
        drop(state);
        self.crowd.release(unsent);
    }

    /// The connection has ended.
    pub(super) fn forget_all(&self) {
        self.forget_received();
        self.has_sent();
    }

    /// Asks the connection to close, unless the client does what it is waited for at the same moment.
    pub(super) fn ask_to_leave(&self) {
        let mut state = self.state();
        state.asked = state.awaited;
        drop(state);
        self.asked.notify_one();
    }

    /// Ready when the connection was asked to close and its client has done nothing since.
    pub(super) async fn asked_to_leave(&self) {
        loop {
            self.asked.notified().await;
            let state = self.state();
            if state.asked.is_some() && state.asked == state.awaited {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
