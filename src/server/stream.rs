//! A socket that gives up on a client that is too slow: every wait for a client has an end.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{
    connection::Timeouts,
    pace::{Awaited, Pace},
};
use crate::live::clock::{Clock, SystemClock};

/// An answer is taken in parts of this size, each in [`Timeouts::answer`]: who reads slower than 2 KiB/s is too slow.
const PART: usize = 64 * 1024;
/// How much is read at once. hyper reads once more while a request is answered, and doubles its buffer whenever a read
/// fills it: a client that sends requests without waiting for responses would make it large.
const READ: usize = 4 * 1024;

/// What the stream waits for when it waits to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// The rest of a header.
    Head,
    /// The next request.
    Request,
    /// Nothing: a request is being answered, and its body has a deadline of its own.
    Nothing,
}

/// A socket that gives up on a client that is too slow.
pub(super) struct Stream {
    socket: TcpStream,
    timeouts: Timeouts,
    pace: Arc<Pace>,
    awaits: Awaits,
    answered: u64,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client does not take what is written.
    blocked: Option<(Pin<Box<Sleep>>, Duration)>,
    taken: usize,
    is_shut: bool,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, timeouts: Timeouts, pace: Arc<Pace>) -> Self {
        let reading = Box::pin(sleep(timeouts.head));
        Self { socket, timeouts, pace, awaits: Awaits::Head, answered: 0, reading, blocked: None, taken: 0, is_shut: false }
    }

    fn await_now(&mut self, awaits: Awaits) {
        self.awaits = awaits;
        match awaits {
            Awaits::Head => {
                self.reading.set(sleep(self.timeouts.head));
                self.pace.awaits(Awaited::RestOfRequest);
            }
            Awaits::Request => {
                self.reading.set(sleep(self.timeouts.idle));
                self.pace.awaits(Awaited::NextRequest);
            }
            Awaits::Nothing => {}
        }
    }

    /// Takes notice of requests that were begun or answered since the last look.
    fn look(&mut self) {
        let answered = self.pace.answered.load(Ordering::Acquire);
        if self.pace.answering.load(Ordering::Acquire) {
            self.awaits = Awaits::Nothing;
        } else if answered != self.answered {
            self.answered = answered;
            self.await_now(Awaits::Request);
        }
    }

    /// Ready when the client has been waited for long enough.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.awaits {
            Awaits::Nothing => Poll::Pending,
            Awaits::Head | Awaits::Request => self.reading.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into()),
        }
    }

    fn note_written(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pace.writing.store(true, Ordering::Release);
        match &written {
            Poll::Ready(Ok(count)) => {
                self.taken += count;
                if self.taken >= PART {
                    self.blocked = None;
                    self.pace.is_served();
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                let timeouts = self.timeouts.answer;
                let taken = &mut self.taken;
                let (blocked, since) = self.blocked.get_or_insert_with(|| {
                    *taken = 0;
                    (Box::pin(sleep(timeouts)), SystemClock.uptime())
                });
                self.pace.awaits_since(Awaited::Reading, *since);
                ready!(blocked.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.look();
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ.min(buffer.remaining())));
        match Pin::new(&mut self.socket).poll_read(cx, &mut part) {
            Poll::Ready(result) => {
                let count = part.filled().len();
                buffer.advance(count);
                if count > 0 {
                    self.pace.receive(count);
                    if self.awaits == Awaits::Request {
                        self.await_now(Awaits::Head);
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_timeout(cx).map(Err),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note_written(written, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.note_written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes when all is written. It does not read again after an answer if it tried to before, so the wait for
    /// the next request begins here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = None;
        if self.pace.writing.swap(false, Ordering::AcqRel) {
            self.pace.has_sent();
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.look();
        match self.poll_timeout(cx) {
            Poll::Ready(tired) => Poll::Ready(Err(tired)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Closing a socket while there are bytes to read resets it, and the client would lose the answer that says why its
    /// body was not read. So the rest is thrown away for a while.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.is_shut = true;
            let rest = self.timeouts.rest;
            self.reading.set(sleep(rest));
            self.pace.awaits(Awaited::RestOfRequest);
        }
        let mut rest = [0; 8 * 1024];
        while self.pace.unread.load(Ordering::Acquire) && self.reading.as_mut().poll(cx).is_pending() {
            let mut rest = ReadBuf::new(&mut rest);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
