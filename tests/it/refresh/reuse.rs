//! A spent token that comes back ends the session for both of its holders.

use serde_json::json;

use super::LATER;

use crate::{
    assert_problem,
    support::{TestApp, caller::Answer, client::Client, clock::minutes},
};

/// Asserts that `spent`, the response to a spent token, is a refusal, and that the session has ended for all its holders.
async fn assert_reuse_is_detected(app: &TestApp, spent: Answer, holders: &[&Client<'_>]) {
    let mut refused = assert_problem!(spent, 401, "invalid_refresh_token");
    for holder in holders {
        assert_problem!(holder.caller().get("/v1/me").await, 401, "session_ended");
        let mut answer = assert_problem!(holder.refresh_and_lose().await, 401, "invalid_refresh_token");
        for body in [&mut answer.body, &mut refused.body] {
            body.as_object_mut().unwrap().remove("request_id");
        }
        assert_eq!(answer.body, refused.body);
    }
    assert_eq!(app.rows().await["sessions"], 0);
    let event = app.event("session.refresh_reused").await;
    assert_eq!(event.session_id.unwrap().to_string(), holders[0].session);
    assert_eq!(event.subject_name.as_deref(), Some("ada"));
    assert_eq!(event.actor_id, None, "the service cannot know which holder it was");
}

#[tokio::test]
async fn s04_a_spent_token_ends_the_session_for_the_thief_and_the_owner() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let thief = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    app.clock.advance(minutes(1));
    assert_reuse_is_detected(&app, thief.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn s04_a_faster_thief_is_detected_at_the_owners_next_refresh() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let mut thief = ada.clone();
    thief.refresh().await.expect(200);
    thief.refresh().await.expect(200);
    assert_reuse_is_detected(&app, ada.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn s04_a_successor_that_was_void_counts_as_spent() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let mut thief = ada.clone();
    thief.refresh().await.expect(200);
    app.clock.advance(LATER);
    ada.refresh().await.expect(200);
    assert_reuse_is_detected(&app, thief.refresh_and_lose().await, &[&ada, &thief]).await;
}

#[tokio::test]
async fn s04_the_event_of_a_reused_token_states_both_serials() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let thief = ada.clone();
    ada.refresh().await.expect(200);
    ada.refresh().await.expect(200);
    assert_problem!(thief.refresh_and_lose().await, 401, "invalid_refresh_token");
    let path = "/v1/audit-events?kind=session.refresh_reused";
    let events = app.admin().await.get(path).await.expect(200);
    assert_eq!(events["items"][0]["details"], json!({ "presented": 1, "current": 3 }));
}
