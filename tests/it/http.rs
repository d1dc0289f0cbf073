//! HTTP for every caller: what error responses contain, and which methods, media types and bodies are accepted (rows H01 to
//! H04).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use poem::{Body, http::Method};
use rstest::rstest;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, ReadBuf};
use vestibule::api::contract;

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, checked},
};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A text that the tests send. No response may repeat it.
const MARK: &str = "hunter2zq";

/// Returns every path of the contract, with an id that no object has, and the path's methods.
fn paths() -> BTreeMap<String, BTreeSet<Method>> {
    let mut paths = BTreeMap::<_, BTreeSet<_>>::new();
    for (path, method, _) in contract::operations(contract::document()) {
        let path = filled(path, "0198c5e0-0000-7000-8000-000000000000");
        paths.entry(path).or_default().insert(method.to_uppercase().parse().unwrap());
    }
    paths
}

fn filled(path: &str, parameter: &str) -> String {
    path.replace("{id}", parameter).replace("{name}", "user")
}

/// Returns the method, the path and the names of the body's members of every operation that has a JSON body.
fn operations_with_bodies() -> Vec<(Method, String, Vec<String>)> {
    let all = contract::operations(contract::document());
    all.filter_map(|(path, method, operation)| {
        let schema = &operation.get("requestBody")?["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str()?.rsplit('/').next()?;
        let schema = &contract::document()["components"]["schemas"][name];
        let members = schema["properties"].as_object()?.keys().cloned().collect();
        Some((method.to_uppercase().parse().ok()?, filled(path, "0198c5e0-0000-7000-8000-000000000000"), members))
    })
    .collect()
}

#[tokio::test]
async fn h01_every_error_response_is_a_problem_with_a_request_id_of_its_own() {
    let app = TestApp::start().await;
    let (ada, anonymous) = (app.user("ada").await, app.anonymous());
    let text = Body::from_string("x".repeat(65 * 1024));
    let answers = [
        assert_problem!(anonymous.send(Method::POST, "/v1/sessions", &[JSON], "{".into()).await, 400, "malformed_request"),
        assert_problem!(anonymous.get("/v1/me").await, 401, "missing_token"),
        assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission"),
        assert_problem!(anonymous.get("/no/such/path").await, 404, "not_found"),
        assert_problem!(anonymous.get("/docs/none").await, 404, "not_found"),
        assert_problem!(anonymous.get("/").await, 404, "not_found"),
        assert_problem!(ada.put("/v1/me", json!({})).await, 405, "method_not_allowed"),
        assert_problem!(anonymous.send(Method::POST, "/v1/sessions", &[JSON], text).await, 413, "payload_too_large"),
        assert_problem!(anonymous.send(Method::POST, "/v1/sessions", &[], "x".into()).await, 415, "unsupported_media_type"),
        assert_problem!(anonymous.post("/v1/sessions", json!({})).await, 422, "validation_failed"),
    ];
    let mut ids = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["type"], format!("urn:problem-type:vestibule:{}", answer.problem().1));
        let id = answer.header("x-request-id");
        assert_eq!(answer.body["request_id"], id);
        assert!(ids.insert(id), "two requests have the same id");
    }
}

#[tokio::test]
async fn h01_a_request_id_sent_by_the_client_is_ignored() {
    let app = TestApp::start().await;
    let from_client = "0198c5e0-0000-7000-8000-00000000000a";
    let answer = app.anonymous().send(Method::GET, "/v1/me", &[("x-request-id", from_client)], Body::empty()).await;
    assert_ne!(answer.header("x-request-id"), from_client);
}

/// Checks that an error response does not contain `MARK`, which was in the request.
#[track_caller]
fn assert_not_repeated(what: &str, answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
    let text = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    assert!(!text.contains(MARK), "{what}: {text}");
}

