//! Refreshes per second on SQLite, which waits for the disk at every commit: with one client, and with 64 at once.
//!
//! Run it with `cargo bench --bench refreshes`; `.ci/run` does not. Everything runs in one process without sockets, so it
//! measures reading, writing, signing and the disk.

#![allow(missing_docs, reason = "a program")]
#![expect(clippy::unwrap_used, reason = "a measurement stops at the first error")]

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use poem::{Endpoint, EndpointExt, Request, endpoint::BoxEndpoint, http::Method};
use serde_json::{Value, json};
use vestibule::{
    app::App,
    config::Settings,
    domain::signing_keys,
    live::clock::{Clock, SystemClock},
    server,
};

type Service = Arc<BoxEndpoint<'static>>;

const PASSWORD: &str = "seven tall ships at dawn";
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    settings.password.bcrypt_cost = 4;
    settings.throttle.enabled = false;
    let app = App::open(settings, Arc::new(SystemClock)).await.unwrap();
    signing_keys::maintain(&app).await.unwrap();
    let service: Service = Arc::new(server::endpoint(app).unwrap().boxed());
    send(&service, "/v1/accounts", &json!({ "email": "ada@example.org", "password": PASSWORD })).await;
    let log_in = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    let mut tokens = Vec::new();
    for _ in 0..64 {
        tokens.push(send(&service, "/v1/sessions", &log_in).await["refresh_token"].clone());
    }
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(refreshes_per_second(&service, &mut tokens[..1]).await);
        together.push(refreshes_per_second(&service, &mut tokens).await);
    }
    let (alone, together) = (median(alone), median(together));
    println!("1 client: {alone:.0} refreshes/s; 64 clients: {together:.0} refreshes/s, x {:.1}", together / alone);
}

/// Returns the refreshes per second of these clients. Each client sends the next refresh after the response to the one before.
async fn refreshes_per_second(service: &Service, tokens: &mut [Value]) -> f64 {
    let began = SystemClock.uptime();
    let clients = tokens.iter_mut().map(|token| {
        let (service, mut current) = (Arc::clone(service), token.clone());
        let client = tokio::spawn(async move {
            let mut count = 0_u32;
            while SystemClock.uptime() < began + ROUND {
                current =
                    send(&service, "/v1/sessions/refresh", &json!({ "refresh_token": current })).await["refresh_token"].clone();
                count += 1;
            }
            (current, count)
        });
        async move {
            let (current, count) = client.await.unwrap();
            *token = current;
            count
        }
    });
    let count: u32 = join_all(clients).await.into_iter().sum();
    f64::from(count) / SystemClock.uptime().saturating_sub(began).as_secs_f64()
}

async fn send(service: &Service, path: &str, body: &Value) -> Value {
    let request = Request::builder().method(Method::POST).uri_str(path).content_type("application/json");
    let response = service.get_response(request.body(body.to_string())).await;
    assert!(response.status().is_success(), "{path}: {}", response.status());
    serde_json::from_str(&response.into_body().into_string().await.unwrap()).unwrap()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
