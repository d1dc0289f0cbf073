//! Accepts connections until the server closes, and then lets the requests in flight finish.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use poem::{Response, endpoint::BoxEndpoint};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{connection, connection_table::ConnectionTable, limits::Limits};

/// How long to wait after the operating system failed to accept a connection, unless a connection ends earlier.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How long requests in flight may take after the server has stopped accepting connections.
const GRACE: Duration = Duration::from_secs(6);
/// The maximum number of bytes of a response that the operating system buffers for a connection; Linux doubles the number. Its
/// own limit is 4 MiB, and every client that does not read its response would use all of it.
const SEND_BUFFER: u32 = 64 * 1024;
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that has its address and port, but does not listen yet.
pub struct Bound {
    socket: TcpSocket,
    address: SocketAddr,
    setting: &'static str,
}

impl Bound {
    /// Binds a socket to `address`, where port 0 stands for a free port. Errors name `setting`, which selects the address.
    pub(super) fn new(address: SocketAddr, setting: &'static str) -> anyhow::Result<Self> {
        let socket = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            // Accepted connections inherit the size.
            socket.set_send_buffer_size(SEND_BUFFER)?;
            socket.bind(address)?;
            Ok((socket.local_addr()?, socket))
        };
        let (address, socket) = socket().map_err(|error| explain(&error, address, setting))?;
        Ok(Self { socket, address, setting })
    }

    /// Returns the address with the port that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen. From now on, clients can connect.
    pub(super) fn listen(self) -> anyhow::Result<TcpListener> {
        self.socket.listen(BACKLOG).map_err(|error| explain(&error, self.address, self.setting))
    }
}

fn explain(error: &io::Error, address: SocketAddr, setting: &str) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        return anyhow::anyhow!("{address} is in use by another process; choose another address with {setting}");
    }
    anyhow::anyhow!("cannot listen on {address}: {error}")
}

/// Serves connections until `closing`, then waits for the requests in flight, for [`GRACE`] at most.
pub(super) async fn run(
    listener: TcpListener,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    limits: Limits,
    open_connections: Gauge,
    closing: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let table = ConnectionTable::new(limits);
    let mut failures = 0_u32;
    let serve = |(socket, peer), slot| {
        let (endpoint, closing, gauge, entry) =
            (Arc::clone(&endpoint), closing.clone(), open_connections.clone(), table.add(slot));
        tasks.spawn(async move {
            gauge.inc();
            connection::serve(socket, peer, endpoint, limits.timeouts, &entry.connection, closing).await;
            gauge.dec();
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
                let slot = tokio::select! {
                    biased;
                    () = closing.cancelled() => None,
                    slot = table.slot() => slot,
                };
                serve(accepted, slot);
            }
            Err(error) if is_client_fault(&error) => {}
            Err(error) => {
                failures += 1;
                // Logged at 1, 2, 4, 8, … failures: they may go on for hours.
                if failures.is_power_of_two() {
                    tracing::warn!(cause = %error, failures, "cannot accept connections");
                }
                // No file descriptor is free, so the next attempt would fail at once.
                table.evict_idle();
                _ = timeout(ACCEPT_AGAIN, table.ended.notified()).await;
            }
        }
    }
    // Connections in the backlog: for their clients, they are established.
    while let Ok(Ok(accepted)) = timeout(Duration::ZERO, listener.accept()).await {
        serve(accepted, None);
    }
    drop(listener);
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = sleep(GRACE) => tracing::warn!(connections = tasks.len(), "some requests were not finished in time"),
    }
}

/// Whether only one client is affected: it disconnected before its connection was accepted.
fn is_client_fault(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}