#[tokio::test]
async fn h02_no_error_response_repeats_the_request_body() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let values = [
        json!([MARK]),
        json!({ "a b": MARK }),
        json!([[{ "a": MARK }]]),
        json!(format!("{MARK} \u{0}")),
        json!({ format!("{MARK} !"): "\u{0}" }),
        json!({ format!("{MARK} !"): { "x": ["\u{0}"] } }),
    ];
    for (method, path, members) in operations_with_bodies() {
        let mut bodies: Vec<Value> = values.to_vec();
        for value in &values {
            bodies.push(members.iter().map(|name| (name.clone(), value.clone())).collect::<Map<_, _>>().into());
            bodies.extend(members.iter().map(|name| json!({ name: value })));
            // A fault names an unknown member, so that its sender finds a typo, but only if the member looks like a name.
            bodies.push(json!({ format!("{MARK} !"): value, format!("/{MARK}"): 1, format!("~{MARK}é"): 1 }));
            bodies.push(json!({ format!("{}{MARK}", "x".repeat(64)): value }));
        }
        for body in bodies {
            let answer = admin.json(method.clone(), &path, &body).await;
            assert_not_repeated(&format!("{method} {path} {body}"), &answer);
        }
        for text in [MARK.to_owned(), format!("\"{MARK}\""), format!("{{\"{MARK}\":"), format!("{{\"{MARK}\":1,\"{MARK}\":2}}")] {
            let answer = admin.send(method.clone(), &path, &[JSON], Body::from_string(text.clone())).await;
            assert_not_repeated(&format!("{method} {path} {text}"), &answer);
        }
        let media_type = format!("text/{MARK}");
        assert_not_repeated(&media_type, &admin.send(method, &path, &[("content-type", &media_type)], MARK.into()).await);
    }
}

#[tokio::test]
async fn h02_no_error_response_repeats_a_path_a_parameter_or_a_header() {
    let app = TestApp::start().await;
    let (admin, anonymous) = (app.admin().await, app.anonymous());
    let headers =
        ["if-match", "if-none-match", "cookie", "origin", "accept", "x-request-id", "x-forwarded-for", "user-agent", MARK];
    for (path, method, operation) in contract::operations(contract::document()) {
        let method: Method = method.to_uppercase().parse().unwrap();
        if path.contains('{') {
            assert_not_repeated(
                path,
                &admin.send(method.clone(), &path.replace("{id}", MARK).replace("{name}", MARK), &[], Body::empty()).await,
            );
        }
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            if let ("query", Some(name)) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str()) {
                let twice = format!("{}?{name}={MARK}&{name}={MARK}", path.replace("{id}", MARK).replace("{name}", MARK));
                assert_not_repeated(&twice, &admin.send(method.clone(), &twice, &[], Body::empty()).await);
            }
        }
        let unknown = format!("{}/{MARK}?{MARK}={MARK}", filled(path, "x"));
        let sent: Vec<_> = headers.iter().map(|name| (*name, MARK)).collect();
        assert_not_repeated(&unknown, &admin.send(method.clone(), &unknown, &sent, Body::empty()).await);
        let invented = Method::from_bytes(MARK.as_bytes()).unwrap();
        assert_not_repeated(path, &anonymous.send(invented, &filled(path, "x"), &sent, Body::empty()).await);
    }
    for authorization in [format!("Bearer {MARK}"), format!("{MARK} x"), format!("Bearer é{MARK}")] {
        assert_not_repeated(
            &authorization,
            &anonymous.send(Method::GET, "/v1/me", &[("authorization", &authorization)], Body::empty()).await,
        );
    }
    app.register(MARK).await;
    for body in [
        json!({ "email": format!("{MARK}@example.org"), "password": PASSWORD }),
        json!({ "email": "other@example.org", "username": MARK, "password": PASSWORD }),
    ] {
        let answer = anonymous.post("/v1/accounts", body).await;
        assert_eq!(answer.status, 409);
        assert_not_repeated("a registration with a taken name", &answer);
    }
}

#[tokio::test]
async fn h02_every_invalid_member_is_reported_in_one_response() {
    let app = TestApp::start().await;
    let body = json!({ "email": 1, "username": "9", "name": "", "role": "admin", "rôle": 1 });
    let answer = assert_problem!(app.anonymous().post("/v1/accounts", body).await, 422, "validation_failed");
    let pointers: BTreeSet<_> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, BTreeSet::from(["", "/email", "/name", "/password", "/role", "/username"]));
}

