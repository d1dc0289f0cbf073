//! What people do at a server of the command line's tests: they log in, refresh, and add authenticator apps.

use std::time::SystemTime;

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};
use ureq::http::Method;

use super::http::Answer;
use crate::support::binary::Server;

pub(super) const ORIGIN: &str = "http://localhost:8080";
pub(super) const PASSWORD: &str = "seven tall ships at dawn";
pub(super) const SETTINGS: &[(&str, &str)] =
    &[("VESTIBULE_SERVER__PUBLIC_URL", ORIGIN), ("VESTIBULE_MAIL__TRANSPORT", "file"), ("VESTIBULE_THROTTLE__ENABLED", "false")];

/// The tokens of one session.
#[derive(Clone)]
pub(super) struct Tokens {
    pub(super) access: String,
    pub(super) refresh: String,
}

impl Tokens {
    pub(super) fn of(answer: &Answer) -> Self {
        let (body, text) = (answer.json(), |body: &Value, name: &str| body[name].as_str().unwrap().to_owned());
        assert!(answer.status < 300, "{}", answer.text);
        Self { access: text(&body, "access_token"), refresh: text(&body, "refresh_token") }
    }
}

pub(super) fn address(name: &str) -> String {
    format!("{name}@example.org")
}

/// Logs in, again and again while the server is too busy.
pub(super) fn sign_in(server: &Server, identifier: &str, password: &str) -> Answer {
    loop {
        let answer = server.log_in(identifier, password);
        if answer.status != 503 {
            return answer;
        }
    }
}

pub(super) fn refresh(server: &Server, token: &str) -> Answer {
    server.post("/v1/sessions/refresh", &json!({ "refresh_token": token }))
}

/// Sends a request that must succeed.
pub(super) fn call(server: &Server, method: &Method, path: &str, token: &str, body: &Value) -> Value {
    let body = if body.is_null() { None } else { Some(body.to_string()) };
    let answer = server.send(method.clone(), path, token, body);
    assert!(answer.status < 300, "{method} {path}: {}", answer.text);
    answer.json()
}

/// An authenticator app, by the real clock.
pub(super) struct App(Totp);

impl App {
    /// Adds an app to the account of this caller. Returns the app and the response.
    pub(super) fn enrol(server: &Server, token: &str) -> (Self, Value) {
        let started = call(server, &Method::POST, "/v1/me/factors/totp", token, &json!({}));
        let secret = Secret::try_from_base32(started["secret"].as_str().unwrap()).unwrap();
        let app = Self(Builder::new().with_secret(secret).build().unwrap());
        let path = format!("/v1/me/factors/totp/{}/confirm", started["id"].as_str().unwrap());
        let enrolled = call(server, &Method::POST, &path, token, &json!({ "code": app.code(-1) }));
        (app, enrolled)
    }

    pub(super) fn code(&self, steps: i64) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        self.0.generate(now.checked_add_signed(steps * 30).unwrap()).to_string()
    }
}

/// Sends a factor that completes a log-in.
pub(super) fn complete(server: &Server, challenge: &Value, factor: &Value) -> Answer {
    server.post("/v1/sessions/second-factor", &json!({ "challenge": challenge, "factor": factor }))
}

/// Begins a log-in of somebody who has a factor. Returns the challenge.
pub(super) fn challenge(server: &Server, name: &str) -> Value {
    let answer = sign_in(server, &address(name), PASSWORD);
    assert_eq!(answer.problem(), (401, "second_factor_required".to_owned()), "{name}: {}", answer.text);
    answer.json()["challenge"].clone()
}
