//! Listening: accepts connections until the server stops, and then lets requests under way finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use poem::{Response, endpoint::BoxEndpoint};
use prometheus_client::metrics::gauge::Gauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::{self, Timeouts},
    crowd::Crowd,
};

/// There are never more connections than this, whatever the operating system allows.
const MOST_CONNECTIONS: u64 = 10_000;
/// Descriptors for everything but connections: the database, the log, files.
const OTHER_DESCRIPTORS: u64 = 64;
/// How long accepting rests when the operating system gives no connection, unless one of ours ends before.
const REST: Duration = Duration::from_millis(100);
/// How long requests under way may go on once no more are accepted.
const GRACE: Duration = Duration::from_secs(6);
/// What the operating system may buffer of a response, in bytes; Linux doubles it. Its own limit is 4 MiB for each
/// connection, all of which a client that does not read would hold.
const SEND_BUFFER: u32 = 64 * 1024;
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// What clients may ask of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long each is waited for.
    pub timeouts: Timeouts,
    /// How many connections there may be at once.
    pub connections: usize,
}

impl Limits {
    /// The limits of a server that may use all the descriptors the operating system allows it.
    #[must_use]
    pub fn of_this_process() -> Self {
        let descriptors = raise_descriptors();
        let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(descriptors / 4).min(MOST_CONNECTIONS);
        Self { timeouts: Timeouts::default(), connections: usize::try_from(connections).unwrap_or(usize::MAX) }
    }
}

/// Raises the limit on descriptors to what may be had; many systems begin with 1,024, for programs of another age.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(MOST_CONNECTIONS + OTHER_DESCRIPTORS);
    let now = limit.current.unwrap_or(u64::MAX);
    if now < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok() { wanted } else { now }
}

/// Binds an address.
///
/// # Errors
/// With a sentence that names `setting`, which chooses the address.
pub(super) fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Accepted connections inherit it.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|err: io::Error| match err.kind() {
        io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{address} is taken by another process; choose another address with {setting}")
        }
        _ => anyhow::anyhow!("cannot listen on {address}: {err}"),
    })
}

/// Serves what comes in until `closing`, then lets the requests under way finish, for [`GRACE`] at most.
pub(super) async fn run(
    listener: TcpListener,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    limits: Limits,
    open: Gauge,
    closing: CancellationToken,
) {
    let connections = TaskTracker::new();
    let crowd = Crowd::new(limits);
    let mut failures = 0_u32;
    let serve = |(socket, peer), place| {
        let (endpoint, closing, open, member) = (Arc::clone(&endpoint), closing.clone(), open.clone(), crowd.join(place));
        connections.spawn(async move {
            open.inc();
            connection::serve(socket, peer, endpoint, limits.timeouts, &member.pace, closing).await;
            open.dec();
        });
    };
    loop {
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                let place = tokio::select! {
                    biased;
                    () = closing.cancelled() => None,
                    place = crowd.place() => place,
                };
                serve(accepted, place);
            }
            Err(err) if is_the_clients(&err) => {}
            Err(err) => {
                failures += 1;
                // Ever more seldom: it may go on for long, and on and off.
                if failures.is_power_of_two() {
                    tracing::warn!(%err, failures, "cannot accept connections");
                }
                // Out of descriptors: the next try would fail as well, and at once.
                crowd.make_room();
                _ = timeout(REST, crowd.ended.notified()).await;
            }
        }
    }
    // Those who were connected already, as far as they can tell.
    while let Ok(Ok(accepted)) = timeout(Duration::ZERO, listener.accept()).await {
        serve(accepted, None);
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = sleep(GRACE) => tracing::warn!(connections = connections.len(), "some requests were not finished in time"),
    }
}

/// Whether the fault is with the one client, which has gone before it was accepted.
fn is_the_clients(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(err.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
