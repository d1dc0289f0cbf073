//! The limits of a listener: how many connections it serves at once, and how long it waits for each client.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The highest number of connections, whatever the operating system allows.
const MAX_CONNECTIONS: u64 = 10_000;
/// File descriptors that are kept for everything but connections: the database, the log, files.
const OTHER_DESCRIPTORS: u64 = 64;

/// The limits of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long the server waits for each client.
    pub timeouts: Timeouts,
    /// The highest number of connections at one time.
    pub connections: usize,
}

impl Limits {
    /// Returns the limits of a server that may use every file descriptor that the operating system allows this process.
    pub fn of_this_process() -> Self {
        let descriptors = raise_descriptor_limit();
        let connections = descriptors.saturating_sub(OTHER_DESCRIPTORS).max(descriptors / 4).min(MAX_CONNECTIONS);
        Self { timeouts: Timeouts::default(), connections: usize::try_from(connections).unwrap_or(usize::MAX) }
    }
}

/// Raises this process's limit on file descriptors as far as needed and allowed, and returns the new limit. Many systems
/// start processes with a limit of 1,024.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(MAX_CONNECTIONS + OTHER_DESCRIPTORS);
    let now = limit.current.unwrap_or(u64::MAX);
    if now < wanted && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok() { wanted } else { now }
}

/// How long the server waits for a client.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For the whole head of a request, counted from its first byte. For the first request of a connection, counted from
    /// the start of the connection.
    pub head: Duration,
    /// For the next request on an idle connection. Proxies usually keep idle connections for 60 s. The server waits
    /// longer, so that the proxy closes first: a request that a proxy sends while the server closes is lost.
    pub idle: Duration,
    /// For the whole body of a request.
    pub body: Duration,
    /// For the client to accept each 64 KiB of a response.
    pub response: Duration,
    /// For the rest of a request body that the service does not read, after its response was sent.
    pub unread_body: Duration,
    /// The pause that a client may make within a request or a response before its connection counts as idle when the
    /// server looks for connections to close.
    pub pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            response: Duration::from_secs(30),
            unread_body: Duration::from_secs(5),
            pause: Duration::from_secs(5),
        }
    }
}
