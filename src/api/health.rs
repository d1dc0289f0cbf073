//! Health: what a load balancer and an operator ask.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};
use sea_orm::ConnectionTrait;

use super::{
    Tag,
    problem::refusals,
    reply::{Json, Reply},
};
use crate::{app::App, error::Error, live::feed::MOST_SKEW};

refusals! {
    /// `readHealth` and `readVersion`.
    Nothing:;
    /// `readReadiness`.
    ReadReadiness: AuthorizationStale;
}

/// A good answer.
#[derive(Debug, Object)]
struct Health {
    /// `ok`.
    status: State,
}

/// The one state that answers 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "HealthStatus", rename_all = "snake_case")]
enum State {
    /// All is well.
    Ok,
}

/// What is running.
#[derive(Debug, Object)]
struct Version {
    /// The product.
    #[oai(validator(max_length = 64))]
    name: String,
    /// Its version.
    #[oai(validator(max_length = 64))]
    version: String,
}

/// The operations on the service itself.
pub struct Service;

#[OpenApi(tag = "Tag::Service")]
impl Service {
    /// Is the process alive?
    #[oai(path = "/healthz", method = "get", operation_id = "readHealth")]
    async fn health(&self) -> Reply<Json<Health>, Nothing> {
        Ok(Json(Health { status: State::Ok }))
    }

    /// Can it serve?
    ///
    /// 503 while the database does not answer, what is known of revocations is too old to let anybody in, or this
    /// machine's clock and the database's are over 2 s apart.
    #[oai(path = "/readyz", method = "get", operation_id = "readReadiness")]
    async fn readiness(&self, app: Data<&App>) -> Reply<Json<Health>, ReadReadiness> {
        app.db.read().execute_unprepared("SELECT 1").await.map_err(Error::Unavailable)?;
        let is_fresh = app.feed.is_fresh(app.clock.uptime(), app.settings.revocation.max_staleness);
        if !is_fresh || app.feed.skew() > MOST_SKEW {
            return Err(Error::AuthorizationStale.into());
        }
        Ok(Json(Health { status: State::Ok }))
    }

    /// What is running?
    #[oai(path = "/version", method = "get", operation_id = "readVersion")]
    async fn version(&self) -> Reply<Json<Version>, Nothing> {
        Ok(Json(Version { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }))
    }
}
