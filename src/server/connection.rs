//! One connection: HTTP/1 for as long as the client keeps up. Every wait for a client has an end, and what it may make
//! us hold in memory is bounded.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use poem::{
    Addr, Endpoint, Request, Response,
    endpoint::BoxEndpoint,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

/// What hyper buffers of a request's head before it refuses it (431, without a body). It is more than what the service
/// takes, so that most refusals are its own and say why.
const MOST_BUFFERED: usize = 64 * 1024;
/// An answer is taken in parts of this size, each in [`Patience::answer`]: who reads slower than 2 KiB/s is too slow.
const PART: usize = 64 * 1024;
/// How long a request may take to be complete once the server is about to stop.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the whole header of a request, from its first byte; of the first request, from the beginning.
    pub head: Duration,
    /// Between two requests. Proxies usually keep idle connections for 60 s: they should close first, for what they
    /// send while we close is lost.
    pub idle: Duration,
    /// For the whole body of a request.
    pub body: Duration,
    /// For each 64 KiB of an answer.
    pub answer: Duration,
    /// For what a client goes on sending after an answer that did not wait for it.
    pub rest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            rest: Duration::from_secs(5),
        }
    }
}

/// Serves one connection until either side closes it. After `closing`, a request under way is still answered.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    patience: Patience,
    closing: CancellationToken,
) {
    // Answers are written whole: waiting for more to fill a packet would only delay them.
    _ = socket.set_nodelay(true);
    let local = LocalAddr(socket.local_addr().map_or_else(|_| Addr::custom("tcp", ""), Addr::SocketAddr));
    let pace = Arc::new(Pace::default());
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (endpoint, turn, local) = (Arc::clone(&endpoint), Turn::begin(&pace), local.clone());
        async move {
            let has_body = !request.body().is_end_stream();
            let mut request = Request::from((request, local, RemoteAddr(Addr::SocketAddr(peer)), Scheme::HTTP));
            if has_body {
                let body = request.take_body().into();
                let upload = Upload { body, deadline: Box::pin(sleep(patience.body)), pace: Arc::clone(&turn.0) };
                request.set_body(BodyExt::boxed(upload));
            }
            let answer: hyper::Response<BoxBody<Bytes, io::Error>> = endpoint.get_response(request).await.into();
            Ok::<_, Infallible>(answer.map(|body| Answer { body, _turn: turn }))
        }
    });
    let stream = TokioIo::new(Stream::new(socket, patience, Arc::clone(&pace)));
    let mut http = http1::Builder::new();
    // The stream looks after the time, and hyper gets no timer: its clock for headers would also run between requests.
    http.max_header_size(MOST_BUFFERED).max_buf_size(MOST_BUFFERED);
    let mut connection = pin!(http.serve_connection(stream, service));
    // The connection first: what has arrived before the end is a request under way.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let idle = async {
        loop {
            sleep(LAST_CALL).await;
            if !pace.is_busy() {
                break;
            }
        }
    };
    tokio::select! {
        _ = connection => {}
        () = idle => {}
    }
}

/// Where a connection stands: what its stream has to know of its requests.
#[derive(Default)]
struct Pace {
    answering: AtomicBool,
    answered: AtomicU64,
    writing: AtomicBool,
    unread: AtomicBool,
}

impl Pace {
    fn is_busy(&self) -> bool {
        self.answering.load(Ordering::Acquire) || self.writing.load(Ordering::Acquire)
    }
}

/// A request under way, from its complete header to the end of its answer.
struct Turn(Arc<Pace>);

impl Turn {
    fn begin(pace: &Arc<Pace>) -> Self {
        pace.unread.store(false, Ordering::Release);
        pace.answering.store(true, Ordering::Release);
        Self(Arc::clone(pace))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::AcqRel);
        self.0.answering.store(false, Ordering::Release);
    }
}

/// A request's body, which has to arrive in time.
struct Upload {
    body: BoxBody<Bytes, io::Error>,
    deadline: Pin<Box<Sleep>>,
    pace: Arc<Pace>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // The deadline first: a client that sends a byte now and then is always ready with the next one.
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.pace.unread.store(!self.body.is_end_stream(), Ordering::Release);
    }
}

/// An answer's body; its request is over when this is dropped.
struct Answer {
    body: BoxBody<Bytes, io::Error>,
    _turn: Turn,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

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
struct Stream {
    socket: TcpStream,
    patience: Patience,
    pace: Arc<Pace>,
    awaits: Awaits,
    answered: u64,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client does not take what is written.
    blocked: Option<Pin<Box<Sleep>>>,
    taken: usize,
    is_shut: bool,
}

impl Stream {
    fn new(socket: TcpStream, patience: Patience, pace: Arc<Pace>) -> Self {
        let reading = Box::pin(sleep(patience.head));
        Self { socket, patience, pace, awaits: Awaits::Head, answered: 0, reading, blocked: None, taken: 0, is_shut: false }
    }

    fn await_now(&mut self, awaits: Awaits) {
        self.awaits = awaits;
        match awaits {
            Awaits::Head => self.reading.set(sleep(self.patience.head)),
            Awaits::Request => self.reading.set(sleep(self.patience.idle)),
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
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
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
                }
                written
            }
            Poll::Ready(Err(_)) => written,
            Poll::Pending => {
                let patience = self.patience.answer;
                let taken = &mut self.taken;
                let blocked = self.blocked.get_or_insert_with(|| {
                    *taken = 0;
                    Box::pin(sleep(patience))
                });
                ready!(blocked.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.look();
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                if self.awaits == Awaits::Request && buffer.filled().len() > before {
                    self.await_now(Awaits::Head);
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_patience(cx).map(Err),
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
        self.pace.writing.store(false, Ordering::Release);
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.look();
        match self.poll_patience(cx) {
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
            let rest = self.patience.rest;
            self.reading.set(sleep(rest));
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
