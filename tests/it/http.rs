//! HTTP at the door, whoever calls: what refusals look like, and which methods, media types and bodies are taken (rows
//! H01 to H04).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
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

/// What nobody would say but a test: no answer repeats it.
const MARK: &str = "hunter2zq";

/// Every path of the contract, with an id that nothing has, and its methods.
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

/// Every operation that takes a JSON body: method, path and the names of the body's members.
fn with_bodies() -> Vec<(Method, String, Vec<String>)> {
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
async fn h01_every_refusal_is_a_problem_that_names_its_log_line() {
    let app = TestApp::start().await;
    let (ada, nobody) = (app.user("ada").await, app.nobody());
    let log = app.directory.path().join("log");
    let subscriber = tracing_subscriber::fmt().json().with_writer(Arc::new(File::create(&log).unwrap())).finish();
    let listening = tracing::subscriber::set_default(subscriber);

    let text = Body::from_string("x".repeat(65 * 1024));
    let answers = [
        assert_problem!(nobody.send(Method::POST, "/v1/sessions", &[JSON], "{".into()).await, 400, "malformed_request"),
        assert_problem!(nobody.get("/v1/me").await, 401, "missing_token"),
        assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission"),
        assert_problem!(nobody.get(&format!("/no/such/path?{MARK}")).await, 404, "not_found"),
        assert_problem!(nobody.get("/docs/none").await, 404, "not_found"),
        assert_problem!(nobody.get("/").await, 404, "not_found"),
        assert_problem!(ada.put("/v1/me", json!({})).await, 405, "method_not_allowed"),
        assert_problem!(nobody.send(Method::POST, "/v1/sessions", &[JSON], text).await, 413, "payload_too_large"),
        assert_problem!(nobody.send(Method::POST, "/v1/sessions", &[], "x".into()).await, 415, "unsupported_media_type"),
        assert_problem!(nobody.post("/v1/sessions", json!({})).await, 422, "validation_failed"),
    ];
    drop(listening);

    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains(MARK), "a query is nobody's to read: {log}");
    let lines: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let mut ids = BTreeSet::new();
    for answer in &answers {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.body["type"], format!("urn:problem-type:vestibule:{}", answer.problem().1));
        let id = answer.header("x-request-id");
        assert!(ids.insert(id), "each request has an id of its own");
        let line: Vec<_> = lines.iter().filter(|it| it["fields"]["request_id"] == id).collect();
        assert_eq!(line.len(), 1, "{log}");
        assert_eq!(line[0]["fields"]["status"], answer.status);
    }
}

#[tokio::test]
async fn h01_a_request_id_is_ours_whatever_the_client_sends() {
    let app = TestApp::start().await;
    let theirs = "0198c5e0-0000-7000-8000-00000000000a";
    let answer = app.nobody().send(Method::GET, "/v1/me", &[("x-request-id", theirs)], Body::empty()).await;
    assert_ne!(answer.header("x-request-id"), theirs);
}

/// Wherever it came in, it must not come out.
#[track_caller]
fn assert_untold(what: &str, answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
    let told = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    assert!(!told.contains(MARK), "{what}: {told}");
}

#[tokio::test]
async fn h02_no_refusal_repeats_what_a_body_said() {
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
    for (method, path, members) in with_bodies() {
        let mut bodies: Vec<Value> = values.to_vec();
        for value in &values {
            bodies.push(members.iter().map(|name| (name.clone(), value.clone())).collect::<Map<_, _>>().into());
            bodies.extend(members.iter().map(|name| json!({ name: value })));
            // What does not look like a name is not taken for one; a name is pointed at, so that a typo is found.
            bodies.push(json!({ format!("{MARK} !"): value, format!("/{MARK}"): 1, format!("~{MARK}é"): 1 }));
            bodies.push(json!({ format!("{}{MARK}", "x".repeat(64)): value }));
        }
        for body in bodies {
            let answer = admin.json(method.clone(), &path, &body).await;
            assert_untold(&format!("{method} {path} {body}"), &answer);
        }
        for text in [MARK.to_owned(), format!("\"{MARK}\""), format!("{{\"{MARK}\":"), format!("{{\"{MARK}\":1,\"{MARK}\":2}}")] {
            let answer = admin.send(method.clone(), &path, &[JSON], Body::from_string(text.clone())).await;
            assert_untold(&format!("{method} {path} {text}"), &answer);
        }
        let media_type = format!("text/{MARK}");
        assert_untold(&media_type, &admin.send(method, &path, &[("content-type", &media_type)], MARK.into()).await);
    }
}

