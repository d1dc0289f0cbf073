//! The server: listens for connections, limits them, and adds to every response what all responses have in common.

mod base_path;
mod client_address;
mod connection;
mod connection_table;
mod cors;
mod forwarded;
mod limits;
mod listen;
mod metrics;
mod middleware;
mod paths;
mod progress;
mod stream;
mod syntax;
mod warnings;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::bail;
use poem::{Endpoint, EndpointExt, Response};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use self::middleware::Middleware;
pub use self::{
    limits::{Limits, Timeouts},
    listen::Bound,
};
use crate::{
    api::{self, contract},
    app::App,
    config::Settings,
};

/// The highest number of connections to `/metrics`.
const METRICS_CONNECTIONS: usize = 16;

/// Returns the endpoint that serves the whole service. Fails if the contract contains an operation that has no guard and
/// is not on the list of public operations.
pub fn endpoint(app: App) -> anyhow::Result<impl Endpoint<Output = Response>> {
    contract::check()?;
    Ok(Middleware::new(api::operations(), app))
}

/// Binds the address `server.listen`. The port is then known, also if the setting leaves it to the system, but nobody can
/// connect before [`serve`].
pub fn bind(settings: &Settings) -> anyhow::Result<Bound> {
    Bound::new(settings.server.listen, "VESTIBULE_SERVER__LISTEN")
}

/// Listens on `bound` until `stop` completes, and calls `ready` with the URL once it listens.
///
/// After `stop`, `/readyz` reports that the service is stopping. The server accepts connections for the duration that
/// `stop` returned, so that load balancers can move to other replicas. Then the requests in flight finish.
pub async fn serve(
    app: App,
    bound: Bound,
    limits: Limits,
    ready: impl FnOnce(&str),
    stop: impl Future<Output = Duration>,
) -> anyhow::Result<()> {
    let address = bound.address();
    let listener = bound.listen()?;
    let metrics_listener = match app.settings.metrics.listen {
        Some(address) => Some(Bound::new(address, "VESTIBULE_METRICS__LISTEN")?.listen()?),
        None => None,
    };
    let endpoint = Arc::new(endpoint(app.clone())?.boxed());
    let closing = CancellationToken::new();
    let mut listeners = JoinSet::new();
    ready(&format!("http://{address}"));
    listeners.spawn(listen::run(listener, endpoint, limits, app.metrics.connections.clone(), closing.clone()));
    if let Some(listener) = metrics_listener {
        tracing::info!(address = %listener.local_addr()?, "serving metrics");
        let limits = Limits { connections: METRICS_CONNECTIONS, ..limits };
        listeners.spawn(listen::run(listener, metrics::endpoint(app.clone()), limits, Gauge::default(), closing.clone()));
    }
    tokio::select! {
        drain = stop => {
            app.stopping.cancel();
            sleep(drain).await;
        }
        _ = listeners.join_next() => bail!("a listener ended"),
    }
    closing.cancel();
    listeners.join_all().await;
    Ok(())
}
