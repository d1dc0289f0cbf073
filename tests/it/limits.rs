//! The limits for one client: how slow and how large its requests may be (rows H04 and H05). The tests use short timeouts.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{
    TestApp,
    wire::{Client, Listening, limits},
};

const SOON: Duration = Duration::from_millis(300);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends a request. Returns the status and the text of the answer.
async fn exchange(client: &mut Client, request: impl AsRef<[u8]>) -> (u16, String) {
    client.send(request).await;
    client.answer().await
}

fn post(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n")
}

#[tokio::test]
async fn h05_a_client_that_does_not_finish_its_headers_is_disconnected() {
    let server = Listening::start(limits(|limits| limits.timeouts.head = SOON)).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = server.connect().await;
        client.send(begun).await;
        assert_eq!(client.rest().await, "");
    }
    // Sending single bytes does not extend the timeout.
    let mut client = server.connect().await;
    for byte in HEALTH.bytes().take(15) {
        tokio::time::sleep(SOON / 10).await;
        if client.0.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn h05_a_longer_timeout_applies_between_two_requests() {
    let limits = limits(|limits| {
        limits.timeouts.head = SOON;
        limits.timeouts.idle = 4 * SOON;
    });
    let server = Listening::start(limits).await;
    let mut client = server.connect().await;
    assert_eq!(exchange(&mut client, HEALTH).await.0, 200);
    assert!(client.is_open_after(2 * SOON).await);
    assert_eq!(exchange(&mut client, HEALTH).await.0, 200);
    assert!(client.is_open_after(2 * SOON).await);
    client.send("GET").await;
    assert_eq!(client.rest().await, "", "a request that has begun must be finished within the shorter timeout");

    let mut client = server.connect().await;
    assert_eq!(exchange(&mut client, HEALTH).await.0, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn h05_a_client_that_does_not_finish_its_body_gets_408_and_is_disconnected() {
    let server = Listening::start(limits(|limits| limits.timeouts.body = SOON)).await;
    for (headers, begun) in [("Content-Length: 100\r\n", "{"), ("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n")] {
        let mut client = server.connect().await;
        let (status, answer) = exchange(&mut client, post("/v1/sessions", headers) + begun).await;
        assert!(status == 408 && answer.contains(r#""code":"request_timeout""#), "{answer}");
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn h05_a_client_that_does_not_read_its_responses_is_disconnected() {
    let server = Listening::start(limits(|limits| limits.timeouts.response = SOON)).await;
    let mut client = server.connect().await;
    // More than the buffers between server and client hold.
    for _ in 0..20 {
        client.send("GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    tokio::time::sleep(3 * SOON).await;
    let answers = client.rest().await;
    assert!(answers.matches("HTTP/1.1 200").count() < 20, "{} bytes arrived", answers.len());
}

#[tokio::test]
async fn h04_a_uri_or_a_header_that_is_too_large_is_rejected() {
    let server = Listening::start(limits(|_| ())).await;
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let long = |length: usize| format!("/healthz?{}", "x".repeat(length - 9));
    let header = |length: usize| format!("X-Long: {}\r\n", "x".repeat(length));
    for (request, status, code) in [
        (get(&long(8 * 1024), ""), 200, ""),
        (get(&long(8 * 1024 + 1), ""), 414, "uri_too_long"),
        (get(&long(60_000), ""), 414, "uri_too_long"),
        (get("/healthz", &header(16_000)), 200, ""),
        (get("/healthz", &header(16 * 1024)), 431, "headers_too_large"),
        (get("/healthz", &"X: x\r\n".repeat(99)), 200, ""),
        // The error responses of hyper have no body.
        (get("/healthz", &"X: x\r\n".repeat(100)), 431, ""),
        (get("/healthz", &header(100_000)), 431, ""),
    ] {
        let mut client = server.connect().await;
        let (answered, answer) = exchange(&mut client, &request).await;
        assert_eq!(answered, status, "{} bytes: {answer}", request.len());
        assert!(answer.contains(code), "{answer}");
        assert!(status == 200 || code.is_empty() || answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn h04_a_body_that_is_too_large_is_rejected_before_it_has_arrived() {
    let server = Listening::start(limits(|_| ())).await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for (headers, begun) in [
        ("Content-Length: 60000000\r\n", ""),
        ("Content-Length: 60000000\r\nExpect: 100-continue\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", chunk.repeat(3).as_str()),
    ] {
        let mut client = server.connect().await;
        let (status, answer) = exchange(&mut client, post("/v1/sessions", headers) + begun).await;
        assert!(status == 413 && answer.contains("payload_too_large"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // A client that continues to send can still read the reason before it is disconnected.
        client.send(&chunk).await;
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn expect_100_continue_is_supported() {
    let server = Listening::start(limits(|_| ())).await;
    let body = json!({ "email": "ada@example.org", "password": "correct horse battery staple" }).to_string();
    let headers = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let mut client = server.connect().await;
    assert_eq!(exchange(&mut client, post("/v1/accounts", &headers)).await.0, 100);
    assert_eq!(exchange(&mut client, &body).await.0, 201);
    // The guard rejects the request without the body.
    let request = post("/v1/users", &headers);
    assert_eq!(exchange(&mut server.connect().await, &request).await.0, 401);
}

#[tokio::test]
async fn h11_a_server_that_is_stopping_is_not_ready() {
    let app = TestApp::start().await;
    app.anonymous().get("/readyz").await.expect(200);
    app.app.stopping.cancel();
    let answer = app.anonymous().get("/readyz").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.body["detail"].as_str().unwrap().contains("stopping"));
    app.anonymous().get("/healthz").await.expect(200);
}
