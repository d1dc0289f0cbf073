//! Callers of the service, with or without an access token, and the responses to them.

use poem::{
    Body, Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};
use serde_json::{Value, json};

use super::{TestApp, checked};

/// A caller of the service. Every response is checked against the contract.
#[derive(Clone)]
pub struct Caller<'a> {
    pub app: &'a TestApp,
    pub token: Option<String>,
}

/// A response that the contract allows.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The JSON body, or `Null` if there is none.
    pub body: Value,
}

impl<'a> Caller<'a> {
    pub fn new(app: &'a TestApp, token: Option<String>) -> Self {
        Self { app, token }
    }

    /// Logs in and returns the caller with the access token.
    pub async fn log_in(&self, identifier: &str, password: &str) -> Self {
        let tokens = self.post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await.expect(201);
        Self::new(self.app, Some(tokens["access_token"].as_str().unwrap().to_owned()))
    }

    /// Proves by the password that the user is present, and returns the caller with the new access token.
    pub async fn prove(&self, password: &str) -> Self {
        let factor = json!({ "kind": "password", "password": password });
        let tokens = self.post("/v1/me/authentication", json!({ "factor": factor })).await.expect(200);
        Self::new(self.app, Some(tokens["access_token"].as_str().unwrap().to_owned()))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, &body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PUT, path, &body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PATCH, path, &body).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.json(Method::DELETE, path, &body).await
    }

    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], Body::from_string(body.to_string())).await
    }

    /// Sends a request with exactly these headers and the caller's token, if there is one.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method.clone()).uri_str(path);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let mut request = request.body(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let path = request.uri().path().to_owned();
        let response = self.app.raw(request).await;
        checked::answer(&method, &path, response).await
    }
}

impl Answer {
    /// Returns the body. Panics unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// Returns the status and the code of a problem.
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or("(no problem)"))
    }

    /// Returns the pointer or the parameter of every fault, and its code, in order.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["errors"].as_array().into_iter().flatten();
        let location = |fault: &Value| if fault["pointer"].is_string() { "pointer" } else { "parameter" };
        faults.map(|fault| (fault[location(fault)].as_str().unwrap(), fault["code"].as_str().unwrap())).collect()
    }

    /// Returns the value of a header. Panics unless the header is there exactly once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().unwrap_or_else(|| panic!("no {name}")).to_str().unwrap();
        assert!(values.next().is_none(), "{name} twice");
        value
    }
}

/// Asserts that a response is a problem with this status and code, and returns the response.
#[macro_export]
macro_rules! assert_problem {
    ($answer:expr, $status:literal, $code:literal) => {{
        let answer = $answer;
        assert_eq!(answer.problem(), ($status, $code), "{:#}", answer.body);
        answer
    }};
}
