//! The request that the current work belongs to. Each line of the log that the work writes names the request.

use std::future::Future;

use uuid::Uuid;

tokio::task_local! {
    // A span of `tracing` would do the same, with an entry in a shared table for each request.
    static CURRENT: Option<LoggedRequest>;
}

/// What the lines of a request have in common.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRequest {
    /// The id that the response carries as `X-Request-ID`.
    pub id: Uuid,
    /// The operation, if the method and the path belong to one.
    pub operation: Option<&'static str>,
}

/// Returns the request to which the current work belongs. Work of the process itself belongs to none.
pub fn current() -> Option<LoggedRequest> {
    CURRENT.try_with(|request| *request).ok().flatten()
}

/// Makes a future the work of this request, whichever thread or task polls it.
pub fn scope<F: Future>(request: Option<LoggedRequest>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(request, work)
}

/// Does work that belongs to this request.
pub fn in_scope<T>(request: Option<LoggedRequest>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(request, work)
}
