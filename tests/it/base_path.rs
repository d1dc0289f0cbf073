//! `server.base_path`: everything is served below it except `/.well-known/`, and everything that leads to it says so (row H12).

use poem::{
    Request,
    http::{HeaderMap, Method},
};
use serde_json::{Value, json};
use vestibule::api::contract;

use crate::{
    cli::http::Answer,
    support::{PASSWORD, TestApp},
};

/// Starts an app below `/auth`.
async fn below_auth() -> TestApp {
    TestApp::start_with(|settings| settings.server.base_path = "/auth".parse().unwrap()).await
}

/// Sends a request, with a bearer token unless it is empty, and with a JSON body unless that is null. It accepts HTML.
async fn send(app: &TestApp, method: &str, path: &str, token: &str, body: Value) -> Answer {
    let mut request = Request::builder().method(method.to_uppercase().parse::<Method>().unwrap()).uri_str(path);
    request = request.header("accept", "text/html, */*");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = if body.is_null() { request.finish() } else { request.content_type("application/json").body(body.to_string()) };
    let (parts, body) = app.raw(request).await.into_parts();
    Answer { status: parts.status.as_u16(), headers: parts.headers, text: body.into_string().await.unwrap() }
}

async fn get(app: &TestApp, path: &str) -> Answer {
    send(app, "GET", path, "", Value::Null).await
}

/// Registers a user and returns an access token.
async fn registered(app: &TestApp, name: &str) -> String {
    let account = json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD });
    let created = send(app, "POST", "/auth/v1/accounts", "", account).await;
    assert_eq!((created.status, created.header("location")), (201, "/auth/v1/me"));
    logged_in(app, name, PASSWORD).await
}

async fn logged_in(app: &TestApp, identifier: &str, password: &str) -> String {
    let credentials = json!({ "identifier": identifier, "password": password });
    let tokens = send(app, "POST", "/auth/v1/sessions", "", credentials).await;
    tokens.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn h12_every_operation_exists_below_the_base_path_and_nowhere_else() {
    let app = below_auth().await;
    let mut count = 0;
    for (path, method, _) in contract::operations(contract::document()) {
        let is_well_known = path.starts_with("/.well-known/");
        let (inside, outside) = (format!("/auth{path}"), path.to_owned());
        let (right, wrong) = if is_well_known { (outside, inside) } else { (inside, outside) };
        let refused = send(&app, method, &wrong, "", Value::Null).await;
        assert_eq!(refused.problem(), (404, "not_found".into()), "{method} {wrong}");
        assert_eq!(send(&app, "OPTIONS", &wrong, "", Value::Null).await.status, 404, "{wrong}");
        let found = send(&app, method, &right, "", Value::Null).await;
        assert!(![404, 405, 500].contains(&found.status), "{method} {right}: {}", found.text);
        assert_eq!(send(&app, "OPTIONS", &right, "", Value::Null).await.status, 204, "{right}");
        count += 1;
    }
    assert!(count > 60, "only {count} operations");
    for path in ["/authority/v1/me", "/Auth/v1/me", "/%61uth/v1/me", "//auth/v1/me", "/auth//v1/me", "/auth/auth/v1/me", "/au"] {
        assert_eq!(get(&app, path).await.problem(), (404, "not_found".into()), "{path}");
    }
    assert_eq!(get(&app, "/auth/v1/me").await.problem(), (401, "missing_token".into()));
}

#[tokio::test]
async fn h12_headers_lead_to_paths_below_the_base_path() {
    let app = below_auth().await;
    let ada = registered(&app, "ada").await;
    let me = send(&app, "GET", "/auth/v1/me", &ada, Value::Null).await;
    assert_eq!(me.json()["username"], "ada");

    let admin = logged_in(&app, "admin", app.admin_password()).await;
    let new = json!({ "email": "bob@example.org" });
    let created = send(&app, "POST", "/auth/v1/users", &admin, new).await;
    let location = created.header("location");
    assert_eq!(location, format!("/auth/v1/users/{}", created.json()["id"].as_str().unwrap()));
    assert_eq!(send(&app, "GET", location, &admin, Value::Null).await.json()["email"], "bob@example.org");

    let mut next = "/auth/v1/users?limit=1&sort=email".to_owned();
    let mut emails = Vec::new();
    loop {
        let page = send(&app, "GET", &next, &admin, Value::Null).await;
        emails.push(page.json()["items"][0]["email"].as_str().unwrap().to_owned());
        let link = page.header("link");
        match link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
            Some(link) => next = link.to_owned(),
            None => break,
        }
    }
    assert_eq!(emails, ["ada@example.org", "admin@vestibule.invalid", "bob@example.org"]);
}

