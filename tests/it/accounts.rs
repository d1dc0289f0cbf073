//! Registration: who may have an account, under which names and with which passwords.

use poem::{Body, http::Method};
use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes},
};

/// Registers with this password, under names of no importance.
async fn with_password(app: &TestApp, password: &str) -> Answer {
    app.nobody().post("/v1/accounts", json!({ "email": "ada@example.org", "password": password })).await
}

/// Registers with this address.
async fn with_email(app: &TestApp, email: &str) -> Answer {
    app.nobody().post("/v1/accounts", json!({ "email": email, "password": PASSWORD })).await
}

/// Logs in; whether it worked.
async fn gets_in(app: &TestApp, identifier: &str, password: &str) -> bool {
    let answer = app.nobody().post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await;
    match answer.status {
        201 => true,
        _ => assert_problem!(answer, 401, "invalid_credentials").status == 201,
    }
}

#[tokio::test]
async fn who_registers_gets_an_active_account_with_the_role_user() {
    let app = TestApp::start().await;
    let body = json!({ "email": "Ada@Example.org", "password": PASSWORD, "username": "Ada.L", "name": " Ada Lovelace " });
    let answer = app.nobody().post("/v1/accounts", body).await;
    assert_eq!(answer.header("location"), "/v1/me");
    let user = answer.expect(201);
    let now = &user["created_at"];
    assert!(now.as_str().unwrap().starts_with("2026-01-01T00:00:00"));
    let expected = json!({
        "id": user["id"], "email": "ada@example.org", "username": "ada.l", "name": "Ada Lovelace", "status": "active",
        "roles": ["user"], "created_at": now, "updated_at": now,
    });
    assert_eq!(user, expected);
    assert!(gets_in(&app, "ada.l", PASSWORD).await);
}

#[tokio::test]
async fn an_address_and_a_password_are_enough() {
    let app = TestApp::start().await;
    let user = with_email(&app, "ada@example.org").await.expect(201);
    let members: Vec<_> = user.as_object().unwrap().keys().collect();
    assert_eq!(members, ["id", "email", "status", "roles", "created_at", "updated_at"], "absent members are absent");
}

#[tokio::test]
async fn an_optional_member_that_is_null_is_absent_wherever_something_is_made() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "username": null, "name": null });
    let user = app.nobody().post("/v1/accounts", body).await.expect(201);
    assert!(user.get("username").is_none() && user.get("name").is_none());
    let body = json!({ "identifier": "ada@example.org", "password": PASSWORD, "transport": null });
    assert!(app.nobody().post("/v1/sessions", body).await.expect(201)["refresh_token"].is_string());
    let admin = app.admin().await;
    let body = json!({ "email": "eve@example.org", "password": null, "username": null, "name": null, "roles": null });
    assert_eq!(admin.post("/v1/users", body).await.expect(201)["roles"], json!(["user"]));
    let body = json!({ "name": "clerk", "description": null, "permissions": [] });
    assert!(admin.post("/v1/roles", body).await.expect(201).get("description").is_none());
    let body = json!({ "description": null, "permissions": [] });
    admin.put("/v1/roles/clerk", body).await.expect(200);
    let required = admin.post("/v1/roles", json!({ "name": null, "permissions": null })).await;
    assert_eq!(assert_problem!(required, 422, "validation_failed").faults(), [("/name", "type"), ("/permissions", "type")]);
}

