//! Paths: only the plain spelling of one leads anywhere, and an id that is not the caller's to see leads nowhere (rows
//! A03 and A07).

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

/// Other ways to write a path, which some server, proxy or file system takes for the plain one.
fn variants(path: &str) -> Vec<String> {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let encoded: String = path.bytes().map(|it| if it == b'/' { "/".to_owned() } else { format!("%{it:02x}") }).collect();
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
    all.retain(|it| it != path && it.starts_with('/'));
    all
}

#[tokio::test]
async fn a07_only_the_plain_path_leads_anywhere() {
    let app = TestApp::start().await;
    let (nobody, user, admin) = (app.nobody(), app.user("ada").await, app.admin().await);
    let id = app.register("eve").await.to_string();
    for (template, method, _) in contract::operations(contract::document()) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let path = template.replace("{id}", &id);
        for variant in variants(&path) {
            for (who, caller) in [("nobody", &nobody), ("a user", &user), ("the administrator", &admin)] {
                let answer = caller.send(method.clone(), &variant, &[("content-type", "application/json")], "{}".into()).await;
                let (status, code) = answer.problem();
                // A path with a parameter takes any last part: then it is that path's guard that refuses, or the id is none.
                let by_another = contract::allow(&variant).is_some()
                    && ["missing_token", "insufficient_permission", "method_not_allowed"].contains(&code);
                let refused = (status, code) == (404, "not_found") || by_another;
                assert!(refused, "{method} {variant} as {who}: {status} {:#}", answer.body);
            }
        }
    }
    admin.get(&format!("/v1/users/{id}")).await.expect(200);
}

#[tokio::test]
async fn a07_a_request_without_a_path_is_refused_and_harms_nobody() {
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
    // A proxy's way to write a path is the plain one, and so is its guard.
    assert_problem!(app.nobody().get("http://elsewhere.example/v1/me").await, 401, "missing_token");
}

#[tokio::test]
async fn a03_an_id_that_is_nobodys_or_none_is_not_found() {
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
    for (template, method, operation) in contract::operations(contract::document()).filter(|it| it.0.contains("{id}")) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let has_body = operation.contains_key("requestBody");
        let body = || if has_body { Body::from("{}") } else { Body::empty() };
        // With a body, one that is nobody's is looked for only once the body is good.
        for id in strange.into_iter().filter(|id| !has_body || id.parse::<UserId>().is_err()) {
            let path = template.replace("{id}", id);
            let answer = admin.send(method.clone(), &path, &[], body()).await;
            assert_eq!(answer.problem(), (404, "not_found"), "{method} {path}: {:#}", answer.body);
            // Who may not look learns nothing, not even that there is nobody.
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
