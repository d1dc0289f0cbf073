//! How a session's user was authenticated: what tokens say about it, what raises it, and who must show a second factor.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule::{live::clock::Clock, values::second_factor_policy::SecondFactorPolicy as Policy};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, client::Client, clock::minutes},
    tokens::part,
};

/// Returns the claims of a token that say how its user was authenticated.
fn claims(token: &str) -> Value {
    let claims = part(token, 1);
    json!([claims["auth_time"], claims["acr"], claims["amr"], claims["acr_max"]])
}

fn password(password: &str) -> Value {
    json!({ "factor": { "kind": "password", "password": password } })
}

async fn authenticate(caller: &Caller<'_>) -> Value {
    caller.post("/v1/me/authentication", password(PASSWORD)).await.expect(200)
}

#[tokio::test]
async fn f03_a_log_in_states_its_time_and_its_methods_and_a_refresh_changes_neither() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let begun = app.clock.now().timestamp();
    assert_eq!(claims(&ada.access), json!([begun, "1", ["pwd"], "1"]));
    app.clock.advance(minutes(7));
    ada.refresh().await.expect(200);
    assert_eq!(claims(&ada.access), json!([begun, "1", ["pwd"], "1"]));
    let token = ada.caller().get("/v1/token").await.expect(200);
    let at = token["auth_time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((at.timestamp(), &token["acr"], &token["amr"]), (begun, &json!("1"), &json!(["pwd"])));
}

#[tokio::test]
async fn f03_only_a_proof_renews_the_time_and_it_belongs_to_one_session() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let begun = app.clock.now().timestamp();
    let mut elsewhere = Client::log_in(&app, "ada").await;
    app.clock.advance(minutes(11));
    let proven = authenticate(&ada.caller()).await;
    let now = app.clock.now().timestamp();
    assert_eq!(claims(proven["access_token"].as_str().unwrap()), json!([now, "1", ["pwd"], "1"]));
    // The refresh token that the client has stays the one to be used next.
    assert_eq!((&proven["session_id"], proven.get("refresh_token")), (&json!(ada.session), None));
    app.clock.advance(minutes(1));
    ada.refresh().await.expect(200);
    assert_eq!(claims(&ada.access)[0], json!(now));
    elsewhere.refresh().await.expect(200);
    assert_eq!(claims(&elsewhere.access)[0], json!(begun));
    let event = app.event("session.authenticated_again").await;
    assert_eq!(event.session_id.map(|id| id.to_string()), Some(ada.session.clone()));
    assert_eq!(event.details.0, json!({ "method": "password" }));
}

#[tokio::test]
async fn f03_a_proof_that_a_wrong_clock_dated_in_the_future_is_not_fresh() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let mut ada = Client::log_in(&app, "ada").await;
    let start = async |caller: Caller<'_>| caller.post("/v1/me/factors/totp", json!({})).await;
    app.clock.set_by(chrono::TimeDelta::seconds(-5));
    start(ada.caller()).await.expect(201);
    app.clock.set_by(chrono::TimeDelta::hours(-1));
    ada.refresh().await.expect(200);
    assert_problem!(start(ada.caller()).await, 401, "insufficient_user_authentication");
    let proven = authenticate(&ada.caller()).await;
    start(app.bearer(proven["access_token"].as_str().unwrap())).await.expect(201);
}

#[tokio::test]
async fn f03_a_level_that_was_proven_stays_with_the_session() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    app.show_factor(ada.session.parse().unwrap()).await;
    for _ in 0..2 {
        ada.refresh().await.expect(200);
        assert_eq!(claims(&ada.access).as_array().unwrap()[1..], [json!("2"), json!(["pwd", "otp", "mfa"]), json!("1")]);
        app.clock.advance(minutes(3));
    }
    let again = Client::log_in(&app, "ada").await;
    assert_eq!(claims(&again.access)[1], "1");
}

#[tokio::test]
async fn an_administrator_proves_their_presence_before_a_change() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let body = || json!({ "email": "grace@example.org" });
    app.clock.advance(minutes(10));
    admin.post("/v1/users", json!({ "email": "ada@example.org" })).await.expect(201);
    app.clock.advance(Duration::from_secs(1));
    let answer = assert_problem!(admin.post("/v1/users", body()).await, 401, "insufficient_user_authentication");
    assert_eq!((&answer.body["acr_values"], answer.body.get("enrol")), (&json!(["1"]), None));
    admin.get("/v1/users").await.expect(200);
    let admin = admin.prove(app.admin_password()).await;
    admin.post("/v1/users", body()).await.expect(201);
}

