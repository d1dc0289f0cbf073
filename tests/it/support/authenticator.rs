//! Accounts with a second factor: an authenticator app that shows the codes of the test's clock.

use std::sync::Arc;

use serde_json::{Value, json};
use totp_rs::{Builder, Secret, Totp};
use vestibule::{live::clock::Clock, values::ids::UserId};

use super::{
    PASSWORD, TestApp,
    caller::{Answer, Caller},
    clock::TestClock,
};

/// The length of a time step in seconds.
pub const STEP: u64 = 30;

/// An authenticator app with one entry.
#[derive(Clone)]
pub struct Authenticator {
    /// The id of the factor.
    pub id: String,
    /// The secret, as it was shown.
    pub secret: String,
    totp: Totp,
    clock: Arc<TestClock>,
}

impl Authenticator {
    /// Scans the secret in the response to `startTotp`.
    pub fn scan(app: &TestApp, started: &Value) -> Self {
        let secret = started["secret"].as_str().unwrap().to_owned();
        let totp = Builder::new().with_secret(Secret::try_from_base32(&secret).unwrap()).build().unwrap();
        Self { id: started["id"].as_str().unwrap().to_owned(), secret, totp, clock: app.clock.clone() }
    }

    /// Returns the code that the app shows now.
    pub fn code(&self) -> String {
        self.code_of(0)
    }

    /// Returns the code of an earlier or a later time step.
    pub fn code_of(&self, steps: i64) -> String {
        let seconds = self.clock.now().timestamp() + steps * STEP.cast_signed();
        self.totp.generate(seconds.try_into().unwrap()).to_string()
    }

    /// Returns six digits that are not the code of any time step around now.
    pub fn wrong_code(&self) -> String {
        let right: Vec<_> = (-3..=3).map(|steps| self.code_of(steps)).collect();
        let mut codes = (0..).map(|number| format!("{number:06}"));
        codes.find(|code| !right.contains(code)).unwrap()
    }

    /// Returns the factor with the code that the app shows now.
    pub fn factor(&self) -> Value {
        totp(&self.code())
    }
}

/// Returns the factor with this code of an authenticator app.
pub fn totp(code: &str) -> Value {
    json!({ "kind": "totp", "code": code })
}

/// Returns the factor with this recovery code.
pub fn recovery_code(code: &str) -> Value {
    json!({ "kind": "recovery_code", "code": code })
}

/// A user with an authenticator app, in the session that has enrolled it.
pub struct Owner<'a> {
    pub id: UserId,
    pub caller: Caller<'a>,
    pub authenticator: Authenticator,
    pub recovery_codes: Vec<String>,
}

impl TestApp {
    /// Creates a user whose address is verified, and returns the id.
    pub async fn create(&self, name: &str) -> UserId {
        let user = json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD });
        let created = self.admin().await.post("/v1/users", user).await.expect(201);
        created["id"].as_str().unwrap().parse().unwrap()
    }

    /// Creates a user with an authenticator app and recovery codes. The code of the enrolment is a step old, so that the next one
    /// can be used at once.
    pub async fn owner(&self, name: &str) -> Owner<'_> {
        let id = self.create(name).await;
        let (caller, authenticator, enrolled) = enrol(&self.anonymous().log_in(name, PASSWORD).await).await;
        self.clock.advance(std::time::Duration::from_secs(STEP));
        Owner { id, caller, authenticator, recovery_codes: texts(&enrolled["recovery_codes"]) }
    }

    /// Sends the password, and returns the challenge.
    pub async fn challenge(&self, name: &str) -> String {
        challenge(&self.log_in(name).await)
    }

    /// Sends the password.
    pub async fn log_in(&self, name: &str) -> Answer {
        self.anonymous().post("/v1/sessions", json!({ "identifier": name, "password": PASSWORD })).await
    }

    /// Sends a challenge and a factor.
    pub async fn complete(&self, challenge: &str, factor: &Value) -> Answer {
        let body = json!({ "challenge": challenge, "factor": factor });
        self.anonymous().post("/v1/sessions/second-factor", body).await
    }

    /// Logs in with the password and a factor.
    pub async fn log_in_with(&self, name: &str, factor: &Value) -> Caller<'_> {
        let challenge = self.challenge(name).await;
        let tokens = self.complete(&challenge, factor).await.expect(201);
        self.bearer(tokens["access_token"].as_str().unwrap())
    }
}

/// Returns the challenge in a response.
#[track_caller]
pub fn challenge(answer: &Answer) -> String {
    assert_eq!(answer.problem(), (401, "second_factor_required"), "{:#}", answer.body);
    answer.body["challenge"].as_str().unwrap().to_owned()
}

/// Enrols an authenticator app for the caller. Returns the caller with their new token, the app, and the response.
pub async fn enrol<'a>(caller: &Caller<'a>) -> (Caller<'a>, Authenticator, Value) {
    let started = caller.post("/v1/me/factors/totp", json!({})).await.expect(201);
    let authenticator = Authenticator::scan(caller.app, &started);
    let enrolled = confirm(caller, &authenticator, &authenticator.code()).await.expect(200);
    let token = enrolled["tokens"]["access_token"].as_str().unwrap();
    (caller.app.bearer(token), authenticator, enrolled)
}

/// Confirms an app with this code.
pub async fn confirm(caller: &Caller<'_>, authenticator: &Authenticator, code: &str) -> Answer {
    caller.post(&format!("/v1/me/factors/totp/{}/confirm", authenticator.id), json!({ "code": code })).await
}

/// Returns the texts in a list.
pub fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}
