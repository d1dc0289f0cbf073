//! One connection: serves its HTTP/1 requests until either side closes it, with bounds on time and memory.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
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
    Addr, Request, Response,
    endpoint::{BoxEndpoint, DynEndpoint},
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::TcpStream,
    task::yield_now,
    time::{Sleep, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{connection_table::Connection, limits::Timeouts, progress::ClientStep, stream::Stream, syntax::Malformed};
use crate::{
    api::http::cache::Shared,
    live::clock::{Clock, SystemClock},
};

/// The maximum number of bytes of a request's head that hyper buffers before it rejects the request (431, without a body). This
/// is more than the service accepts, so that most responses to long heads come from the service and give the reason.
const MAX_HEAD_BUFFER: usize = 64 * 1024;
/// How long to wait for the first request of a new connection once the server is stopping.
const FIRST_REQUEST: Duration = Duration::from_millis(250);
/// How long to wait for the rest of a request once the server is stopping.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// Serves one connection until either side closes it. A request that is in flight at `closing` still gets its response.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    timeouts: Timeouts,
    connection: &Arc<Connection>,
    closing: CancellationToken,
) {
    // Without Nagle's algorithm: responses are written whole, so waiting for more bytes would only delay them.
    _ = socket.set_nodelay(true);
    let local = LocalAddr(socket.local_addr().map_or_else(|_| Addr::custom("tcp", ""), Addr::SocketAddr));
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let has_body = !request.body().is_end_stream();
        let in_flight = InFlight::begin(connection, has_body);
        let malformed = Malformed::of(&request);
        let mut request = Request::from((request, local.clone(), RemoteAddr(Addr::SocketAddr(peer)), Scheme::HTTP));
        if has_body {
            let body = request.take_body().into();
            request.set_body(BodyExt::boxed(RequestBody::new(body, timeouts.body, Arc::clone(&in_flight.0))));
        }
        if let Some(malformed) = malformed {
            request.set_data(malformed);
        }
        // Outside of the future, which hyper moves: the request is large.
        let response = DynEndpoint::call(&**endpoint, request);
        async move {
            let response = response.await.unwrap_or_else(poem::Error::into_response);
            if in_flight.0.progress.has_unread_body() {
                // hyper decides before it continues whether to read the rest of the body or to close the connection after the
                // response, which then says so.
                yield_now().await;
            }
            let mut response: hyper::Response<BoxBody<Bytes, io::Error>> = response.into();
            if malformed.is_some() {
                // It is uncertain where the next request begins.
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if response.extensions().get::<Shared>().is_none() {
                in_flight.0.count_unsent(usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX));
            }
            Ok::<_, Infallible>(response.map(|body| ResponseBody { body, _in_flight: in_flight }))
        }
    });
    let stream = TokioIo::new(Stream::new(socket, timeouts, Arc::clone(connection)));
    let mut builder = http1::Builder::new();
    // hyper gets no timer: its time-out for heads would also run between requests. The stream has the time-outs.
    builder.max_header_size(MAX_HEAD_BUFFER).max_buf_size(MAX_HEAD_BUFFER);
    let mut http = pin!(builder.serve_connection(stream, service));
    let progress = &connection.progress;
    // Biased towards the connection: a request that arrived before `closing` is in flight.
    tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = progress.evicted() => return,
        () = closing.cancelled() => {}
    }
    if progress.has_had_no_request() {
        // The operating system may still hold the first request.
        tokio::select! {
            biased;
            _ = http.as_mut() => return,
            () = sleep(FIRST_REQUEST) => {}
        }
    }
    http.as_mut().graceful_shutdown();
    let no_longer_busy = async {
        loop {
            sleep(LAST_REQUEST).await;
            if !progress.is_busy() {
                break;
            }
        }
    };
    tokio::select! {
        _ = http => {}
        () = no_longer_busy => {}
    }
}

/// A request in flight: from its complete head to the end of its response.
struct InFlight(Arc<Connection>);

impl InFlight {
    fn begin(connection: &Arc<Connection>, has_body: bool) -> Self {
        if !has_body {
            connection.forget_received();
        }
        connection.progress.begin_request();
        Self(Arc::clone(connection))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.progress.end_request();
    }
}

/// The body of a request, with a deadline.
struct RequestBody {
    body: BoxBody<Bytes, io::Error>,
    began_at: Duration,
    deadline: Pin<Box<Sleep>>,
    connection: Arc<Connection>,
}

impl RequestBody {
    fn new(body: BoxBody<Bytes, io::Error>, timeout: Duration, connection: Arc<Connection>) -> Self {
        Self { body, began_at: SystemClock.uptime(), deadline: Box::pin(sleep(timeout)), connection }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        // The deadline comes first: a client that sends single bytes always has the next one ready.
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending() {
            self.connection.progress.wait_since(ClientStep::RestOfRequest, self.began_at);
        } else {
            self.connection.progress.stop_waiting();
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

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.connection.progress.stop_waiting();
        self.connection.forget_received();
        self.connection.progress.set_unread_body(!self.body.is_end_stream());
    }
}

/// The body of a response. The request is in flight until this is dropped.
struct ResponseBody {
    body: BoxBody<Bytes, io::Error>,
    _in_flight: InFlight,
}

impl Body for ResponseBody {
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
