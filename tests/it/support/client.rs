//! Clients: programs that keep what a session hands out, and refresh.

use serde_json::{Value, json};

use super::{
    PASSWORD, TestApp,
    caller::{Answer, Caller},
};

/// A program that is signed in, and keeps its tokens.
#[derive(Clone)]
pub struct Client<'a> {
    pub app: &'a TestApp,
    pub session: String,
    pub access: String,
    pub refresh: String,
}

impl<'a> Client<'a> {
    /// Keeps what a log-in answered.
    pub fn new(app: &'a TestApp, tokens: &Value) -> Self {
        let text = |member: &str| tokens[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned();
        Self { app, session: text("session_id"), access: text("access_token"), refresh: text("refresh_token") }
    }

    /// Logs in.
    pub async fn log_in(app: &'a TestApp, name: &str) -> Self {
        let log_in = json!({ "identifier": name, "password": PASSWORD });
        Self::new(app, &app.nobody().post("/v1/sessions", log_in).await.expect(201))
    }

    /// Refreshes, and keeps the new tokens if there are any.
    pub async fn refresh(&mut self) -> Answer {
        let answer = self.refresh_and_lose().await;
        if answer.status == 200 {
            *self = Self::new(self.app, &answer.body);
        }
        answer
    }

    /// Refreshes, and the answer gets lost.
    pub async fn refresh_and_lose(&self) -> Answer {
        self.app.refresh(&self.refresh).await
    }

    /// The caller with its access token.
    pub fn caller(&self) -> Caller<'a> {
        self.app.bearer(&self.access)
    }
}

impl TestApp {
    /// Presents this as a refresh token.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.nobody().post("/v1/sessions/refresh", json!({ "refresh_token": token })).await
    }

    /// Somebody who has registered under this name and signed in, as a program.
    pub async fn client(&self, name: &str) -> Client<'_> {
        self.register(name).await;
        Client::log_in(self, name).await
    }
}
