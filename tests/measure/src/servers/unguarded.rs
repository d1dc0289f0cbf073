//! What the framework costs: a poem-openapi handler without a guard, on poem's own server with its default settings.

use anyhow::{Context, Result};
use poem::{
    Route, Server,
    listener::{Acceptor, Listener, TcpListener},
};
use poem_openapi::{Object, OpenApi, OpenApiService, payload::Json};
use uuid::Uuid;

/// As the response of `GET /v1/token`.
#[derive(Object)]
struct Token {
    subject: Uuid,
    session_id: Uuid,
    client_id: String,
    roles: Vec<String>,
    permissions: Vec<String>,
    issued_at: String,
    expires_at: String,
}

struct Api;

#[OpenApi(prefix_path = "/v1")]
impl Api {
    #[oai(path = "/token", method = "get")]
    async fn read(&self) -> Json<Token> {
        Json(Token {
            subject: Uuid::from_u128(1),
            session_id: Uuid::from_u128(2),
            client_id: "vestibule".to_owned(),
            roles: vec!["user".to_owned()],
            permissions: Vec::new(),
            issued_at: "2026-11-26T06:36:28.000000Z".to_owned(),
            expires_at: "2026-11-26T06:51:28.000000Z".to_owned(),
        })
    }
}

/// Serves `GET /v1/token` until the process is killed.
pub async fn serve() -> Result<()> {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
    let addresses = acceptor.local_addr();
    super::announce(*addresses.first().and_then(|address| address.as_socket_addr()).context("a TCP listener has an address")?)?;
    let service = OpenApiService::new(Api, "unguarded", "1");
    Ok(Server::new_with_acceptor(acceptor).run(Route::new().nest("/", service)).await?)
}
