//! One connection: HTTP/1 for as long as the client keeps up. What it may make us hold in memory is bounded.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONNECTION, HeaderValue},
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
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    pace::{Awaited, Pace},
    stream::Stream,
    syntax::Malformed,
};
use crate::{
    api::http::cache::Shared,
    live::clock::{Clock, SystemClock},
};

/// What hyper buffers of a request's head before it refuses it (431, without a body). It is more than what the service
/// takes, so that most refusals are its own and say why.
const MOST_BUFFERED: usize = 64 * 1024;
/// How long a new connection is waited for once the server is about to stop.
const FIRST_CALL: Duration = Duration::from_millis(250);
/// How long a request may take to be complete once the server is about to stop.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
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
    /// For how long a client may pause in the middle of a request or of a response and still be worth more than an idle
    /// one, where there is no room for both.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            answer: Duration::from_secs(30),
            rest: Duration::from_secs(5),
            pause: Duration::from_secs(5),
        }
    }
}

/// Serves one connection until either side closes it. After `closing`, a request under way is still answered.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    timeouts: Timeouts,
    pace: &Arc<Pace>,
    closing: CancellationToken,
) {
    // Answers are written whole: waiting for more to fill a packet would only delay them.
    _ = socket.set_nodelay(true);
    let local = LocalAddr(socket.local_addr().map_or_else(|_| Addr::custom("tcp", ""), Addr::SocketAddr));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let (endpoint, turn, local) = (Arc::clone(&endpoint), Turn::begin(pace, has_body), local.clone());
        async move {
            let malformed = Malformed::of(&request);
            let mut request = Request::from((request, local, RemoteAddr(Addr::SocketAddr(peer)), Scheme::HTTP));
            if has_body {
                let body = request.take_body().into();
                let upload = Upload {
                    body,
                    began: SystemClock.uptime(),
                    deadline: Box::pin(sleep(timeouts.body)),
                    pace: Arc::clone(&turn.0),
                };
                request.set_body(BodyExt::boxed(upload));
            }
            if let Some(malformed) = malformed {
                request.set_data(malformed);
            }
            let mut answer: hyper::Response<BoxBody<Bytes, io::Error>> = endpoint.get_response(request).await.into();
            if malformed.is_some() {
                // Where the next request begins is in doubt.
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if answer.extensions().get::<Shared>().is_none() {
                turn.0.send(usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX));
            }
            Ok::<_, Infallible>(answer.map(|body| Answer { body, _turn: turn }))
        }
    });
    let stream = TokioIo::new(Stream::new(socket, timeouts, Arc::clone(pace)));
    let mut http = http1::Builder::new();
    // The stream looks after the time, and hyper gets no timer: its clock for headers would also run between requests.
    http.max_header_size(MOST_BUFFERED).max_buf_size(MOST_BUFFERED);
    let mut connection = pin!(http.serve_connection(stream, service));
    // The connection first: what has arrived before the end is a request under way.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = pace.asked_to_leave() => return,
        () = closing.cancelled() => {}
    }
    if pace.has_served_nothing() {
        // Its first request may be on its way through the operating system.
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = sleep(FIRST_CALL) => {}
        }
    }
    connection.as_mut().graceful_shutdown();
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

/// A request under way, from its complete header to the end of its answer.
struct Turn(Arc<Pace>);

impl Turn {
    fn begin(pace: &Arc<Pace>, has_body: bool) -> Self {
        pace.is_served();
        if !has_body {
            pace.forget_received();
        }
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
    began: Duration,
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
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.pace.awaits_since(Awaited::RestOfRequest, self.began);
        } else {
            self.pace.is_served();
        }
        frame
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
        self.pace.is_served();
        self.pace.forget_received();
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
