//! The passwords that an account may have (rows P01 and P02).

use rstest::rstest;
use serde_json::json;

use super::{can_log_in, register_email, register_password};
use crate::{assert_problem, support::TestApp};

#[tokio::test]
async fn p01_passwords_that_differ_only_after_72_bytes_are_different_passwords() {
    let app = TestApp::start().await;
    let (registered, other) = ("a".repeat(72) + "A", "a".repeat(72) + "B");
    register_password(&app, &registered).await.expect(201);
    assert!(!can_log_in(&app, "ada@example.org", &other).await);
    assert!(!can_log_in(&app, "ada@example.org", &registered[..72]).await);
    assert!(can_log_in(&app, "ada@example.org", &registered).await);
}

#[tokio::test]
async fn p01_a_password_may_have_up_to_1024_bytes() {
    let app = TestApp::start().await;
    let longest = "é".repeat(511) + "xy";
    register_password(&app, &longest).await.expect(201);
    assert!(can_log_in(&app, "ada@example.org", &longest).await);
    assert!(!can_log_in(&app, "ada@example.org", &longest[..1023]).await);
}

#[tokio::test]
async fn p01_a_rejected_password_is_never_hashed() {
    let app = TestApp::with_one_hashing_thread().await;
    app.register("grace").await;
    let _busy = app.fill_hashing_queue().await;
    // A request that needs a hash now gets 503. Any other answer shows that the request needed none.
    let answer = assert_problem!(register_password(&app, &"x".repeat(1024)).await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "2");
    for (password, code) in [
        ("x".repeat(1025), "too_long"),
        ("é".repeat(513), "too_long"),
        ("1234567".into(), "too_short"),
        ("battery\0staple".into(), "not_allowed"),
        ("password1".into(), "common_password"),
        ("ada@example.org".into(), "contains_identity"),
    ] {
        let answer = assert_problem!(register_password(&app, &password).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/password", code)]);
        assert!(!answer.body.to_string().contains(&password));
    }
    assert_problem!(register_email(&app, "grace@example.org").await, 409, "email_taken");
    let too_long = json!({ "identifier": "grace", "password": "x".repeat(1025) });
    let answer = assert_problem!(app.anonymous().post("/v1/sessions", too_long).await, 422, "validation_failed");
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
async fn p01_a_password_may_use_any_script_and_any_unicode_normalization(#[case] registered: &str, #[case] presented: &str) {
    let app = TestApp::start().await;
    register_password(&app, registered).await.expect(201);
    assert!(can_log_in(&app, "ada@example.org", presented).await);
}

#[tokio::test]
async fn p01_a_password_is_not_trimmed() {
    let app = TestApp::start().await;
    register_password(&app, " two tall ships ").await.expect(201);
    for other in ["two tall ships", " two tall ships", " Two tall ships "] {
        assert!(!can_log_in(&app, "ada@example.org", other).await);
    }
}

#[rstest]
#[case("Password123", "common_password")]
#[case("iloveyou2", "common_password")]
#[case("Ada.Lovelace", "contains_identity")]
#[case("countess1815", "contains_identity")]
#[case("Vestibule-2026", "contains_identity")]
#[tokio::test]
async fn p02_an_easily_guessed_password_is_rejected_with_the_reason(#[case] password: &str, #[case] code: &str) {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    let body = json!({ "email": "ada.lovelace@example.org", "username": "countess", "password": password });
    let answer = assert_problem!(app.anonymous().post("/v1/accounts", body).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/password", code)]);
    assert_eq!(app.rows().await, rows);
}