#[tokio::test]
async fn h12_pages_are_below_the_base_path_and_well_known_addresses_lead_there() {
    let app = below_auth().await;
    for path in ["/auth", "/auth/"] {
        let home = get(&app, path).await;
        assert_eq!((home.status, home.header("location")), (302, "/auth/account/"), "{path}");
    }
    for path in ["/auth/docs", "/auth/docs/swagger-ui.css", "/auth/account/", "/auth/account/password", "/auth/openapi.json"] {
        assert_eq!(get(&app, path).await.status, 200, "{path}");
        assert_eq!(get(&app, path.strip_prefix("/auth").unwrap()).await.status, 404, "{path}");
    }
    // Relative references, which need no base path.
    assert_eq!(get(&app, "/auth/docs/").await.header("location"), "../docs");
    assert_eq!(get(&app, "/auth/account?page=1").await.header("location"), "account/?page=1");
    assert_eq!(get(&app, "/.well-known/change-password").await.header("location"), "/auth/account/password");
    assert_eq!(get(&app, "/auth/.well-known/change-password").await.status, 404);
    assert_eq!(get(&app, "/").await.status, 404);
}

#[tokio::test]
async fn h12_the_served_contract_names_the_base_path() {
    let app = below_auth().await;
    let mut served = get(&app, "/auth/openapi.json").await.json();
    assert_eq!(served["servers"], json!([{ "url": "/auth" }]));
    assert_eq!(served["paths"]["/.well-known/jwks.json"]["servers"], json!([{ "url": "/" }]));
    let mut contract = contract::document().clone();
    assert_eq!(contract["servers"][0]["url"], "/");
    for document in [&mut served, &mut contract] {
        document.as_object_mut().unwrap().remove("servers");
        document["paths"]["/.well-known/jwks.json"].as_object_mut().unwrap().remove("servers");
    }
    assert_eq!(served, contract, "nothing else differs");
}

#[tokio::test]
async fn h12_issuer_and_cookies_are_those_of_the_host_and_mails_lead_below_the_base_path() {
    let app = TestApp::start_with(|settings| {
        settings.server.base_path = "/auth".parse().unwrap();
        settings.server.public_url = Some("https://example.org".parse().unwrap());
        settings.mail.transport = Some(vestibule::config::MailTransport::File);
    })
    .await;
    let token = registered(&app, "ada").await;
    let claims: Value = serde_json::from_slice(&decoded(token.split('.').nth(1).unwrap())).unwrap();
    assert_eq!(claims["iss"], "https://example.org");

    let credentials = json!({ "identifier": "ada", "password": PASSWORD, "transport": "cookie" });
    let request = Request::builder().method(Method::POST).uri_str("/auth/v1/sessions").content_type("application/json");
    let response = app.raw(request.header("origin", "https://example.org").body(credentials.to_string())).await;
    assert_eq!(response.status().as_u16(), 201);
    let cookies = cookies(response.headers());
    assert!(
        !cookies.is_empty() && cookies.iter().all(|cookie| cookie.starts_with("__Host-") && cookie.contains("; Path=/;")),
        "{cookies:?}"
    );

    let asked = send(&app, "POST", "/auth/v1/password-resets", "", json!({ "identifier": "ada" })).await;
    assert_eq!(asked.status, 202);
    let mail = app.mail("reset", "ada@example.org").await;
    assert!(mail.text.contains("https://example.org/auth/account/reset#t="), "{}", mail.text);
    let endpoints = get(&app, "/.well-known/passkey-endpoints").await.json();
    assert_eq!(endpoints["manage"], "https://example.org/auth/account/factors");
}

fn cookies(headers: &HeaderMap) -> Vec<&str> {
    headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect()
}

fn decoded(part: &str) -> Vec<u8> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
}
