//! `/metrics`, on a listener of its own.

use std::sync::Arc;

use poem::{
    EndpointExt, Response, Route,
    endpoint::{BoxEndpoint, make_sync},
    get,
};

use crate::{app::App, live::metrics::Sample};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The endpoint that tells the metrics, and nothing else.
pub(super) fn endpoint(app: App) -> Arc<BoxEndpoint<'static, Response>> {
    let metrics = make_sync(move |_| tell(&app));
    Arc::new(Route::new().at("/metrics", get(metrics)).map_to_response().boxed())
}

fn tell(app: &App) -> Response {
    let sample = Sample {
        hashes_waiting: app.hasher.waiting(),
        revocations: app.revocations.len(),
        feed_age: app.feed.age(app.clock.uptime()),
        pools: app.db.pools(),
    };
    Response::builder().content_type(OPEN_METRICS).body(app.metrics.tell(&sample))
}
