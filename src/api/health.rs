//! Health: what a load balancer and an operator ask.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};

use super::{
    Tag,
    http::{
        codes::operation_codes,
        reply::{Json, Reply},
    },
};
use crate::{app::App, domain::health};

operation_codes! {
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
pub struct ServiceApi;

#[OpenApi(tag = "Tag::Service")]
impl ServiceApi {
    /// Is the process alive?
    #[oai(path = "/healthz", method = "get", operation_id = "readHealth")]
    async fn health(&self) -> Reply<Json<Health>, Nothing> {
        Ok(Json(Health { status: State::Ok }))
    }

    /// Can it serve?
    ///
    /// 503 while the service is stopping, the database does not answer or refuses to write, what is known of revocations is
    /// too old to let anybody in, this machine's clock and the database's are over 2 s apart or the clock is otherwise in doubt
    /// (PostgreSQL), or no key signs access tokens; `detail` says which of these.
    #[oai(path = "/readyz", method = "get", operation_id = "readReadiness")]
    async fn readiness(&self, app: Data<&App>) -> Reply<Json<Health>, ReadReadiness> {
        health::readiness(&app).await?;
        Ok(Json(Health { status: State::Ok }))
    }

    /// What is running?
    #[oai(path = "/version", method = "get", operation_id = "readVersion")]
    async fn version(&self) -> Reply<Json<Version>, Nothing> {
        Ok(Json(Version { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }))
    }
}
