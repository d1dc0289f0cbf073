//! What a guard written by hand costs: an axum handler that verifies each token with the library that Vestibule uses.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_service::Service;
use uuid::Uuid;

/// The claims of an access token, and the response to a valid one.
#[derive(Deserialize, Serialize)]
struct Claims {
    sub: Uuid,
    sid: Uuid,
    client_id: String,
    roles: Vec<String>,
    iat: u64,
    exp: u64,
}

struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// Serves `GET /v1/token` until the process is killed. Tokens are verified with the only key of a JSON Web Key Set.
pub async fn serve(key_set: &str) -> Result<()> {
    let keys: JwkSet = serde_json::from_str(key_set)?;
    let key = DecodingKey::from_jwk(keys.keys.first().context("the key set is empty")?)?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["vestibule"]);
    let router = Router::new().route("/v1/token", get(read)).with_state(Arc::new(Verifier { key, validation }));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::announce(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: hyper::Request<Incoming>| router.clone().call(request));
            // A client that hangs up is no failure of the measurement.
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn read(State(verifier): State<Arc<Verifier>>, headers: HeaderMap) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization.and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| decode::<Claims>(token, &verifier.key, &verifier.validation).ok()) {
        Some(token) => json(StatusCode::OK, &token.claims),
        None => (
            [(header::WWW_AUTHENTICATE, r#"Bearer realm="axum", error="invalid_token""#)],
            json(StatusCode::UNAUTHORIZED, &serde_json::json!({ "status": 401, "code": "invalid_token" })),
        )
            .into_response(),
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
