//! A forger: a caller with the HS256 secret, who turns a valid token into a correctly signed token that must be refused.

use serde_json::Value;
use vestibule::config;

use super::{assert_invalid, part, sign, signing_with, with};

use crate::support::TestApp;

/// A caller with the HS256 secret and the parts of a valid token.
pub struct Forger {
    pub app: TestApp,
    pub header: Value,
    pub claims: Value,
}

impl Forger {
    pub async fn start() -> Self {
        let app = signing_with(config::Algorithm::Hs256).await;
        let token = app.user("ada").await.token.unwrap();
        let (header, claims) = (part(&token, 0), part(&token, 1));
        Self { app, header, claims }
    }

    pub fn header(&self, header: &Value) -> String {
        sign(&header.to_string(), &self.claims.to_string())
    }

    pub fn claims(&self, claims: &Value) -> String {
        sign(&self.header.to_string(), &claims.to_string())
    }

    /// Returns the valid token with another value for one of its claims.
    pub fn claim(&self, name: &str, value: Value) -> String {
        self.claims(&with(&self.claims, name, value))
    }

    pub async fn assert_refused(&self, why: &str, token: &str) {
        assert_invalid(why, &self.app.bearer(token).get("/v1/me").await);
    }

    pub async fn assert_accepted(&self, why: &str, token: &str) {
        let answer = self.app.bearer(token).get("/v1/me").await;
        assert_eq!(answer.status, 200, "{why}: {:#}", answer.body);
    }
}