#[tokio::test]
async fn h03_options_lists_the_methods_of_every_path() {
    let app = TestApp::start().await;
    for (path, mut methods) in paths() {
        methods.insert(Method::OPTIONS);
        if methods.contains(&Method::GET) {
            methods.insert(Method::HEAD);
        }
        let answer = app.anonymous().send(Method::OPTIONS, &path, &[], Body::empty()).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(allowed(&answer), methods, "{path}");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE, Method::CONNECT] {
            if !methods.contains(&method) {
                let answer = app.anonymous().send(method, &path, &[JSON], "{}".into()).await;
                assert_eq!(allowed(&assert_problem!(answer, 405, "method_not_allowed")), methods, "{path}");
            }
        }
        let invented = Method::from_bytes(b"BREW").unwrap();
        assert_problem!(app.anonymous().send(invented, &path, &[], Body::empty()).await, 405, "method_not_allowed");
    }
    for path in ["/docs", "/openapi.json", "/docs/vestibule.js"] {
        let read_methods = BTreeSet::from([Method::GET, Method::HEAD, Method::OPTIONS]);
        assert_eq!(allowed(&app.anonymous().send(Method::OPTIONS, path, &[], Body::empty()).await), read_methods);
        let answer = assert_problem!(app.anonymous().post(path, json!({})).await, 405, "method_not_allowed");
        assert_eq!(allowed(&answer), read_methods);
    }
    for method in [Method::OPTIONS, Method::TRACE, Method::GET] {
        assert_problem!(app.anonymous().send(method, "/v1/none", &[], Body::empty()).await, 404, "not_found");
    }
}

fn allowed(answer: &Answer) -> BTreeSet<Method> {
    answer.header("allow").split(", ").map(|method| method.parse().unwrap()).collect()
}

#[tokio::test]
async fn h03_head_is_get_without_a_body() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = app.register("ada").await.to_string();
    let reads: Vec<_> = contract::operations(contract::document())
        .filter(|(_, method, _)| *method == "get")
        .map(|(path, ..)| filled(path, &id))
        .collect();
    for path in reads.iter().map(String::as_str).chain(["/docs", "/openapi.json"]) {
        let (mut get, mut head) = (admin.get(path).await, admin.send(Method::HEAD, path, &[], Body::empty()).await);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_null(), "{path}");
        get.headers.remove("x-request-id");
        head.headers.remove("x-request-id");
        assert_eq!(get.headers, head.headers, "{path}");
    }
    let rejected = app.anonymous().send(Method::HEAD, "/v1/me", &[], Body::empty()).await;
    assert_eq!((rejected.status, rejected.header("www-authenticate")), (401, r#"Bearer realm="vestibule""#));
    assert_eq!(app.anonymous().send(Method::HEAD, "/v1/sessions", &[], Body::empty()).await.status, 405);
    assert_eq!(app.anonymous().send(Method::HEAD, "/none", &[], Body::empty()).await.status, 404);
}

#[tokio::test]
async fn h03_a_body_of_another_media_type_than_json_is_rejected() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (method, path, _) in operations_with_bodies() {
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "application/json+x",
            "application/problem+json",
            "application/merge-patch+json",
            "text/json",
            "application/json, text/plain",
            "application/json; charset=utf-16",
            "json",
            "*/*",
            "",
            ";",
            "é",
        ] {
            let answer = admin.send(method.clone(), &path, &[("content-type", media_type)], "{}".into()).await;
            assert_eq!(answer.problem(), (415, "unsupported_media_type"), "{method} {path} {media_type}");
        }
        let compressed = [JSON, ("content-encoding", "gzip")];
        assert_problem!(admin.send(method.clone(), &path, &compressed, "{}".into()).await, 415, "unsupported_media_type");
        let answer = admin.send(method.clone(), &path, &[], "{}".into()).await;
        assert_eq!(answer.problem(), (415, "unsupported_media_type"), "{method} {path} without a type");
        if checked::operation(&method, &path).unwrap().1["requestBody"]["required"] == true {
            let answer = admin.send(method.clone(), &path, &[], Body::empty()).await;
            assert_eq!(answer.problem(), (400, "malformed_request"), "{method} {path} without a body");
        }
        for media_type in
            ["application/json", "Application/JSON", "application/json;charset=utf-8", "application/json ; charset=UTF-8"]
        {
            let answer = admin.send(method.clone(), &path, &[("content-type", media_type)], "[]".into()).await;
            assert_eq!(answer.problem(), (422, "validation_failed"), "{method} {path} {media_type}");
        }
    }
}

#[tokio::test]
async fn h03_accept_headers_are_ignored() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for accept in ["", "*/*", "text/html", "application/xml;q=1", "application/json;q=0", "image/*", "garbage", "é", ",;=/"] {
        let headers = [("accept", accept), ("accept-language", "tlh"), ("accept-encoding", "br;q=1, identity;q=0")];
        ada.send(Method::GET, "/v1/me", &headers, Body::empty()).await.expect(200);
        let rejected = app.anonymous().send(Method::GET, "/v1/me", &headers, Body::empty()).await;
        assert_problem!(rejected, 401, "missing_token");
    }
}

