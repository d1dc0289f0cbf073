//! Health and version, for load balancers and operators.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;

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

/// The response of a health check that passed.
#[derive(Debug, Object, Serialize)]
struct Health {
    /// The status, which is `ok`.
    status: State,
}

/// The only status with which a health check returns 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "HealthStatus", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum State {
    /// The check passed.
    Ok,
}

/// The program and its version.
#[derive(Debug, Object, Serialize)]
struct Version {
    /// The name of the program.
    #[oai(validator(max_length = 64))]
    name: String,
    /// The version of the program.
    #[oai(validator(max_length = 64))]
    version: String,
}

/// The operations on the service itself.
pub struct ServiceApi;

#[OpenApi(tag = "Tag::Service")]
impl ServiceApi {
    /// Check that the process is alive.
    #[oai(path = "/healthz", method = "get", operation_id = "readHealth")]
    async fn health(&self) -> Reply<Json<Health>, Nothing> {
        Ok(Json(Health { status: State::Ok }))
    }

    /// Check that the service is ready.
    ///
    /// Returns 503 while the service is stopping, the database does not respond or is read-only, the known revocations are too
    /// old to accept access tokens, this machine's clock differs from the database's by more than 2 s or is otherwise in doubt
    /// (with PostgreSQL), or no key signs access tokens. `detail` names the reasons.
    #[oai(path = "/readyz", method = "get", operation_id = "readReadiness")]
    async fn readiness(&self, app: Data<&App>) -> Reply<Json<Health>, ReadReadiness> {
        health::readiness(&app).await?;
        Ok(Json(Health { status: State::Ok }))
    }

    /// Get the version.
    #[oai(path = "/version", method = "get", operation_id = "readVersion")]
    async fn version(&self) -> Reply<Json<Version>, Nothing> {
        Ok(Json(Version { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }))
    }
}
