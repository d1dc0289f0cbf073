//! The source of a request, as sessions and audit events record it.

use std::net::IpAddr;

use uuid::Uuid;

/// The source of one request. A command on the server has none of the parts.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The request's id, which is also in the response and in the log.
    pub request_id: Option<Uuid>,
    /// The client's address: the nearest one that is not a trusted proxy.
    pub address: Option<IpAddr>,
    /// The `User-Agent` header, at most 256 characters.
    pub user_agent: Option<String>,
}
