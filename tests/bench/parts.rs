//! The parts of a request, in one process without sockets: verification of tokens, guards, bodies, problems, and a read.
//!
//! Run it with `cargo bench --bench parts`; `.ci/run` does not. Each row is the median of rounds on one thread. There is
//! no framework, because criterion would add two dozen crates and a C build to `cargo test`. `.ci/compare` measures the same
//! over HTTP, `--bench refreshes` refreshes, and `-p vestibule-lanes` hashes.

#![allow(missing_docs, reason = "a program")]
#![expect(clippy::unwrap_used, reason = "a measurement stops at the first error")]

use std::{sync::Arc, time::Duration};

use poem::{Endpoint, EndpointExt, Request, endpoint::BoxEndpoint, http::Method};
use serde_json::{Value, json};
use vestibule::{
    app::App,
    config::Settings,
    domain::{setup, signing_keys},
    live::clock::{Clock, SystemClock},
    server,
};

const PASSWORD: &str = "seven tall ships at dawn";
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(300);

/// The service, and the only thread that runs it.
struct Service {
    runtime: tokio::runtime::Runtime,
    endpoint: BoxEndpoint<'static>,
    administrator: String,
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    settings.password.bcrypt_cost = 4;
    settings.throttle.enabled = false;
    // No job follows the revocations here.
    settings.revocation.max_staleness = Duration::from_hours(1);
    let (endpoint, administrator) = runtime.block_on(async {
        let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
        signing_keys::maintain(&app).await.unwrap();
        let administrator = setup::first_administrator(&app).await.unwrap().unwrap();
        (server::endpoint(app).unwrap().boxed(), administrator)
    });
    let service = Service { runtime, endpoint, administrator };
    service.answer(&post("/v1/accounts", &json!({ "email": "ada@example.org", "password": PASSWORD })), 201);
    let (ada, admin) = (service.log_in("ada@example.org", PASSWORD), service.log_in("admin", &service.administrator));

    println!("| a request in process | time |\n|---|---|");
    let rows = [
        ("without a guard (`GET /healthz`)", get("/healthz", None), 200),
        ("the problem of a missing token", get("/v1/token", None), 401),
        ("a token that was seen before (`GET /v1/token`)", get("/v1/token", Some(&ada)), 200),
        ("a token that was never seen, with a bad signature", get("/v1/token", Some(&with_a_bad_signature(&ada))), 401),
        ("a token without the permission", get("/v1/users", Some(&ada)), 403),
        ("a read of one user (`GET /v1/me`)", get("/v1/me", Some(&ada)), 200),
        ("a page of users, for an administrator", get("/v1/users", Some(&admin)), 200),
        ("a body that is valid, with an unknown refresh token", post("/v1/sessions/refresh", &unknown_token()), 401),
        ("a body with three faults", post("/v1/accounts", &json!({ "email": 1, "passwort": "x" })), 422),
    ];
    for (title, request, status) in rows {
        println!("| {title} | {:.1} us |", service.median(&request, status) * 1e6);
    }
}

/// A request, from which each call builds a new one.
struct Prepared {
    method: Method,
    path: &'static str,
    token: Option<String>,
    body: String,
}

fn get(path: &'static str, token: Option<&str>) -> Prepared {
    Prepared { method: Method::GET, path, token: token.map(|token| format!("Bearer {token}")), body: String::new() }
}

fn post(path: &'static str, body: &Value) -> Prepared {
    Prepared { method: Method::POST, path, token: None, body: body.to_string() }
}

impl Prepared {
    fn build(&self) -> Request {
        let mut request = Request::builder().method(self.method.clone()).uri_str(self.path);
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        if self.body.is_empty() { request.finish() } else { request.content_type("application/json").body(self.body.clone()) }
    }
}

impl Service {
    /// Sends a request and returns the body of the response, which must have this status.
    fn answer(&self, request: &Prepared, status: u16) -> Vec<u8> {
        self.runtime.block_on(async {
            let response = self.endpoint.get_response(request.build()).await;
            assert_eq!(response.status().as_u16(), status, "{}", request.path);
            response.into_body().into_vec().await.unwrap()
        })
    }

    fn log_in(&self, identifier: &str, password: &str) -> String {
        let response = self.answer(&post("/v1/sessions", &json!({ "identifier": identifier, "password": password })), 201);
        serde_json::from_slice::<Value>(&response).unwrap()["access_token"].as_str().unwrap().to_owned()
    }

    /// Returns the time from a request to its response, in seconds: the median of the rounds.
    fn median(&self, request: &Prepared, status: u16) -> f64 {
        let mut rounds = [0.0; ROUNDS].map(|_| {
            let (began, mut count) = (SystemClock.uptime(), 0_u32);
            while SystemClock.uptime() < began + ROUND {
                self.answer(request, status);
                count += 1;
            }
            SystemClock.uptime().saturating_sub(began).as_secs_f64() / f64::from(count)
        });
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    }
}

/// Returns a token with another signature that is well formed: it is verified anew each time, because only valid tokens are
/// remembered.
fn with_a_bad_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

fn unknown_token() -> Value {
    json!({ "refresh_token": format!("vrt_{}", "A".repeat(60)) })
}