#[tokio::test]
async fn t02_a_wrong_password_proves_nothing_and_its_challenge_has_no_error() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let answer = ada.post("/v1/me/authentication", password("wrong")).await;
    assert_problem!(&answer, 401, "wrong_factor");
    assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="vestibule""#);
    app.event("account.password_refused").await;
    ada.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_password_proves_nothing_where_the_account_holds_a_second_factor() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let id = ada.caller().get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    app.give_factor(id).await;
    assert_problem!(ada.caller().post("/v1/me/authentication", password(PASSWORD)).await, 401, "stale_token");
    ada.refresh().await.expect(200);
    assert_eq!(claims(&ada.access).as_array().unwrap()[1..], [json!("1"), json!(["pwd"]), json!("2")]);
    assert_problem!(ada.caller().post("/v1/me/authentication", password(PASSWORD)).await, 401, "wrong_factor");
    assert_eq!(ada.caller().get("/v1/me").await.expect(200)["second_factor"], true);
}

#[tokio::test]
async fn guesses_at_the_password_wait_longer_each_time() {
    let app = TestApp::start_with(|settings| settings.throttle.enabled = true).await;
    let ada = app.user("ada").await;
    for _ in 0..6 {
        assert_problem!(ada.post("/v1/me/authentication", password("wrong")).await, 401, "wrong_factor");
    }
    let answer = assert_problem!(ada.post("/v1/me/authentication", password(PASSWORD)).await, 429, "too_many_requests");
    assert_eq!(answer.header("retry-after"), "1");
    // Guesses by a session delay the log-in from the same network, and the other way round.
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/sessions", log_in).await, 429, "too_many_requests");
    app.clock.advance(Duration::from_secs(2));
    authenticate(&ada).await;
}

#[tokio::test]
async fn the_faults_of_a_factor_have_the_pointers_of_the_kind_that_it_names() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for (factor, faults) in [
        (json!({ "kind": "password" }), vec![("/factor/password", "required")]),
        (
            json!({ "kind": "password", "password": "", "code": "1" }),
            vec![("/factor/code", "unknown_member"), ("/factor/password", "too_short")],
        ),
        (json!({ "kind": "voice", "password": "x" }), vec![("/factor/kind", "not_allowed")]),
        (json!({ "password": "x" }), vec![("/factor/kind", "required")]),
        (json!("password"), vec![("/factor", "type")]),
    ] {
        let answer = ada.post("/v1/me/authentication", json!({ "factor": factor })).await;
        assert_problem!(&answer, 422, "validation_failed");
        assert_eq!(answer.faults(), faults, "{factor}");
    }
}

#[tokio::test]
async fn f04_a_policy_takes_effect_at_once_on_every_replica_and_locks_nobody_out() {
    let before = TestApp::start().await;
    let (admin, ada) = (before.admin().await, before.user("ada").await);
    for policy in [Policy::Administrators, Policy::Everyone] {
        let (one, other) = (
            before.replica_with(|settings| settings.second_factor.require = policy).await,
            before.replica_with(|settings| settings.second_factor.require = policy).await,
        );
        for replica in [&one, &other] {
            // Sessions from before the policy, and new ones.
            let again = replica.anonymous().log_in("admin", before.admin_password()).await;
            for admin in [replica.bearer(admin.token.as_deref().unwrap()), again] {
                let answer = assert_problem!(admin.get("/v1/users").await, 401, "insufficient_user_authentication");
                assert_eq!((&answer.body["acr_values"], &answer.body["enrol"]), (&json!(["2"]), &json!(true)));
                // What enrolment needs.
                admin.get("/v1/me").await.expect(200);
                admin.get("/v1/token").await.expect(200);
                admin.prove(before.admin_password()).await.get("/v1/me/sessions").await.expect(200);
            }
            let ada = replica.bearer(ada.token.as_deref().unwrap());
            let change = json!({ "current_password": PASSWORD, "new_password": "nine grey gulls at noon" });
            let answer = ada.put("/v1/me/password", change).await;
            if policy == Policy::Everyone {
                assert_problem!(answer, 401, "insufficient_user_authentication");
                assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
            } else {
                answer.expect(204);
                let back = json!({ "current_password": "nine grey gulls at noon", "new_password": PASSWORD });
                ada.put("/v1/me/password", back).await.expect(204);
            }
        }
    }
}

#[tokio::test]
async fn f04_whoever_has_shown_a_second_factor_meets_every_policy() {
    let app = TestApp::start_with(|settings| settings.second_factor.require = Policy::Everyone).await;
    let mut ada = app.client("ada").await;
    let id = ada.caller().get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    app.give_factor(id).await;
    app.show_factor(ada.session.parse().unwrap()).await;
    ada.refresh().await.expect(200);
    assert_problem!(ada.caller().delete("/v1/me", json!({ "current_password": "wrong" })).await, 422, "validation_failed");
}
