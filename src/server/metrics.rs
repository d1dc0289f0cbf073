//! `/metrics`, on its own listener.

use std::sync::Arc;

use poem::{
    EndpointExt, Error, Request, Response, Result, Route,
    endpoint::{BoxEndpoint, make},
    get,
};

use super::syntax::Malformed;
use crate::{
    api::http::problem::Problem,
    app::App,
    domain::health,
    live::{
        clock::{Clock, SystemClock},
        metrics::Gauges,
    },
    values::ids,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the endpoint of the metrics listener.
pub(super) fn endpoint(app: App) -> Arc<BoxEndpoint<'static, Response>> {
    let metrics = make(move |_| {
        let app = app.clone();
        async move { render(&app).await }
    });
    Arc::new(Route::new().at("/metrics", get(metrics)).before(reject_malformed).map_to_response().boxed())
}

async fn reject_malformed(request: Request) -> Result<Request> {
    let Some(malformed) = request.data::<Malformed>() else { return Ok(request) };
    let id = ids::v7(SystemClock.now()).to_string();
    Err(Error::from_response(Problem::from(*malformed).render(&id)))
}

async fn render(app: &App) -> Response {
    let gauges = Gauges {
        hashes_waiting: app.passwords.pool.queued(),
        revocations: app.access.revocations.count(),
        feed_age: app.access.feed.age(app.clock.uptime()),
        statements: app.db.statements(),
        mail_transport_up: app.mail.is_up(),
        pools: app.db.pools(),
        unready: health::checks(app).await.map(|(reason, passed)| (reason.name(), !passed)).into(),
        clock_trusted: app.clock_trust.mismatch().is_none(),
    };
    Response::builder().content_type(OPEN_METRICS).body(app.metrics.encode(&gauges))
}
