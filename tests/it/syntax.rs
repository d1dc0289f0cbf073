//! The syntax of requests on the wire: invalid HTTP is refused, and no request can hide in another one (RFC 9112).

use futures_util::future::join_all;
use rstest::rstest;

use crate::support::wire::{Listening, limits};

/// Follows every case. It gets a response only if the server still knows where a request begins.
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Returns the statuses of all responses to `request` and [`LAST`], and all bytes that were received.
async fn send(server: &Listening, request: &[u8]) -> (Vec<u16>, String) {
    let mut client = server.connect().await;
    client.send([request, LAST.as_bytes()].concat()).await;
    let text = client.rest().await;
    let statuses = text.split("HTTP/1.").skip(1).map(|response| response[2..5].parse().unwrap()).collect();
    (statuses, text)
}

async fn server() -> Listening {
    Listening::start(limits(|limits| limits.connections = 1_000)).await
}

/// Sends each of `requests` on a connection of its own, and asserts that all get exactly these statuses.
async fn assert_all(requests: Vec<Vec<u8>>, expected: &[u16], text: &str) {
    let server = server().await;
    let answers = join_all(requests.iter().map(|request| send(&server, request))).await;
    let wrong: Vec<_> = requests
        .iter()
        .zip(&answers)
        .filter(|(_, (statuses, answer))| statuses != expected || !answer.contains(text))
        .map(|(request, (statuses, _))| (String::from_utf8_lossy(request), statuses))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn get(headers: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn every_valid_host_is_accepted() {
    let hosts = [
        "",
        " ",
        "x",
        " x \t",
        "localhost:8080",
        "example.com:",
        "EXAMPLE.org.",
        "xn--exmple-cua.org",
        "a_b.internal",
        "%C3%A9.example",
        "a!$&'()*+;=~b",
        "127.0.0.1:1",
        "999.999.999.999",
        "x:65535",
        "x:00080",
        "[::1]",
        "[::1]:80",
        "[2001:DB8::7]:",
        "[::ffff:192.0.2.1]",
        "[v1.a:b]",
    ];
    assert_all(hosts.iter().map(|host| get(&format!("hOsT:{host}\r\n"))).collect(), &[200, 200], "").await;
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_or_invalid_is_refused() {
    let hosts = [
        "x y",
        "x\ty",
        "x/",
        "x/y",
        "/",
        "u@x",
        "u:p@x",
        "@x",
        "x:a",
        "x:-1",
        "x:+1",
        "x:65536",
        "x:1:2",
        "x: 1",
        ":",
        ":80",
        "::1",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:x",
        "[]",
        "[x]",
        "[127.0.0.1]",
        "[fe80::1%25eth0]",
        "[v1]",
        "[vx.a]",
        "[::1]]",
        "a,b",
        "a, b",
        "é",
        "\u{ff58}",
        "x?y",
        "x#y",
        "http://x",
        "%",
        "%4",
        "%zz",
        "<x>",
        "x\\y",
        "\"x\"",
        "x|y",
        "{x}",
        "x^y",
    ];
    let mut requests: Vec<_> = hosts.iter().map(|host| get(&format!("Host: {host}\r\n"))).collect();
    for headers in ["", "X: y\r\n", "Host: x\r\nHost: x\r\n", "Host: x\r\nHost: y\r\n", "Host: x\r\nX: y\r\nhost:\r\n"] {
        requests.push(get(headers));
    }
    requests.push(b"GET /healthz HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec());
    requests.push(b"GET /healthz HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n".to_vec());
    requests.push(b"GET /healthz HTTP/1.0\r\nHost: x y\r\n\r\n".to_vec());
    requests.push(b"OPTIONS /healthz HTTP/1.1\r\n\r\n".to_vec());
    requests.push(b"GET /nowhere HTTP/1.1\r\n\r\n".to_vec());
    requests.push(b"POST /v1/sessions HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}".to_vec());
    assert_all(requests, &[400], r#""code":"malformed_request""#).await;
}

#[tokio::test]
async fn a_target_has_one_of_the_forms_for_its_method() {
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: other\r\n\r\n").into_bytes();
    let good = ["/healthz", "/healthz?x", "http://x/healthz", "HTTP://x:80/healthz", "https://[::1]:1/healthz?x=/y"];
    assert_all(good.map(request).to_vec(), &[200, 200], "").await;
    let bad = [
        "healthz",
        "x:80",
        "*",
        "http://u@x/healthz",
        "http://u:p@x/healthz",
        "http://x,y/healthz",
        "ftp://x/healthz",
        "ws://x/healthz",
    ];
    assert_all(bad.map(request).to_vec(), &[400], r#""code":"malformed_request""#).await;
    let absolute = ["GET http://x/healthz HTTP/1.1\r\n\r\n", "GET http://x/healthz HTTP/1.1\r\nHost: a b\r\n\r\n"];
    assert_all(absolute.map(|request| request.as_bytes().to_vec()).to_vec(), &[400], r#""code":"malformed_request""#).await;
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    for headers in ["", "Host: x\r\n", "Host:\r\n"] {
        let request = format!("GET /healthz HTTP/1.0\r\n{headers}\r\n");
        assert_eq!(send(&server().await, request.as_bytes()).await.0, [200], "{headers}");
    }
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn only_the_chunked_transfer_coding_is_read() {
    let codings = ["gzip, chunked", "chunked, chunked", "chunked,chunked", "identity, chunked", ", chunked", "x chunked,chunked"];
    let mut requests: Vec<_> =
        codings.iter().map(|coding| post(&format!("Transfer-Encoding: {coding}\r\n"), "2\r\n{}\r\n0\r\n\r\n")).collect();
    for lines in ["gzip\r\nTransfer-Encoding: chunked", "chunked\r\nTransfer-Encoding: chunked", "\r\nTransfer-Encoding: chunked"]
    {
        requests.push(post(&format!("Transfer-Encoding: {lines}\r\n"), "2\r\n{}\r\n0\r\n\r\n"));
    }
    assert_all(requests, &[400], r#""code":"malformed_request""#).await;
}

#[tokio::test]
async fn a_body_ends_where_its_framing_says() {
    let complete = [
        post("Content-Length: 2\r\n", "{}"),
        post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        post("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        post("Transfer-Encoding: CHUNKED\r\n", "02 ;name=\"value\"\r\n{}\r\n0\r\nX-Trailer: y\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n000\r\n\r\n"),
    ];
    assert_all(complete.to_vec(), &[422, 200], "validation_failed").await;
}

/// The bytes after such a request are never read as another request.
#[tokio::test]
async fn a_request_with_two_lengths_ends_its_connection() {
    let chunked = "2\r\n{}\r\n0\r\n\r\n";
    let requests = [
        post("Transfer-Encoding: chunked\r\nContent-Length: 12\r\n", chunked),
        post("Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", chunked),
        post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", chunked),
    ];
    assert_all(requests.to_vec(), &[422], "").await;
}

#[rstest]
#[case::lengths_that_differ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}")]
#[case::a_list_of_lengths("Content-Length: 2, 2\r\n", "{}")]
#[case::a_sign("Content-Length: +2\r\n", "{}")]
#[case::a_negative_length("Content-Length: -2\r\n", "{}")]
#[case::hexadecimal("Content-Length: 0x2\r\n", "{}")]
#[case::no_length("Content-Length:\r\n", "{}")]
#[case::too_many_digits("Content-Length: 99999999999999999999999\r\n", "{}")]
#[case::another_coding("Transfer-Encoding: gzip\r\n", "2\r\n{}\r\n0\r\n\r\n")]
#[case::chunked_is_not_last("Transfer-Encoding: chunked, gzip\r\n", "2\r\n{}\r\n0\r\n\r\n")]
#[case::a_parameter("Transfer-Encoding: chunked;x=y\r\n", "2\r\n{}\r\n0\r\n\r\n")]
#[case::identity("Transfer-Encoding: identity\r\n", "{}")]
#[case::another_character("Transfer-Encoding: xchunked\r\n", "2\r\n{}\r\n0\r\n\r\n")]
#[case::a_vertical_tab("Transfer-Encoding: \u{b}chunked\r\n", "2\r\n{}\r\n0\r\n\r\n")]
#[case::a_folded_line("X: a\r\n b\r\n", "")]
#[case::a_space_before_the_colon("X : a\r\n", "")]
#[case::a_space_before_the_name(" X: a\r\n", "")]
#[case::no_colon("X\r\n", "")]
#[case::no_name(": a\r\n", "")]
#[case::a_bare_carriage_return("X: a\rb\r\n", "")]
#[case::nul("X: a\0b\r\n", "")]
#[case::a_size_that_is_no_number("Transfer-Encoding: chunked\r\n", "g\r\n{}\r\n0\r\n\r\n")]
#[case::a_negative_size("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n")]
#[case::no_size("Transfer-Encoding: chunked\r\n", "\r\n{}\r\n0\r\n\r\n")]
#[case::a_size_that_overflows("Transfer-Encoding: chunked\r\n", "10000000000000002\r\n{}\r\n0\r\n\r\n")]
#[case::a_size_and_a_line_feed("Transfer-Encoding: chunked\r\n", "2\n{}\r\n0\r\n\r\n")]
#[case::a_chunk_that_is_too_long("Transfer-Encoding: chunked\r\n", "2\r\n{} \r\n0\r\n\r\n")]
#[case::a_carriage_return_in_an_extension("Transfer-Encoding: chunked\r\n", "2;a\rb\r\n{}\r\n0\r\n\r\n")]
#[case::a_line_feed_in_an_extension("Transfer-Encoding: chunked\r\n", "2;a\nb\r\n{}\r\n0\r\n\r\n")]
#[case::a_large_extension("Transfer-Encoding: chunked\r\n", &format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(20_000)))]
#[tokio::test]
async fn invalid_http_is_refused_and_ends_its_connection(#[case] headers: &str, #[case] body: &str) {
    let (statuses, text) = send(&server().await, &post(headers, body)).await;
    assert_eq!(statuses, [400], "{text}");
}

#[rstest]
#[case::no_version("GET /healthz\r\nHost: x\r\n\r\n")]
#[case::another_version("GET /healthz HTTP/3.7\r\nHost: x\r\n\r\n")]
#[case::another_protocol("GET /healthz ICE/1.0\r\nHost: x\r\n\r\n")]
#[case::a_space_in_the_target("GET /health z HTTP/1.1\r\nHost: x\r\n\r\n")]
#[case::a_method_that_is_no_token("G@T /healthz HTTP/1.1\r\nHost: x\r\n\r\n")]
#[case::no_target("GET  HTTP/1.1\r\nHost: x\r\n\r\n")]
#[case::tls("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0")]
#[tokio::test]
async fn a_request_line_has_three_parts(#[case] request: &str) {
    let (statuses, text) = send(&server().await, request.as_bytes()).await;
    assert_eq!(statuses, [400], "{text}");
}

/// RFC 9112 section 2.2 allows a server to accept these.
#[tokio::test]
async fn lines_may_end_with_a_line_feed_and_empty_lines_may_come_first() {
    let requests = [&b"GET /healthz HTTP/1.1\nHost: x\n\n"[..], b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"];
    assert_all(requests.map(<[u8]>::to_vec).to_vec(), &[200, 200], "").await;
}