#[tokio::test]
async fn h02_no_refusal_repeats_a_path_a_parameter_or_a_header() {
    let app = TestApp::start().await;
    let (admin, nobody) = (app.admin().await, app.nobody());
    let headers =
        ["if-match", "if-none-match", "cookie", "origin", "accept", "x-request-id", "x-forwarded-for", "user-agent", MARK];
    for (path, method, operation) in contract::operations(contract::document()) {
        let method: Method = method.to_uppercase().parse().unwrap();
        if path.contains('{') {
            assert_untold(
                path,
                &admin.send(method.clone(), &path.replace("{id}", MARK).replace("{name}", MARK), &[], Body::empty()).await,
            );
        }
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            if let ("query", Some(name)) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str()) {
                let twice = format!("{}?{name}={MARK}&{name}={MARK}", path.replace("{id}", MARK).replace("{name}", MARK));
                assert_untold(&twice, &admin.send(method.clone(), &twice, &[], Body::empty()).await);
            }
        }
        let elsewhere = format!("{}/{MARK}?{MARK}={MARK}", filled(path, "x"));
        let sent: Vec<_> = headers.iter().map(|it| (*it, MARK)).collect();
        assert_untold(&elsewhere, &admin.send(method.clone(), &elsewhere, &sent, Body::empty()).await);
        let invented = Method::from_bytes(MARK.as_bytes()).unwrap();
        assert_untold(path, &nobody.send(invented, &filled(path, "x"), &sent, Body::empty()).await);
    }
    for given in [format!("Bearer {MARK}"), format!("{MARK} x"), format!("Bearer é{MARK}")] {
        assert_untold(&given, &nobody.send(Method::GET, "/v1/me", &[("authorization", &given)], Body::empty()).await);
    }
    app.register(MARK).await;
    for body in [
        json!({ "email": format!("{MARK}@example.org"), "password": PASSWORD }),
        json!({ "email": "other@example.org", "username": MARK, "password": PASSWORD }),
    ] {
        let answer = nobody.post("/v1/accounts", body).await;
        assert_eq!(answer.status, 409);
        assert_untold("taken", &answer);
    }
}

#[tokio::test]
async fn h02_every_bad_member_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({ "email": 1, "username": "9", "name": "", "role": "admin", "rôle": 1 });
    let answer = assert_problem!(app.nobody().post("/v1/accounts", body).await, 422, "validation_failed");
    let pointers: BTreeSet<_> = answer.faults().into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, BTreeSet::from(["", "/email", "/name", "/password", "/role", "/username"]));
}

#[tokio::test]
async fn h03_options_tells_the_methods_of_every_path() {
    let app = TestApp::start().await;
    for (path, mut methods) in paths() {
        methods.insert(Method::OPTIONS);
        if methods.contains(&Method::GET) {
            methods.insert(Method::HEAD);
        }
        let answer = app.nobody().send(Method::OPTIONS, &path, &[], Body::empty()).await;
        assert_eq!(answer.status, 204, "{path}");
        assert_eq!(allowed(&answer), methods, "{path}");
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE, Method::CONNECT] {
            if !methods.contains(&method) {
                let answer = app.nobody().send(method, &path, &[JSON], "{}".into()).await;
                assert_eq!(allowed(&assert_problem!(answer, 405, "method_not_allowed")), methods, "{path}");
            }
        }
        let invented = Method::from_bytes(b"BREW").unwrap();
        assert_problem!(app.nobody().send(invented, &path, &[], Body::empty()).await, 405, "method_not_allowed");
    }
    for path in ["/docs", "/openapi.json", "/docs/vestibule.js"] {
        let read = BTreeSet::from([Method::GET, Method::HEAD, Method::OPTIONS]);
        assert_eq!(allowed(&app.nobody().send(Method::OPTIONS, path, &[], Body::empty()).await), read);
        let answer = assert_problem!(app.nobody().post(path, json!({})).await, 405, "method_not_allowed");
        assert_eq!(allowed(&answer), read);
    }
    for method in [Method::OPTIONS, Method::TRACE, Method::GET] {
        assert_problem!(app.nobody().send(method, "/v1/none", &[], Body::empty()).await, 404, "not_found");
    }
}

fn allowed(answer: &Answer) -> BTreeSet<Method> {
    answer.header("allow").split(", ").map(|it| it.parse().unwrap()).collect()
}

#[tokio::test]
async fn h03_head_is_get_without_a_body() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = app.register("ada").await.to_string();
    let reads: Vec<_> =
        contract::operations(contract::document()).filter(|it| it.1 == "get").map(|(path, ..)| filled(path, &id)).collect();
    for path in reads.iter().map(String::as_str).chain(["/docs", "/openapi.json"]) {
        let (mut get, mut head) = (admin.get(path).await, admin.send(Method::HEAD, path, &[], Body::empty()).await);
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert!(head.body.is_null(), "{path}");
        get.headers.remove("x-request-id");
        head.headers.remove("x-request-id");
        assert_eq!(get.headers, head.headers, "{path}");
    }
    let refused = app.nobody().send(Method::HEAD, "/v1/me", &[], Body::empty()).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, r#"Bearer realm="vestibule""#));
    assert_eq!(app.nobody().send(Method::HEAD, "/v1/sessions", &[], Body::empty()).await.status, 405);
    assert_eq!(app.nobody().send(Method::HEAD, "/none", &[], Body::empty()).await.status, 404);
}

