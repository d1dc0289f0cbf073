//! A plain HTTP client, which opens a connection for each request.

use serde_json::{Value, json};
use ureq::{
    Agent,
    http::{HeaderMap, Method, Request, Response},
};

use crate::support::binary::Server;

/// A response.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// Returns the body as JSON, or `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the status and the code of a problem. The code is empty if there is none.
    pub fn problem(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Server {
    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", None)
    }

    pub fn get_as(&self, token: &str, path: &str) -> Answer {
        self.send(Method::GET, path, token, None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, "", Some(body.to_string()))
    }

    pub fn register(&self, email: &str, password: &str) -> Answer {
        self.post("/v1/accounts", &json!({ "email": email, "password": password }))
    }

    /// Returns the status, or `None` if the server ends before it responds.
    pub fn try_register(&self, email: &str, password: &str) -> Option<u16> {
        let body = json!({ "email": email, "password": password });
        try_post(&format!("{}/v1/accounts", self.url), &body).map(|(status, _)| status)
    }

    pub fn log_in(&self, identifier: &str, password: &str) -> Answer {
        self.post("/v1/sessions", &json!({ "identifier": identifier, "password": password }))
    }

    /// Sends a request, with a bearer token unless it is empty, and with a JSON body if there is one.
    pub fn send(&self, method: Method, path: &str, token: &str, body: Option<String>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        match body {
            Some(body) => read(agent().run(request.header("content-type", "application/json").body(body).unwrap())),
            None => read(agent().run(request.body(()).unwrap())),
        }
    }

    /// Introspects `token` with the access token `by`.
    pub fn introspect(&self, by: &str, token: &str) -> Answer {
        let request = Request::post(format!("{}/v1/tokens/introspect", self.url)).header("authorization", format!("Bearer {by}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        read(agent().run(request.body(format!("token={token}")).unwrap()))
    }
}

/// Returns the status and the body, or `None` if the server ends before it responds.
pub fn try_post(url: &str, body: &Value) -> Option<(u16, Value)> {
    let request = Request::post(url).header("content-type", "application/json");
    let (head, mut body) = agent().run(request.body(body.to_string()).unwrap()).ok()?.into_parts();
    Some((head.status.as_u16(), serde_json::from_str(&body.read_to_string().ok()?).ok()?))
}

fn agent() -> Agent {
    Agent::config_builder().http_status_as_error(false).build().into()
}

fn read(response: Result<Response<ureq::Body>, ureq::Error>) -> Answer {
    let (head, mut body) = response.unwrap().into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, text: body.read_to_string().unwrap() }
}
