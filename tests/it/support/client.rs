//! Clients: programs that store the tokens of a session and refresh them.

use serde_json::{Value, json};

use super::{
    PASSWORD, TestApp,
    caller::{Answer, Caller},
};

/// A program that has logged in and stores its tokens.
#[derive(Clone)]
pub struct Client<'a> {
    pub app: &'a TestApp,
    pub session: String,
    pub access: String,
    pub refresh: String,
}

impl<'a> Client<'a> {
    /// Stores the tokens from the response to a log-in or a refresh.
    pub fn new(app: &'a TestApp, tokens: &Value) -> Self {
        let text = |member: &str| tokens[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned();
        Self { app, session: text("session_id"), access: text("access_token"), refresh: text("refresh_token") }
    }

    pub async fn log_in(app: &'a TestApp, name: &str) -> Self {
        let log_in = json!({ "identifier": name, "password": PASSWORD });
        Self::new(app, &app.anonymous().post("/v1/sessions", log_in).await.expect(201))
    }

    /// Refreshes and stores the new tokens, if there are any.
    pub async fn refresh(&mut self) -> Answer {
        let answer = self.refresh_and_lose().await;
        if answer.status == 200 {
            *self = Self::new(self.app, &answer.body);
        }
        answer
    }

    /// Refreshes without storing the new tokens, as if the response were lost.
    pub async fn refresh_and_lose(&self) -> Answer {
        self.app.refresh(&self.refresh).await
    }

    /// Returns a caller with the stored access token.
    pub fn caller(&self) -> Caller<'a> {
        self.app.bearer(&self.access)
    }
}

impl TestApp {
    /// Sends a refresh token.
    pub async fn refresh(&self, token: &str) -> Answer {
        self.anonymous().post("/v1/sessions/refresh", json!({ "refresh_token": token })).await
    }

    /// Registers a user of this name and logs a client in.
    pub async fn client(&self, name: &str) -> Client<'_> {
        self.register(name).await;
        Client::log_in(self, name).await
    }
}
