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
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::{connection_table::Connection, limits::Timeouts, progress::ClientStep};
use crate::live::clock::{Clock, SystemClock};

/// The client must accept each part of this size within [`Timeouts::response`]: that is a rate of about 2 KiB/s.
const PART: usize = 64 * 1024;
/// The maximum number of bytes to read at once. hyper reads once more while a request is in flight, and doubles its buffer when
/// a read fills it. Without this limit, a client that sends requests without waiting for responses would make the buffer large.
const READ: usize = 4 * 1024;

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

/// A socket that limits every wait for its client.
pub(super) struct Stream {
    socket: TcpStream,
    timeouts: Timeouts,
    connection: Arc<Connection>,
    read_timeout: ReadTimeout,
    read_deadline: Pin<Box<Sleep>>,
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
        let read_deadline = Box::pin(sleep(timeouts.head));
        Self {
            socket,
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
                self.read_deadline.set(sleep(self.timeouts.head));
                self.connection.progress.wait_for(ClientStep::RestOfRequest);
            }
            ReadTimeout::Idle => {
                self.read_deadline.set(sleep(self.timeouts.idle));
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
            ReadTimeout::Head | ReadTimeout::Idle => {
                self.read_deadline.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
            }
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
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ.min(buffer.remaining())));
        match Pin::new(&mut self.socket).poll_read(cx, &mut part) {
            Poll::Ready(result) => {
                let count = part.filled().len();
                buffer.advance(count);
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
        let result = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.limit_write(result, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        self.limit_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes after it has written everything. The idle time-out begins here, because hyper does not read again
    /// after a response if it has tried to read before.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = None;
        if self.connection.progress.end_write() {
            self.connection.forget_unsent();
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
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
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            self.is_shut_down = true;
            let timeout = self.timeouts.unread_body;
            self.read_deadline.set(sleep(timeout));
            self.connection.progress.wait_for(ClientStep::RestOfRequest);
        }
        let mut discarded = [0; 8 * 1024];
        while self.connection.progress.has_unread_body() && self.read_deadline.as_mut().poll(cx).is_pending() {
            let mut discarded = ReadBuf::new(&mut discarded);
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut discarded));
            if read.is_err() || discarded.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
