//! The reason that a caller gets when a token is refused.

use aws_lc_rs::hmac;
use chrono::TimeDelta;
use serde_json::{Value, json};
use vestibule::live::revocations::Revocation;

use super::{assert_invalid, forger::Forger, part, signed_with, with, without};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes},
};

/// Returns the parts of a response that a client can compare: everything except the request id.
fn comparable(mut answer: Answer) -> (u16, String, Value) {
    answer.headers.remove("x-request-id");
    answer.body.as_object_mut().unwrap().remove("request_id");
    (answer.status, format!("{:?}", answer.headers), answer.body)
}

#[tokio::test]
async fn t07_unknown_kid_and_bad_signature_get_the_same_response() {
    let forger = Forger::start().await;
    let good = forger.claims(&forger.claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut answers = Vec::new();
    for token in [
        format!("{message}.{}", signature.chars().rev().collect::<String>()),
        forger.header(&with(&forger.header, "kid", json!("unknown"))),
        forger.header(&with(&forger.header, "alg", json!("none"))),
        forger.claim("iss", json!("https://example.org")),
        forger.claim("aud", json!("another")),
        forger.claims(&without(&forger.claims, "jti")),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(10_000),
    ] {
        let mut answer = forger.app.bearer(&token).get("/v1/me").await;
        assert_invalid(&token, &answer);
        answer.headers.remove("date");
        answers.push(comparable(answer));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[tokio::test]
async fn t07_only_an_authentic_token_is_refused_with_a_reason() {
    let forger = Forger::start().await;
    let (app, ada) = (&forger.app, forger.app.anonymous().log_in("ada", PASSWORD).await);
    let token = ada.token.clone().unwrap();
    let (message, _) = token.rsplit_once('.').unwrap();
    let badly_signed = app.bearer(&signed_with(hmac::HMAC_SHA256, b"another secret", message));
    let claims = part(&token, 1);

    let (later, user) = (app.app.clock.now() + TimeDelta::hours(2), claims["sub"].as_str().unwrap().parse().unwrap());
    app.app.access.revocations.apply(
        Revocation::TokensBefore(user, (claims["epoch"].as_i64().unwrap() + 1).into()),
        later,
        app.app.clock.read(),
    );
    assert_problem!(ada.get("/v1/me").await, 401, "stale_token");
    assert_invalid("stale", &badly_signed.get("/v1/me").await);

    app.app.access.revocations.apply(
        Revocation::Session(claims["sid"].as_str().unwrap().parse().unwrap()),
        later,
        app.app.clock.read(),
    );
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_invalid("ended", &badly_signed.get("/v1/me").await);

    app.clock.advance(minutes(15));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    assert_invalid("expired", &badly_signed.get("/v1/me").await);
    assert_invalid("expired, elsewhere", &app.bearer(&forger.claim("iss", json!("elsewhere"))).get("/v1/me").await);
}

#[tokio::test]
async fn t07_a_known_revocation_is_reported_even_when_the_revocations_are_stale() {
    let app = TestApp::start().await;
    let (ada, bea) = (app.user("ada").await, app.user("bea").await);
    ada.delete("/v1/me/sessions/current", json!(null)).await.expect(204);
    let id = bea.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.admin().await.put(&format!("/v1/users/{id}/roles"), json!({ "roles": ["admin"] })).await.expect(200);
    app.clock.stall(std::time::Duration::from_secs(6));
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_problem!(bea.get("/v1/me").await, 401, "stale_token");
    assert_problem!(app.admin().await.get("/v1/me").await, 503, "authorization_stale");
}
