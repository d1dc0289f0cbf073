//! The addresses and usernames of an account (rows P04 and P05).

use rstest::rstest;
use serde_json::json;

use super::{can_log_in, register_email};
use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, clock::minutes},
};

#[tokio::test]
async fn white_space_around_an_address_or_identifier_is_trimmed() {
    let app = TestApp::start().await;
    assert_eq!(register_email(&app, " Ada@example.org\n").await.expect(201)["email"], "ada@example.org");
    assert_problem!(register_email(&app, "ada@example.org\u{A0}").await, 409, "email_taken");
    for identifier in ["ada@example.org ", "\tADA@example.org", "\u{3000}ada@example.org\r\n"] {
        assert!(can_log_in(&app, identifier, PASSWORD).await, "{identifier:?}");
    }
    app.register("grace").await;
    assert!(can_log_in(&app, " grace ", PASSWORD).await);
    assert!(!can_log_in(&app, "grace", &format!(" {PASSWORD} ")).await, "a password must not be trimmed");
    let admin = app.admin().await;
    let created = admin.post("/v1/users", json!({ "email": " eve@example.org " })).await.expect(201);
    let path = format!("/v1/users/{}", created["id"].as_str().unwrap());
    assert_eq!(admin.patch(&path, json!({ "email": "eva@example.org " })).await.expect(200)["email"], "eva@example.org");
    let longest_username = "a".repeat(32);
    let body = json!({ "email": "mia@example.org", "password": PASSWORD, "username": format!(" {}\u{A0}", longest_username.to_uppercase()) });
    assert_eq!(app.anonymous().post("/v1/accounts", body).await.expect(201)["username"], longest_username);
    let updated = admin.patch(&path, json!({ "username": "\tEva " })).await.expect(200);
    assert_eq!(updated["username"], "eva");
    let id = created["id"].as_str().unwrap();
    let events = admin.get(&format!("/v1/audit-events?subject=%20{id}%0A&kind=user.updated")).await.expect(200);
    assert!(!events["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn p04_all_spellings_of_an_address_belong_to_one_account() {
    let app = TestApp::start().await;
    let user = register_email(&app, "Ada@Bücher.example").await.expect(201);
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
        assert_problem!(register_email(&app, same).await, 409, "email_taken");
        assert!(can_log_in(&app, same, PASSWORD).await, "{same}");
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
async fn p04_look_alike_addresses_are_rejected(#[case] email: &str) {
    let app = TestApp::start().await;
    let answer = assert_problem!(register_email(&app, email).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/email", "format")]);
    assert_eq!(app.rows().await["users"], 1);
}

#[tokio::test]
async fn p05_a_username_ignores_case_and_cannot_be_an_address() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let named = |username: &str| json!({ "email": "grace@example.org", "username": username, "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/accounts", named("ADA")).await, 409, "username_taken");
    for (username, code) in [
        ("ada@example.org", "pattern"),
        ("a@b", "pattern"),
        ("1ada", "pattern"),
        ("adm\u{131}n", "pattern"),
        ("ab", "too_short"),
        ("a23456789012345678901234567890123", "too_long"),
    ] {
        let answer = assert_problem!(app.anonymous().post("/v1/accounts", named(username)).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/username", code)], "{username}");
    }
    app.anonymous().post("/v1/accounts", named("Grace")).await.expect(201);
    for identifier in ["grace", "GRACE", "Grace@Example.org"] {
        assert!(can_log_in(&app, identifier, PASSWORD).await);
    }
}

#[tokio::test]
async fn p05_a_new_account_with_the_names_of_a_closed_account_inherits_nothing() {
    let app = TestApp::start().await;
    let first = app.holding("ada", &["users:read"]).await;
    first.get("/v1/users").await.expect(200);
    first.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    assert_problem!(first.get("/v1/me").await, 401, "session_ended");

    let body = json!({ "email": "ada@example.org", "username": "ada", "password": "another horse battery staple" });
    let user = app.anonymous().post("/v1/accounts", body).await.expect(201);
    assert_eq!(user["roles"], json!(["user"]));
    assert!(!can_log_in(&app, "ada", PASSWORD).await);
    let second = app.anonymous().log_in("ada", "another horse battery staple").await;
    assert_problem!(second.get("/v1/users").await, 403, "insufficient_permission");
    assert_problem!(first.get("/v1/me").await, 401, "session_ended");
    assert_problem!(first.get("/v1/token").await, 401, "session_ended");
    let delete = first.delete("/v1/me", json!({ "current_password": "another horse battery staple" })).await;
    assert_problem!(delete, 401, "session_ended");
    assert_eq!(second.get("/v1/me").await.expect(200)["id"], user["id"]);
    app.clock.advance(minutes(16));
    assert_problem!(first.get("/v1/me").await, 401, "expired_token");
}
