//! What one client may ask of the server: how long, how large, how slow (rows H04 and H05). The waits are those of the
//! server, made short.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    TestApp,
    wire::{Client, Listening, limits},
};

const SOON: Duration = Duration::from_millis(300);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends a request, and gives what comes back.
async fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> (u16, String) {
    client.send(request).await;
    client.answer().await
}

fn post(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n")
}

#[tokio::test]
async fn h05_who_does_not_finish_a_header_is_cut_off() {
    let server = Listening::start(limits(|it| it.timeouts.head = SOON)).await;
    for begun in ["", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = server.connect().await;
        client.send(begun).await;
        assert_eq!(client.rest().await, "");
    }
    // A byte now and then changes nothing.
    let mut client = server.connect().await;
    for byte in HEALTH.bytes().take(15) {
        tokio::time::sleep(SOON / 10).await;
        if tokio::io::AsyncWriteExt::write_all(&mut client.0, &[byte]).await.is_err() {
            break;
        }
    }
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn h05_between_two_requests_a_client_may_rest_for_longer() {
    let waits = limits(|it| {
        it.timeouts.head = SOON;
        it.timeouts.idle = 4 * SOON;
    });
    let server = Listening::start(waits).await;
    let mut client = server.connect().await;
    assert_eq!(ask(&mut client, HEALTH).await.0, 200);
    assert!(client.is_open_after(2 * SOON).await);
    assert_eq!(ask(&mut client, HEALTH).await.0, 200);
    assert!(client.is_open_after(2 * SOON).await);
    client.send("GET").await;
    assert_eq!(client.rest().await, "", "what is begun must be finished soon");

    let mut client = server.connect().await;
    assert_eq!(ask(&mut client, HEALTH).await.0, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn h05_who_does_not_finish_a_body_is_told_so_and_cut_off() {
    let server = Listening::start(limits(|it| it.timeouts.body = SOON)).await;
    for (headers, begun) in [("Content-Length: 100\r\n", "{"), ("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n")] {
        let mut client = server.connect().await;
        let (status, answer) = ask(&mut client, post("/v1/sessions", headers) + begun).await;
        assert!(status == 408 && answer.contains(r#""code":"request_timeout""#), "{answer}");
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn h05_who_does_not_read_is_cut_off() {
    let server = Listening::start(limits(|it| it.timeouts.response = SOON)).await;
    let mut client = server.connect().await;
    // More than the buffers in between hold.
    for _ in 0..20 {
        client.send("GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    tokio::time::sleep(3 * SOON).await;
    let answers = client.rest().await;
    assert!(answers.matches("HTTP/1.1 200").count() < 20, "{} bytes came", answers.len());
}

#[tokio::test]
async fn h04_what_is_too_large_is_refused() {
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
        // hyper's own refusals have no body.
        (get("/healthz", &"X: x\r\n".repeat(100)), 431, ""),
        (get("/healthz", &header(100_000)), 431, ""),
    ] {
        let mut client = server.connect().await;
        let (told, answer) = ask(&mut client, &request).await;
        assert_eq!(told, status, "{} bytes: {answer}", request.len());
        assert!(answer.contains(code), "{answer}");
        assert!(status == 200 || code.is_empty() || answer.contains("application/problem+json"), "{answer}");
    }
}

#[tokio::test]
async fn h04_a_body_that_is_too_large_is_refused_before_it_has_come() {
    let server = Listening::start(limits(|_| ())).await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for (headers, begun) in [
        ("Content-Length: 60000000\r\n", ""),
        ("Content-Length: 60000000\r\nExpect: 100-continue\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", chunk.repeat(3).as_str()),
    ] {
        let mut client = server.connect().await;
        let (status, answer) = ask(&mut client, post("/v1/sessions", headers) + begun).await;
        assert!(status == 413 && answer.contains("payload_too_large"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        // Who goes on sending for a while is not cut off before they have read why.
        client.send(&chunk).await;
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn a_client_may_ask_whether_it_should_send_its_body() {
    let server = Listening::start(limits(|_| ())).await;
    let body = json!({ "email": "ada@example.org", "password": "correct horse battery staple" }).to_string();
    let headers = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", body.len());
    let mut client = server.connect().await;
    assert_eq!(ask(&mut client, post("/v1/accounts", &headers)).await.0, 100);
    assert_eq!(ask(&mut client, &body).await.0, 201);
    // A guard needs no body to refuse.
    let request = post("/v1/users", &headers);
    assert_eq!(ask(&mut server.connect().await, &request).await.0, 401);
}

#[tokio::test]
async fn h11_once_told_to_stop_it_is_not_ready() {
    let app = TestApp::start().await;
    app.nobody().get("/readyz").await.expect(200);
    app.app.stopping.cancel();
    let answer = app.nobody().get("/readyz").await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.body["detail"].as_str().unwrap().contains("stopping"));
    app.nobody().get("/healthz").await.expect(200);
}