#[tokio::test]
async fn white_space_around_an_address_or_identifier_is_trimmed() {
    let app = TestApp::start().await;
    assert_eq!(with_email(&app, " Ada@example.org\n").await.expect(201)["email"], "ada@example.org");
    assert_problem!(with_email(&app, "ada@example.org\u{A0}").await, 409, "email_taken");
    for identifier in ["ada@example.org ", "\tADA@example.org", "\u{3000}ada@example.org\r\n"] {
        assert!(gets_in(&app, identifier, PASSWORD).await, "{identifier:?}");
    }
    app.register("grace").await;
    assert!(gets_in(&app, " grace ", PASSWORD).await);
    assert!(!gets_in(&app, "grace", &format!(" {PASSWORD} ")).await, "a password is taken as it is");
    let admin = app.admin().await;
    let made = admin.post("/v1/users", json!({ "email": " eve@example.org " })).await.expect(201);
    let path = format!("/v1/users/{}", made["id"].as_str().unwrap());
    assert_eq!(admin.patch(&path, json!({ "email": "eva@example.org " })).await.expect(200)["email"], "eva@example.org");
    let longest = "a".repeat(32);
    let body =
        json!({ "email": "mia@example.org", "password": PASSWORD, "username": format!(" {}\u{A0}", longest.to_uppercase()) });
    assert_eq!(app.nobody().post("/v1/accounts", body).await.expect(201)["username"], longest);
    let renamed = admin.patch(&path, json!({ "username": "\tEva " })).await.expect(200);
    assert_eq!(renamed["username"], "eva");
    let id = made["id"].as_str().unwrap();
    let events = admin.get(&format!("/v1/audit-events?subject=%20{id}%0A&kind=user.updated")).await.expect(200);
    assert!(!events["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn registration_can_be_closed() {
    let app = TestApp::start_with(|settings| settings.registration.open = false).await;
    let rows = app.rows().await;
    assert_problem!(with_email(&app, "ada@example.org").await, 403, "registration_closed");
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn every_bad_member_is_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada", "username": "1", "name": "", "password": "short", "age": 36 });
    let answer = assert_problem!(app.nobody().post("/v1/accounts", body).await, 422, "validation_failed");
    let faults = answer.faults();
    for expected in [
        ("/email", "format"),
        ("/username", "too_short"),
        ("/name", "too_short"),
        ("/password", "too_short"),
        ("/age", "unknown_member"),
    ] {
        assert!(faults.contains(&expected), "{expected:?} is not among {faults:?}");
    }
    let answer = assert_problem!(app.nobody().post("/v1/accounts", json!({})).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/email", "required"), ("/password", "required")]);
    let body = json!({ "email": 1, "username": true, "name": [], "password": null, "age": null });
    let answer = assert_problem!(app.nobody().post("/v1/accounts", body).await, 422, "validation_failed");
    let expected =
        [("/age", "unknown_member"), ("/email", "type"), ("/name", "type"), ("/password", "type"), ("/username", "type")];
    assert_eq!(answer.faults(), expected);
}

#[tokio::test]
async fn of_two_who_register_the_same_address_at_once_one_gets_it() {
    let app = TestApp::start().await;
    let answers = tokio::join!(
        with_email(&app, "ada@example.org"),
        with_email(&app, "ADA@example.org"),
        with_email(&app, "Ada@EXAMPLE.org"),
    );
    let mut answers = [answers.0.status, answers.1.status, answers.2.status];
    answers.sort_unstable();
    assert_eq!(answers, [201, 409, 409]);
    assert_eq!(app.rows().await["users"], 2);
}

#[tokio::test]
async fn p01_passwords_that_differ_after_72_bytes_are_two_passwords() {
    let app = TestApp::start().await;
    let (ours, other) = ("a".repeat(72) + "A", "a".repeat(72) + "B");
    with_password(&app, &ours).await.expect(201);
    assert!(!gets_in(&app, "ada@example.org", &other).await);
    assert!(!gets_in(&app, "ada@example.org", &ours[..72]).await);
    assert!(gets_in(&app, "ada@example.org", &ours).await);
}

#[tokio::test]
async fn p01_a_password_has_up_to_1024_bytes() {
    let app = TestApp::start().await;
    let longest = "é".repeat(511) + "xy";
    with_password(&app, &longest).await.expect(201);
    assert!(gets_in(&app, "ada@example.org", &longest).await);
    assert!(!gets_in(&app, "ada@example.org", &longest[..1023]).await);
}

#[tokio::test]
async fn p01_a_password_that_is_refused_is_never_hashed() {
    let app = TestApp::with_one_hasher().await;
    app.register("grace").await;
    let _busy = app.fill_hasher().await;
    // Whoever needs a hash now is turned away; who is told something else needed none.
    let answer = assert_problem!(with_password(&app, &"x".repeat(1024)).await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "2");
    for (password, code) in [
        ("x".repeat(1025), "too_long"),
        ("é".repeat(513), "too_long"),
        ("1234567".into(), "too_short"),
        ("battery\0staple".into(), "not_allowed"),
        ("password1".into(), "common_password"),
        ("ada@example.org".into(), "contains_identity"),
    ] {
        let answer = assert_problem!(with_password(&app, &password).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/password", code)]);
        assert!(!answer.body.to_string().contains(&password));
    }
    assert_problem!(with_email(&app, "grace@example.org").await, 409, "email_taken");
    let too_long = json!({ "identifier": "grace", "password": "x".repeat(1025) });
    let answer = assert_problem!(app.nobody().post("/v1/sessions", too_long).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/password", "too_long")]);
}

#[rstest]
#[case::any_script("пароль наш", "пароль наш")]
#[case::emoji("🐎🔋📎🐎🔋📎🐎🔋", "🐎🔋📎🐎🔋📎🐎🔋")]
#[case::no_composition_rules("aaaabbbbcccc", "aaaabbbbcccc")]
#[case::composed("de\u{301}ja\u{300} vu toujours", "d\u{e9}j\u{e0} vu toujours")]
#[case::decomposed("d\u{e9}j\u{e0} vu toujours", "de\u{301}ja\u{300} vu toujours")]
#[case::spaces("  two tall ships ", "  two tall ships ")]
#[tokio::test]
async fn p01_any_script_in_any_spelling_gets_in(#[case] registered: &str, #[case] presented: &str) {
    let app = TestApp::start().await;
    with_password(&app, registered).await.expect(201);
    assert!(gets_in(&app, "ada@example.org", presented).await);
}

#[tokio::test]
async fn p01_nothing_is_trimmed() {
    let app = TestApp::start().await;
    with_password(&app, " two tall ships ").await.expect(201);
    for other in ["two tall ships", " two tall ships", " Two tall ships "] {
        assert!(!gets_in(&app, "ada@example.org", other).await);
    }
}

#[rstest]
#[case("Password123", "common_password")]
#[case("iloveyou2", "common_password")]
#[case("Ada.Lovelace", "contains_identity")]
#[case("countess1815", "contains_identity")]
#[case("Vestibule-2026", "contains_identity")]
#[tokio::test]
async fn p02_a_password_that_is_tried_first_is_refused_with_the_reason(#[case] password: &str, #[case] code: &str) {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    let body = json!({ "email": "ada.lovelace@example.org", "username": "countess", "password": password });
    let answer = assert_problem!(app.nobody().post("/v1/accounts", body).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/password", code)]);
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p04_an_address_is_one_account_however_it_is_spelled() {
    let app = TestApp::start().await;
    let user = with_email(&app, "Ada@Bücher.example").await.expect(201);
    assert_eq!(user["email"], "ada@xn--bcher-kva.example");
    for same in [
        "ada@bücher.example",
        "ADA@BÜCHER.EXAMPLE",
        "ada@bu\u{308}cher.example",
        "ada@xn--bcher-kva.example",
        "Ada@XN--BCHER-KVA.example",
        "ada@bücher\u{3002}example",
        "ada@ｂücher.example",
    ] {
        assert_problem!(with_email(&app, same).await, 409, "email_taken");
        assert!(gets_in(&app, same, PASSWORD).await, "{same}");
    }
    assert_eq!(app.rows().await["users"], 2);
}

#[rstest]
#[case::dotless_i("adm\u{131}n@example.org")]
#[case::kelvin_sign("\u{212A}elvin@example.org")]
#[case::cyrillic("\u{430}da@example.org")]
#[case::full_width("\u{FF41}da@example.org")]
#[case::zero_width("a\u{200B}da@example.org")]
#[case::zero_width_domain("ada@exa\u{200B}mple.org")]
#[case::soft_hyphen("ada@exa\u{AD}mple.org")]
#[case::bidi("ada\u{202E}@example.org")]
#[case::quoted("\"ada\"@example.org")]
#[case::two_ats("ada@grace@example.org")]
#[case::space("ada @example.org")]
#[case::line_break("ada@example.org\ngrace@example.org")]
#[case::ip("ada@127.0.0.1")]
#[case::host("ada@localhost")]
#[tokio::test]
async fn p04_look_alikes_are_refused(#[case] email: &str) {
    let app = TestApp::start().await;
    let answer = assert_problem!(with_email(&app, email).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/email", "format")]);
    assert_eq!(app.rows().await["users"], 1);
}

#[tokio::test]
async fn p05_a_username_is_one_name_in_any_case_and_never_an_address() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let named = |username: &str| json!({ "email": "grace@example.org", "username": username, "password": PASSWORD });
    assert_problem!(app.nobody().post("/v1/accounts", named("ADA")).await, 409, "username_taken");
    for (username, code) in [
        ("ada@example.org", "pattern"),
        ("a@b", "pattern"),
        ("1ada", "pattern"),
        ("adm\u{131}n", "pattern"),
        ("ab", "too_short"),
        ("a23456789012345678901234567890123", "too_long"),
    ] {
        let answer = assert_problem!(app.nobody().post("/v1/accounts", named(username)).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/username", code)], "{username}");
    }
    app.nobody().post("/v1/accounts", named("Grace")).await.expect(201);
    for identifier in ["grace", "GRACE", "Grace@Example.org"] {
        assert!(gets_in(&app, identifier, PASSWORD).await);
    }
}

#[tokio::test]
async fn p05_who_takes_the_names_of_a_closed_account_inherits_nothing() {
    let app = TestApp::start().await;
    let first = app.holding("ada", &["users:read"]).await;
    first.get("/v1/users").await.expect(200);
    first.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    assert_problem!(first.get("/v1/me").await, 401, "session_ended");

    let body = json!({ "email": "ada@example.org", "username": "ada", "password": "another horse battery staple" });
    let user = app.nobody().post("/v1/accounts", body).await.expect(201);
    assert_eq!(user["roles"], json!(["user"]));
    assert!(!gets_in(&app, "ada", PASSWORD).await);
    let second = app.nobody().log_in("ada", "another horse battery staple").await;
    assert_problem!(second.get("/v1/users").await, 403, "insufficient_permission");
    assert_problem!(first.get("/v1/me").await, 401, "session_ended");
    assert_problem!(first.get("/v1/token").await, 401, "session_ended");
    let delete = first.delete("/v1/me", json!({ "current_password": "another horse battery staple" })).await;
    assert_problem!(delete, 401, "session_ended");
    assert_eq!(second.get("/v1/me").await.expect(200)["id"], user["id"]);
    app.clock.advance(minutes(16));
    assert_problem!(first.get("/v1/me").await, 401, "expired_token");
}

/// Members that an account has, and a registration must not.
pub const NOT_YOURS: [(&str, &str); 9] = [
    ("role", r#""admin""#),
    ("roles", r#"["admin"]"#),
    ("status", r#""active""#),
    ("id", r#""0198c5e0-0000-7000-8000-000000000000""#),
    ("epoch", "7"),
    ("password_hash", r#""hs384:$2b$04$""#),
    ("is_admin", "true"),
    ("__proto__", "{}"),
    ("Email", r#""eve@example.org""#),
];

#[tokio::test]
async fn p06_nobody_chooses_more_than_names_and_password() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    for (member, value) in NOT_YOURS {
        let mut body = json!({ "email": "ada@example.org", "password": PASSWORD });
        body[member] = serde_json::from_str::<Value>(value).unwrap();
        let answer = assert_problem!(app.nobody().post("/v1/accounts", body).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [(format!("/{member}").as_str(), "unknown_member")]);
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p06_a_member_that_comes_twice_is_refused() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    for body in [
        format!(r#"{{"email":"ada@example.org","email":"eve@example.org","password":"{PASSWORD}"}}"#),
        format!(r#"{{"email":"ada@example.org","\u0065mail":"eve@example.org","password":"{PASSWORD}"}}"#),
        format!(r#"{{"email":"ada@example.org","password":"{PASSWORD}","password":"{PASSWORD}"}}"#),
        r#"{"email":"ada@example.org","password":{"a":1,"a":2}}"#.to_owned(),
    ] {
        let json = [("content-type", "application/json")];
        let answer = app.nobody().send(Method::POST, "/v1/accounts", &json, Body::from_string(body)).await;
        assert_problem!(answer, 400, "malformed_request");
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn a08_a_registration_leaves_a_trace_without_a_secret() {
    let app = TestApp::start().await;
    let answer = with_email(&app, "ada@example.org").await;
    let request_id = answer.header("x-request-id").to_owned();
    let id = answer.expect(201)["id"].clone();
    let event = app.event("account.registered").await;
    assert_eq!(event.actor_id.unwrap().to_string(), id);
    assert_eq!(event.actor_name.as_deref(), Some("ada@example.org"));
    assert_eq!(event.subject_type.as_deref(), Some("user"));
    assert_eq!(event.subject_id.as_deref(), id.as_str());
    assert_eq!(event.request_id.unwrap().to_string(), request_id);
    assert!(!format!("{:?}", app.events().await).contains(PASSWORD));
}

#[tokio::test]
async fn a08_a_flood_of_bad_requests_writes_nothing() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let rows = app.rows().await;
    let json = [("content-type", "application/json")];
    for caller in [app.nobody(), app.bearer("garbage"), ada] {
        for (method, path) in [
            (Method::POST, "/v1/accounts"),
            (Method::POST, "/v1/sessions"),
            (Method::PATCH, "/v1/me"),
            (Method::DELETE, "/v1/me"),
            (Method::PUT, "/v1/me/password"),
            (Method::GET, "/v1/users?limit=0"),
            (Method::GET, "/v1/users/1"),
            (Method::GET, "/nowhere"),
        ] {
            for body in ["", "{", "[]", "null", "{\"identifier\":1}", "\u{0}", &"[".repeat(100)] {
                let answer = caller.send(method.clone(), path, &json, Body::from_string(body.into())).await;
                assert!((400..500).contains(&answer.status), "{method} {path} {body}: {}", answer.status);
            }
            let answer = caller.send(method.clone(), path, &[], Body::from_vec(vec![0xff; 70_000])).await;
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn when_too_many_hash_nobody_is_registered_by_halves() {
    let app = TestApp::with_one_hasher().await;
    let rows = app.rows().await;
    let busy = app.fill_hasher().await;
    let answer = assert_problem!(with_email(&app, "ada@example.org").await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(app.rows().await, rows);
    drop(busy);
    app.until_idle().await;
    with_email(&app, "ada@example.org").await.expect(201);
}