#[rstest]
#[case::nothing(b"")]
#[case::white_space(b"  \n")]
#[case::cut(b"{\"identifier\":")]
#[case::trailing_garbage(b"{}x")]
#[case::two_documents(b"{}{}")]
#[case::duplicates(br#"{"identifier":"ada","identifier":"eve"}"#)]
#[case::duplicates_in_disguise(br#"{"identifier":"ada","\u0069dentifier":"eve"}"#)]
#[case::byte_order_mark(b"\xef\xbb\xbf{}")]
#[case::utf_16(b"\xff\xfe{\0}\0")]
#[case::utf_16_without_mark(b"{\0}\0")]
#[case::utf_32(b"{\0\0\0}\0\0\0")]
#[case::latin_1(b"{\"identifier\":\"\xe9\"}")]
#[case::overlong(b"{\"identifier\":\"\xc0\xaf\"}")]
#[case::surrogate(br#"{"identifier":"\ud800"}"#)]
#[case::comment(b"{/**/}")]
#[case::single_quotes(b"{'identifier':1}")]
#[case::nan(b"{\"identifier\":NaN}")]
#[case::gzip(b"\x1f\x8b\x08\0\0\0\0\0")]
#[tokio::test]
async fn h04_a_body_that_is_not_exactly_one_json_document_is_malformed(#[case] body: &'static [u8]) {
    let app = TestApp::start().await;
    let answer = app.anonymous().send(Method::POST, "/v1/sessions", &[JSON], Body::from(body)).await;
    assert_problem!(answer, 400, "malformed_request");
}

#[tokio::test]
async fn h04_json_may_be_at_most_64_levels_deep() {
    let app = TestApp::start().await;
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (body, status) in [(arrays(64), 422), (arrays(65), 400), (arrays(32_000), 400), ("[".repeat(60_000), 400)] {
        let answer = app.anonymous().send(Method::POST, "/v1/sessions", &[JSON], Body::from_string(body)).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn h04_nul_is_rejected_at_every_position() {
    let app = TestApp::start().await;
    for (member, pointer) in [
        (r#""identifier":"ada\u0000""#, "/identifier"),
        (r#""transport":["x","\u0000"]"#, "/transport/1"),
        (r#""x":{"y":"\u0000"}"#, "/x/y"),
        (r#""\u0000":1"#, ""),
    ] {
        let body = Body::from_string(format!(r#"{{"password":"x",{member}}}"#));
        let answer = app.anonymous().send(Method::POST, "/v1/sessions", &[JSON], body).await;
        assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [(pointer, "not_allowed")]);
    }
    // The answer is small even if the names are long or deeply nested.
    let deep = |name: &str| (0..60).fold(json!("\0"), |inner, _| json!({ name: inner }));
    for body in [deep(&"x".repeat(64)), deep("x"), json!({ "x".repeat(60_000): "\0" }), json!(vec!["\0"; 7_000])] {
        assert_problem!(app.anonymous().post("/v1/sessions", body).await, 422, "validation_failed");
    }
}

/// A body that never ends. Counts the bytes that were read.
struct Endless(Arc<AtomicUsize>);

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = buffer.remaining().min(1_024);
        buffer.put_slice(&vec![b' '; length]);
        self.0.fetch_add(length, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn h04_a_body_of_more_than_64_kib_is_not_read_to_its_end() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let padded = |length: usize| Body::from_string(format!("[{}]", " ".repeat(length - 2)));
    for (method, path, _) in operations_with_bodies() {
        let fits = admin.send(method.clone(), &path, &[JSON], padded(64 * 1024)).await;
        assert_problem!(fits, 422, "validation_failed");
        let larger = admin.send(method.clone(), &path, &[JSON], padded(64 * 1024 + 1)).await;
        assert_problem!(larger, 413, "payload_too_large");

        let read = Arc::new(AtomicUsize::new(0));
        let endless = Body::from_async_read(Endless(Arc::clone(&read)));
        let answer = admin.send(method.clone(), &path, &[JSON], endless).await;
        assert_problem!(answer, 413, "payload_too_large");
        assert!((64 * 1024..128 * 1024).contains(&read.load(Ordering::Relaxed)), "{method} {path}");
        // The guard runs first, and does not read the body.
        if !contract::PUBLIC.contains(&checked::operation(&method, &path).unwrap().0) {
            let read = Arc::new(AtomicUsize::new(0));
            let endless = Body::from_async_read(Endless(Arc::clone(&read)));
            assert_problem!(app.anonymous().send(method, &path, &[JSON], endless).await, 401, "missing_token");
            assert_eq!(read.load(Ordering::Relaxed), 0);
        }
    }
}
