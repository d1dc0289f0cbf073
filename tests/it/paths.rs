//! Paths: only the plain spelling of a path is routed, and an id that the caller may not see is not found (rows A03 and A07).

use poem::{
    Body, Request,
    http::{Method, Uri},
};
use vestibule::{
    api::contract::{self, Access},
    values::ids::UserId,
};

use crate::{
    assert_problem,
    support::{TestApp, checked},
};

/// Returns other spellings of a path, which some server, proxy or file system takes for the plain one.
fn variants(path: &str) -> Vec<String> {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let encoded: String = path.bytes().map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02x}") }).collect();
    let mut all = vec![
        format!("/{path}"),
        format!("//{path}"),
        path.replace('/', "//"),
        format!("{parent}//{last}"),
        format!("/.{path}"),
        format!("{parent}/./{last}"),
        format!("{parent}/%2e/{last}"),
        format!("{parent}/x/../{last}"),
        format!("{parent}/x/%2e%2e/{last}"),
        format!("{parent}/%2E%2E{path}"),
        format!("{parent}/..;{path}"),
        format!("{path}/"),
        format!("{path}//"),
        format!("{path}/."),
        format!("{path}/.."),
        format!("{path}/%2e"),
        format!("{path};x"),
        format!("{path};"),
        format!("{path};/"),
        format!("{path}%2f"),
        format!("{path}%00"),
        format!("{path}%00.json"),
        format!("{path}%ff"),
        format!("{path}%c0%af"),
        format!("{path}%20"),
        format!("{path}%09"),
        format!("{path}%0d%0a"),
        format!("{path}%3f"),
        format!("{path}%23"),
        format!("{path}\\"),
        format!("{path}%5c"),
        format!("{path}."),
        format!("{path}.json"),
        format!("{path}*"),
        format!("{path}~"),
        format!("{parent}%2f{last}"),
        format!("{parent}\\{last}"),
        format!("{parent}%5c{last}"),
        format!("{parent}%252f{last}"),
        encoded,
        path.to_uppercase(),
        format!("{parent}/{}{}", last[..1].to_uppercase(), &last[1..]),
    ];
    if path.matches('/').count() > 1 {
        all.push(path.replacen('/', "/%2f", 2));
        all.push(format!("/{}", path[1..].replace('/', "%2f")));
    }
    all.retain(|variant| variant != path && variant.starts_with('/'));
    all
}

#[tokio::test]
async fn a07_only_the_plain_spelling_of_a_path_is_routed() {
    let app = TestApp::start().await;
    let (anonymous, user, admin) = (app.anonymous(), app.user("ada").await, app.admin().await);
    let id = app.register("eve").await.to_string();
    for (template, method, _) in contract::operations(contract::document()) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let path = template.replace("{id}", &id);
        for variant in variants(&path) {
            for (name, caller) in [("an anonymous caller", &anonymous), ("a user", &user), ("the administrator", &admin)] {
                let answer = caller.send(method.clone(), &variant, &[("content-type", "application/json")], "{}".into()).await;
                let (status, code) = answer.problem();
                // A variant may match a path with a parameter. Then that path's guard refuses it, or the id is invalid.
                let by_another = contract::routes::find(&variant).is_some()
                    && ["missing_token", "insufficient_permission", "method_not_allowed"].contains(&code);
                let refused = (status, code) == (404, "not_found") || by_another;
                assert!(refused, "{method} {variant} as {name}: {status} {:#}", answer.body);
            }
        }
    }
    admin.get(&format!("/v1/users/{id}")).await.expect(200);
}

#[tokio::test]
async fn a07_a_request_without_a_path_is_refused() {
    let app = TestApp::start().await;
    for (method, target) in [
        (Method::CONNECT, "example.org:443"),
        (Method::GET, "example.org:443"),
        (Method::OPTIONS, "*"),
        (Method::GET, "*"),
        (Method::TRACE, "*"),
    ] {
        let uri: Uri = target.parse().unwrap();
        let request = Request::builder().method(method.clone()).uri(uri).finish();
        let answer = checked::answer(&method, "*", app.raw(request).await).await;
        assert_problem!(answer, 404, "not_found");
    }
    // The absolute form, which proxies send, is equivalent to the plain path and has the same guard.
    assert_problem!(app.anonymous().get("http://elsewhere.example/v1/me").await, 401, "missing_token");
}

#[tokio::test]
async fn a03_an_unknown_or_invalid_id_is_not_found() {
    let app = TestApp::start().await;
    let (user, admin) = (app.user("ada").await, app.admin().await);
    let id = app.register("eve").await.to_string();
    let strange = [
        "0198c5e0-0000-7000-8000-000000000000",
        "00000000-0000-0000-0000-000000000000",
        "1",
        "0",
        "-1",
        "me",
        "null",
        "admin",
        "%00",
        "..%2fme",
        "'%20OR%201=1",
        &id.replace('-', ""),
        &format!("%7B{id}%7D"),
        &format!("urn:uuid:{id}"),
        &format!("{id}%00"),
        &format!("{id}x"),
        &"9".repeat(4_000),
    ];
    for (template, method, operation) in contract::operations(contract::document()).filter(|entry| entry.0.contains("{id}")) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let has_body = operation.contains_key("requestBody");
        let body = || if has_body { Body::from("{}") } else { Body::empty() };
        // If an operation has a body, an unknown id is looked up only after the body was accepted.
        for id in strange.into_iter().filter(|id| !has_body || id.parse::<UserId>().is_err()) {
            let path = template.replace("{id}", id);
            let answer = admin.send(method.clone(), &path, &[], body()).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{method} {path}: {:#}", answer.body);
            // A caller without the permission does not even learn that the id is unknown.
            let answer = user.send(method.clone(), &path, &[], body()).await;
            if matches!(contract::access(operation), Access::Permission(_)) {
                assert_eq!(answer.problem(), (403, "insufficient_permission"), "{method} {path}");
            }
        }
    }
    assert_problem!(admin.get("/v1/users/%ff").await, 404, "not_found");
    let stranger = user.get(&format!("/v1/users/{id}")).await;
    assert_problem!(stranger, 403, "insufficient_permission");
}