#[tokio::test]
async fn h03_a_body_is_json_or_refused() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (method, path, _) in with_bodies() {
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
        let packed = [JSON, ("content-encoding", "gzip")];
        assert_problem!(admin.send(method.clone(), &path, &packed, "{}".into()).await, 415, "unsupported_media_type");
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
async fn h03_no_wish_for_a_media_type_is_refused() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for accept in ["", "*/*", "text/html", "application/xml;q=1", "application/json;q=0", "image/*", "garbage", "é", ",;=/"] {
        let wishes = [("accept", accept), ("accept-language", "tlh"), ("accept-encoding", "br;q=1, identity;q=0")];
        ada.send(Method::GET, "/v1/me", &wishes, Body::empty()).await.expect(200);
        let refused = app.nobody().send(Method::GET, "/v1/me", &wishes, Body::empty()).await;
        assert_problem!(refused, 401, "missing_token");
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
async fn h04_what_is_not_one_json_document_is_malformed(#[case] body: &'static [u8]) {
    let app = TestApp::start().await;
    let answer = app.nobody().send(Method::POST, "/v1/sessions", &[JSON], Body::from(body)).await;
    assert_problem!(answer, 400, "malformed_request");
}

#[tokio::test]
async fn h04_json_is_64_levels_deep_at_most() {
    let app = TestApp::start().await;
    let arrays = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (body, status) in [(arrays(64), 422), (arrays(65), 400), (arrays(32_000), 400), ("[".repeat(60_000), 400)] {
        let answer = app.nobody().send(Method::POST, "/v1/sessions", &[JSON], Body::from_string(body)).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn h04_nul_is_found_wherever_it_hides() {
    let app = TestApp::start().await;
    for (member, pointer) in [
        (r#""identifier":"ada\u0000""#, "/identifier"),
        (r#""transport":["x","\u0000"]"#, "/transport/1"),
        (r#""x":{"y":"\u0000"}"#, "/x/y"),
        (r#""\u0000":1"#, ""),
    ] {
        let body = Body::from_string(format!(r#"{{"password":"x",{member}}}"#));
        let answer = app.nobody().send(Method::POST, "/v1/sessions", &[JSON], body).await;
        assert_eq!(assert_problem!(answer, 422, "validation_failed").faults(), [(pointer, "not_allowed")]);
    }
    // However long or deep its name is, the answer stays small.
    let deep = |name: &str| (0..60).fold(json!("\0"), |inner, _| json!({ name: inner }));
    for body in [deep(&"x".repeat(64)), deep("x"), json!({ "x".repeat(60_000): "\0" }), json!(vec!["\0"; 7_000])] {
        assert_problem!(app.nobody().post("/v1/sessions", body).await, 422, "validation_failed");
    }
}

/// A body that never ends, and how much of it was read.
struct Endless(Arc<AtomicUsize>);

impl AsyncRead for Endless {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let more = buffer.remaining().min(1_024);
        buffer.put_slice(&vec![b' '; more]);
        self.0.fetch_add(more, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn h04_a_body_of_more_than_64_kib_is_not_read_to_its_end() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let padded = |length: usize| Body::from_string(format!("[{}]", " ".repeat(length - 2)));
    for (method, path, _) in with_bodies() {
        let fits = admin.send(method.clone(), &path, &[JSON], padded(64 * 1024)).await;
        assert_problem!(fits, 422, "validation_failed");
        let larger = admin.send(method.clone(), &path, &[JSON], padded(64 * 1024 + 1)).await;
        assert_problem!(larger, 413, "payload_too_large");

        let read = Arc::new(AtomicUsize::new(0));
        let endless = Body::from_async_read(Endless(Arc::clone(&read)));
        let answer = admin.send(method.clone(), &path, &[JSON], endless).await;
        assert_problem!(answer, 413, "payload_too_large");
        assert!((64 * 1024..128 * 1024).contains(&read.load(Ordering::Relaxed)), "{method} {path}");
        // A guard comes first, and reads nothing.
        if !contract::PUBLIC.contains(&checked::operation(&method, &path).unwrap().0) {
            let read = Arc::new(AtomicUsize::new(0));
            let endless = Body::from_async_read(Endless(Arc::clone(&read)));
            assert_problem!(app.nobody().send(method, &path, &[JSON], endless).await, 401, "missing_token");
            assert_eq!(read.load(Ordering::Relaxed), 0);
        }
    }
}
