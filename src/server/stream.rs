//! A socket that limits every wait for its client. A client that is too slow gets an I/O error of the kind `TimedOut`,
//! which closes the connection.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use super::{connection_table::Connection, limits::Timeouts, progress::ClientStep};
use crate::live::clock::{Clock, SystemClock};

/// The client must accept each part of this size within [`Timeouts::response`]: that is a rate of about 2 KiB/s.
const PART: usize = 64 * 1024;
/// The maximum number of bytes to read at once. hyper reads once more while a request is in flight, and doubles its buffer when
/// a read fills it. Without this limit, a client that sends requests without waiting for responses would make the buffer large.
const READ: u64 = 4 * 1024;

/// Up to this number of bytes, a head and its body are copied together, because the kernel writes one part faster than two.
const SHORT: usize = 2 * 1024;

/// The time-out that applies when the stream waits to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadTimeout {
    /// [`Timeouts::head`]: a head has begun, or the connection is new.
    Head,
    /// [`Timeouts::idle`]: the connection is idle between two requests.
    Idle,
    /// None: a request is in flight, and its body has its own deadline.
    Off,
}

/// A deadline that moves with each request. Its timer is not set anew as long as it fires in time: a timer that fires too early
/// is set again then, which is rare.
struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        let timer = Box::pin(sleep(timeout));
        Self { at: timer.deadline(), timer }
    }

    #[expect(clippy::disallowed_methods, reason = "time-outs follow this machine's monotonic clock, not the product's clock")]
    fn set(&mut self, timeout: Duration) {
        self.at = Instant::now() + timeout;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() > self.at {
            self.timer.as_mut().reset(self.at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

/// A socket that limits every wait for its client.
pub(super) struct Stream {
    /// Reads at most [`READ`] bytes at once.
    socket: Take<TcpStream>,
    timeouts: Timeouts,
    connection: Arc<Connection>,
    read_timeout: ReadTimeout,
    read_deadline: Deadline,
    /// The number of responses when the stream last looked at the connection's progress.
    responses: u64,
    /// Set while the socket does not accept bytes: the deadline, and the uptime at which the wait began.
    blocked: Option<(Pin<Box<Sleep>>, Duration)>,
    /// Bytes that the socket has accepted of the present part.
    written: usize,
    is_shut_down: bool,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, timeouts: Timeouts, connection: Arc<Connection>) -> Self {
        let read_deadline = Deadline::after(timeouts.head);
        Self {
            socket: socket.take(READ),
            timeouts,
            connection,
            read_timeout: ReadTimeout::Head,
            read_deadline,
            responses: 0,
            blocked: None,
            written: 0,
            is_shut_down: false,
        }
    }

    fn set_read_timeout(&mut self, timeout: ReadTimeout) {
        self.read_timeout = timeout;
        match timeout {
            ReadTimeout::Head => {
                self.read_deadline.set(self.timeouts.head);
                self.connection.progress.wait_for(ClientStep::RestOfRequest);
            }
            ReadTimeout::Idle => {
                self.read_deadline.set(self.timeouts.idle);
                self.connection.progress.wait_for(ClientStep::NextRequest);
            }
            ReadTimeout::Off => {}
        }
    }

    /// Updates the read time-out after requests that have begun or ended since the last call.
    fn follow_requests(&mut self) {
        let responses = self.connection.progress.responses();
        if self.connection.progress.is_in_flight() {
            self.read_timeout = ReadTimeout::Off;
        } else if responses != self.responses {
            self.responses = responses;
            self.set_read_timeout(ReadTimeout::Idle);
        }
    }

    /// Completes when the read time-out has passed.
    fn poll_read_timeout(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match self.read_timeout {
            ReadTimeout::Off => Poll::Pending,
            ReadTimeout::Head | ReadTimeout::Idle => self.read_deadline.poll(cx).map(|()| io::ErrorKind::TimedOut.into()),
        }
    }

    /// Applies the write time-out to the result of a write.
    fn limit_write(&mut self, result: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.connection.progress.begin_write();
        match &result {
            Poll::Ready(Ok(count)) => {
                self.written += count;
                if self.written >= PART {
                    self.blocked = None;
                    self.connection.progress.stop_waiting();
                }
                result
            }
            Poll::Ready(Err(_)) => result,
            Poll::Pending => {
                let timeout = self.timeouts.response;
                let written = &mut self.written;
                let (deadline, since) = self.blocked.get_or_insert_with(|| {
                    *written = 0;
                    (Box::pin(sleep(timeout)), SystemClock.uptime())
                });
                self.connection.progress.wait_since(ClientStep::ReadResponse, *since);
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.follow_requests();
        let filled = buffer.filled().len();
        self.socket.set_limit(READ);
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                let count = buffer.filled().len() - filled;
                if count > 0 {
                    self.connection.count_received(count);
                    if self.read_timeout == ReadTimeout::Idle {
                        self.set_read_timeout(ReadTimeout::Head);
                    }
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_read_timeout(cx).map(Err),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(self.socket.get_mut()).poll_write(cx, bytes);
        self.limit_write(result, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let socket = Pin::new(self.socket.get_mut());
        let result = if length <= SHORT {
            let (mut bytes, mut end) = ([0; SHORT], 0);
            for part in parts {
                bytes[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            socket.poll_write(cx, &bytes[..length])
        } else {
            socket.poll_write_vectored(cx, parts)
        };
        self.limit_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.get_ref().is_write_vectored()
    }

    /// hyper flushes after it has written everything. The idle time-out begins here, because hyper does not read again
    /// after a response if it has tried to read before.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = None;
        if self.connection.progress.end_write() {
            self.connection.forget_unsent();
        }
        ready!(Pin::new(self.socket.get_mut()).poll_flush(cx))?;
        self.follow_requests();
        match self.poll_read_timeout(cx) {
            Poll::Ready(timed_out) => Poll::Ready(Err(timed_out)),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Reads and discards the rest of an unread body for a while. To close a socket with unread bytes resets it, and the
    /// client would lose the response that says why its body was not read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut_down {
            ready!(Pin::new(self.socket.get_mut()).poll_shutdown(cx))?;
            self.is_shut_down = true;
            let timeout = self.timeouts.unread_body;
            self.read_deadline.set(timeout);
            self.connection.progress.wait_for(ClientStep::RestOfRequest);
        }
        let mut discarded = [0; 8 * 1024];
        while self.connection.progress.has_unread_body() && self.read_deadline.poll(cx).is_pending() {
            let mut discarded = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(self.socket.get_mut()).poll_read(cx, &mut discarded));
            if read.is_err() || discarded.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
