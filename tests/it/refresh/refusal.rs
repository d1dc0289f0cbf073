//! Refresh tokens that are refused without an effect on any session.

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{TestApp, caller::Answer},
};

#[tokio::test]
async fn forged_refresh_tokens_get_the_same_response_and_change_nothing() {
    let (app, other) = (TestApp::start().await, TestApp::start().await);
    let (ada, grace) = (app.client("ada").await, app.client("grace").await);
    let foreign = other.client("ada").await;
    let rows = app.rows().await;
    let good = ada.refresh.as_str();
    let mut tokens: Vec<String> = ["", "x", "null", "vrt_", &good[4..], &good.to_uppercase(), &format!("{good}A")]
        .iter()
        .skip(1)
        .map(ToString::to_string)
        .chain([foreign.refresh.clone(), ada.access.clone(), foreign.access, "A".repeat(8192)])
        .collect();
    // The session, the serial or the proof of another token, each with the rest of a good token.
    tokens.push(format!("{}{}", &grace.refresh[..20], &good[20..]));
    for at in [30, 35, 40, 60, 78] {
        let mut bent = good.to_owned().into_bytes();
        bent[at] = if bent[at] == b'A' { b'Q' } else { b'A' };
        tokens.push(String::from_utf8(bent).unwrap());
    }
    let mut bodies = Vec::new();
    for token in tokens {
        let mut answer = assert_problem!(app.refresh(&token).await, 401, "invalid_refresh_token");
        answer.body.as_object_mut().unwrap().remove("request_id");
        bodies.push(answer.body);
    }
    let mut answer = assert_problem!(
        app.anonymous().send(poem::http::Method::POST, "/v1/sessions/refresh", &[], poem::Body::empty()).await,
        401,
        "invalid_refresh_token"
    );
    answer.body.as_object_mut().unwrap().remove("request_id");
    bodies.push(answer.body);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    assert_eq!(app.rows().await, rows);
    ada.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn a_restored_backup_refuses_unknown_tokens_and_ends_no_session() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let old = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    let tx = app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE sessions SET current = 1, parent = NULL").await.unwrap();
    tx.commit().await.unwrap();
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    app.event("session.refresh_ahead").await;
    old.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn invalid_bodies_are_refused_as_for_other_operations() {
    let app = TestApp::start().await;
    let refresh = |body: Value| async { app.anonymous().post("/v1/sessions/refresh", body).await };
    let refused = |answer: Answer| assert_problem!(answer, 422, "validation_failed");
    assert_eq!(refused(refresh(json!({ "refresh_token": 1 })).await).faults(), [("/refresh_token", "type")]);
    for nothing in [json!({}), json!({ "refresh_token": null })] {
        assert_problem!(refresh(nothing).await, 401, "invalid_refresh_token");
    }
    assert_eq!(
        refused(refresh(json!({ "refreshToken": "x", "refresh_token": "" })).await).faults(),
        [("/refreshToken", "unknown_member"), ("/refresh_token", "too_short")]
    );
    for long in ["x".repeat(8193), format!("x{}", " ".repeat(8192))] {
        assert_eq!(refused(refresh(json!({ "refresh_token": long })).await).faults(), [("/refresh_token", "too_long")]);
    }
}

#[tokio::test]
async fn t10_access_and_refresh_tokens_are_not_interchangeable() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    assert_problem!(app.bearer(&ada.refresh).get("/v1/me").await, 401, "invalid_token");
    assert_problem!(app.refresh(&ada.access).await, 401, "invalid_refresh_token");
}
