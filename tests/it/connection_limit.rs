//! Connections when the server is full: if every connection is taken, the least useful one is closed (row H05).

use std::time::Duration;

use crate::support::{
    PASSWORD,
    wire::{Client, Listening, limits},
};

const SOON: Duration = Duration::from_millis(300);
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
const HALF_A_HEAD: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
const HALF_A_BODY: &str =
    "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
const LARGE: &str = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n";

async fn limited_to(connections: usize) -> Listening {
    Listening::start(limits(|limits| limits.connections = connections)).await
}

/// Connects a client that sends the beginning of a request.
async fn begin(server: &Listening, begun: &str) -> Client {
    let mut client = server.connect().await;
    client.send(begun).await;
    client
}

/// Connects a client that gets a response and keeps its connection.
async fn idle(server: &Listening) -> Client {
    let mut client = begin(server, HEALTH).await;
    assert_eq!(client.answer().await.0, 200);
    client
}

/// Returns whether a client is still served on its connection.
async fn is_served(client: &mut Client) -> bool {
    _ = tokio::io::AsyncWriteExt::write_all(&mut client.0, HEALTH.as_bytes()).await;
    client.answer().await.0 == 200
}

#[tokio::test]
async fn the_longest_idle_connection_is_closed_first() {
    let server = limited_to(3).await;
    let (mut first, mut second, mut third) = (idle(&server).await, idle(&server).await, idle(&server).await);
    assert!(is_served(&mut first).await);
    let mut new_client = idle(&server).await;
    assert_eq!(second.rest().await, "");
    for client in [&mut first, &mut third, &mut new_client] {
        assert!(is_served(client).await);
    }
}

#[tokio::test]
async fn new_clients_are_served_despite_many_idle_connections() {
    let server = limited_to(4).await;
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(idle(&server).await);
    }
}

#[tokio::test]
async fn an_incomplete_request_does_not_keep_a_new_client_out() {
    for begun in ["", HALF_A_HEAD, HALF_A_BODY] {
        let server = limited_to(2).await;
        let (mut first, mut second) = (begin(&server, begun).await, begin(&server, begun).await);
        let mut new_client = idle(&server).await;
        assert_eq!(first.rest().await, "", "{begun:?}");
        assert!(second.is_open_after(SOON).await, "{begun:?}");
        assert!(is_served(&mut new_client).await);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_an_incomplete_request() {
    for begun in ["", HALF_A_HEAD, HALF_A_BODY] {
        let server = limited_to(2).await;
        let mut half = begin(&server, begun).await;
        let mut old = idle(&server).await;
        let _newcomer = idle(&server).await;
        assert_eq!(old.rest().await, "", "{begun:?}");
        assert!(half.is_open_after(SOON).await, "{begun:?}");
    }
}

#[tokio::test]
async fn a_stalled_incomplete_request_is_closed_before_an_idle_connection() {
    for begun in ["", HALF_A_HEAD, HALF_A_BODY] {
        let server = Listening::start(limits(|limits| {
            limits.connections = 2;
            limits.timeouts.pause = Duration::ZERO;
        }))
        .await;
        let mut half = begin(&server, begun).await;
        tokio::time::sleep(SOON).await;
        let mut idler = idle(&server).await;
        let _newcomer = idle(&server).await;
        assert_eq!(half.rest().await, "", "{begun:?}");
        assert!(is_served(&mut idler).await);
    }
}

#[tokio::test]
async fn a_request_that_is_being_answered_keeps_its_connection() {
    let server = limited_to(1).await;
    server.app.register("ada").await;
    let held = server.app.hold_hashing().await;
    let body = serde_json::json!({ "identifier": "ada", "password": PASSWORD }).to_string();
    let log_in = HALF_A_BODY.replace("100\r\n\r\n{", &format!("{}\r\n\r\n{body}", body.len()));
    let mut client = begin(&server, &log_in).await;
    server.app.until_waiting(1).await;
    let mut new_client = begin(&server, HEALTH).await;
    assert!(new_client.is_open_after(SOON).await, "there is no room yet");
    drop(held);
    assert_eq!(client.answer().await.0, 201);
    assert_eq!(new_client.answer().await.0, 200);
}

#[tokio::test]
async fn a_client_that_stops_reading_does_not_keep_a_new_client_out() {
    let server = Listening::start(limits(|limits| {
        limits.connections = 1;
        limits.timeouts.pause = SOON;
    }))
    .await;
    let mut deaf = begin(&server, &LARGE.repeat(5)).await;
    idle(&server).await;
    let answers = deaf.rest().await;
    assert!(answers.matches("HTTP/1.1 200").count() < 5, "{} bytes were received", answers.len());
}
