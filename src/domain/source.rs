//! Where a request comes from: what sessions and the audit trail remember about it.

use std::net::IpAddr;

use uuid::Uuid;

/// The outside facts of one request. Commands on the server's own machine have none of them.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The id that the answer and the log line carry too.
    pub request_id: Option<Uuid>,
    /// The client's address, as far as the proxies in between are ours.
    pub address: Option<IpAddr>,
    /// The client's word for itself, at most 256 characters.
    pub user_agent: Option<String>,
}
