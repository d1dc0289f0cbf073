//! The throttle (row P09): wrong passwords make the next attempt wait, the owner can still log in, and the waits do not reveal
//! which accounts exist.

use std::{net::SocketAddr, time::Duration};

use poem::{
    Addr, Body, Request, RequestParts,
    http::{self, Method, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::{Value, json};
use vestibule::{
    domain::throttle::{self, purge},
    entity::{known_network, throttle as rows},
    live::rate_limits::RateLimit,
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, checked},
};

pub const WRONG: &str = "wrong horse battery staple";
pub const HOME: &str = "192.0.2.1";
pub const ELSEWHERE: &str = "198.51.100.7";

pub async fn throttled() -> TestApp {
    TestApp::start_with(|settings| {
        settings.throttle.enabled = true;
        settings.password.hash_threads = Some(1);
        settings.password.lanes = 1;
        settings.password.max_wait = Duration::from_secs(30);
    })
    .await
}

/// Sends a request from an address, with an access token if there is one.
pub async fn send(app: &TestApp, from: &str, method: Method, path: &str, token: Option<&str>, body: Value) -> Answer {
    let mut head = http::Request::builder().method(method.clone()).uri(path).header("content-type", "application/json");
    if let Some(token) = token {
        head = head.header("authorization", format!("Bearer {token}"));
    }
    let peer = RemoteAddr(Addr::SocketAddr(SocketAddr::new(from.parse().unwrap(), 40_000)));
    let (head, ()) = head.body(()).unwrap().into_parts();
    let head = RequestParts::from((head, LocalAddr::default(), peer, Scheme::HTTP));
    let answer = app.raw(Request::from_parts(head, Body::from_string(body.to_string()))).await;
    checked::answer(&method, path, answer).await
}

pub async fn log_in(app: &TestApp, from: &str, identifier: &str, password: &str) -> Answer {
    let body = json!({ "identifier": identifier, "password": password });
    send(app, from, Method::POST, "/v1/sessions", None, body).await
}

/// Sends wrong passwords until the throttle refuses one. Returns how many were checked.
pub async fn guess(app: &TestApp, from: &str, identifier: &str) -> usize {
    for count in 0..100 {
        let answer = log_in(app, from, identifier, WRONG).await;
        if answer.status == 429 {
            return count;
        }
        assert_problem!(answer, 401, "invalid_credentials");
    }
    panic!("the throttle refuses no guess")
}

/// Returns the wait that a refusal states.
pub fn wait(answer: &Answer) -> Duration {
    Duration::from_secs(answer.header("retry-after").parse().unwrap())
}

#[tokio::test]
async fn p09_each_wrong_password_doubles_the_wait_and_the_next_attempt_is_checked() {
    let app = throttled().await;
    app.register("ada").await;
    assert_eq!(guess(&app, HOME, "ada").await, 6);
    for seconds in [1, 2, 4, 8, 16, 32, 64] {
        let refused = assert_problem!(log_in(&app, HOME, "ada", PASSWORD).await, 429, "too_many_requests");
        assert_eq!(wait(&refused), Duration::from_secs(seconds));
        app.clock.advance(Duration::from_millis(seconds * 1_000 - 1));
        assert_problem!(log_in(&app, HOME, "ada", PASSWORD).await, 429, "too_many_requests");
        app.clock.advance(Duration::from_millis(1));
        assert_problem!(log_in(&app, HOME, "ada", WRONG).await, 401, "invalid_credentials");
    }
    app.clock.advance(Duration::from_secs(128));
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    assert_eq!(guess(&app, HOME, "ada").await, 6, "a log-in resets the owner's budget");
}

#[tokio::test]
async fn p09_no_wait_is_longer_than_half_an_hour() {
    let app = throttled().await;
    app.register("ada").await;
    for _ in 0..40 {
        guess(&app, HOME, "ada").await;
        let refused = log_in(&app, HOME, "ada", WRONG).await;
        assert!(wait(&refused) <= Duration::from_mins(30));
        app.clock.advance(wait(&refused));
    }
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn p09_every_operation_that_checks_a_password_spends_the_same_budget() {
    let app = throttled().await;
    app.register("ada").await;
    let token = log_in(&app, HOME, "ada", PASSWORD).await.expect(201)["access_token"].as_str().unwrap().to_owned();
    let change = json!({ "current_password": WRONG, "new_password": "another horse battery staple" });
    let tries = [
        (Method::PUT, "/v1/me/password", change),
        (Method::PATCH, "/v1/me", json!({ "email": "new@example.org", "current_password": WRONG })),
        (Method::DELETE, "/v1/me", json!({ "current_password": WRONG })),
    ];
    for (method, path, body) in &tries {
        assert_problem!(send(&app, HOME, method.clone(), path, Some(&token), body.clone()).await, 422, "validation_failed");
    }
    for identifier in ["ADA", "ada@example.org", "Ada@Example.ORG"] {
        assert_problem!(log_in(&app, HOME, identifier, WRONG).await, 401, "invalid_credentials");
    }
    for (method, path, body) in &tries {
        assert_problem!(send(&app, HOME, method.clone(), path, Some(&token), body.clone()).await, 429, "too_many_requests");
    }
    for identifier in ["ada", "ada@example.org"] {
        assert_problem!(log_in(&app, HOME, identifier, PASSWORD).await, 429, "too_many_requests");
    }
    // A change without a password is not throttled.
    send(&app, HOME, Method::PATCH, "/v1/me", Some(&token), json!({ "name": "Ada" })).await.expect(200);
}

#[tokio::test]
async fn p09_a_right_password_in_a_session_forgives_no_guesses_and_keeps_nobody_out() {
    let app = throttled().await;
    app.register("ada").await;
    let token = log_in(&app, HOME, "ada", PASSWORD).await.expect(201)["access_token"].as_str().unwrap().to_owned();
    let again = async |password: &str| {
        let body = json!({ "factor": { "kind": "password", "password": password } });
        send(&app, HOME, Method::POST, "/v1/me/authentication", Some(&token), body).await
    };
    for _ in 0..5 {
        assert_problem!(again(WRONG).await, 401, "wrong_factor");
        again(PASSWORD).await.expect(200);
    }
    assert_problem!(again(WRONG).await, 401, "wrong_factor");
    let refused = assert_problem!(again(PASSWORD).await, 429, "too_many_requests");
    assert_eq!(wait(&refused), Duration::from_secs(1));
    app.clock.advance(wait(&refused));
    // After the wait, everything that needs the password goes on, one time after the other.
    again(PASSWORD).await.expect(200);
    let change = json!({ "email": "ada@example.com", "current_password": PASSWORD });
    send(&app, HOME, Method::PATCH, "/v1/me", Some(&token), change).await.expect(200);
    assert_problem!(again(WRONG).await, 401, "wrong_factor");
    assert_eq!(wait(&again(WRONG).await), Duration::from_secs(2));
    app.clock.advance(Duration::from_secs(2));
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    assert_eq!(guess(&app, HOME, "ada").await, 6, "a log-in forgives");
}

#[tokio::test]
async fn p09_the_throttle_does_not_reveal_whether_an_account_exists() {
    let app = throttled().await;
    app.register("ada").await;
    let mut stories = Vec::new();
    for (from, identifier) in [(HOME, "ada@example.org"), (ELSEWHERE, "eve@example.org")] {
        let mut story = Vec::new();
        for _ in 0..9 {
            let mut answer = log_in(&app, from, identifier, WRONG).await;
            answer.headers.remove("x-request-id");
            answer.body.as_object_mut().unwrap().remove("request_id");
            story.push(format!("{answer:?}"));
        }
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1]);
}

#[tokio::test]
async fn p09_the_owner_can_log_in_from_a_known_network_while_others_guess() {
    let app = throttled().await;
    app.register("ada").await;
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    let mut guessers = 0..;
    while guess(&app, &format!("203.0.113.{}", guessers.next().unwrap()), "ada").await > 0 {}
    assert_eq!(guessers.start, 5, "the fifth network is refused, because the others have spent the account's budget");
    assert_problem!(log_in(&app, ELSEWHERE, "ada", PASSWORD).await, 429, "too_many_requests");
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    // A known network still has its own budget.
    assert_eq!(guess(&app, HOME, "ada").await, 6);
}

#[tokio::test]
async fn p09_a_network_that_tries_many_accounts_is_slowed_down() {
    let app = throttled().await;
    app.register("ada").await;
    let mut tried = 0;
    while log_in(&app, ELSEWHERE, &format!("user{tried}"), WRONG).await.status == 401 && tried < 100 {
        tried += 1;
    }
    assert_eq!(tried, 51);
    assert_problem!(log_in(&app, ELSEWHERE, "ada", PASSWORD).await, 429, "too_many_requests");
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    app.clock.advance(Duration::from_secs(1));
    log_in(&app, ELSEWHERE, "ada", PASSWORD).await.expect(201);
    assert_problem!(log_in(&app, ELSEWHERE, "user51", WRONG).await, 401, "invalid_credentials");
    assert_problem!(log_in(&app, ELSEWHERE, "ada", PASSWORD).await, 429, "too_many_requests");
}

#[tokio::test]
async fn p09_an_ipv6_network_is_a_prefix_of_64_bits() {
    let app = throttled().await;
    app.register("ada").await;
    for host in 1..=6 {
        assert_problem!(log_in(&app, &format!("2001:db8::{host}"), "ada", WRONG).await, 401, "invalid_credentials");
    }
    assert_problem!(log_in(&app, "2001:db8::7", "ada", PASSWORD).await, 429, "too_many_requests");
    log_in(&app, "2001:db8:0:1::1", "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn p09_concurrent_guesses_spend_the_same_budget_as_sequential_ones() {
    let app = throttled().await;
    app.register("ada").await;
    let guesses = (0..30).map(|number| {
        let password = if number == 20 { PASSWORD } else { WRONG };
        log_in(&app, HOME, "ada", password)
    });
    let answers = futures_util::future::join_all(guesses).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(count(401) + count(201) + count(429), 30);
    // If the right password was among the first, it has reset the budget.
    match count(201) {
        0 => assert_eq!(count(401), 6),
        _ => assert!(count(401) <= 12, "{}", count(401)),
    }
}

#[tokio::test]
async fn p09_budgets_survive_a_restart_and_are_shared_by_replicas() {
    let app = throttled().await;
    app.register("ada").await;
    guess(&app, HOME, "ada").await;
    let other = app.replica().await;
    assert_problem!(log_in(&other, HOME, "ada", PASSWORD).await, 429, "too_many_requests");
}

#[tokio::test]
async fn p09_a_throttled_log_in_is_neither_hashed_nor_stored() {
    let app = throttled().await;
    app.register("ada").await;
    guess(&app, HOME, "ada").await;
    let (before, spent) = (app.rows().await, rows::Entity::find().all(app.app.db.read()).await.unwrap());
    let hold = app.hold_hashing().await;
    for _ in 0..50 {
        tokio::select! {
            answer = log_in(&app, HOME, "ada", WRONG) => {
                assert_problem!(answer, 429, "too_many_requests");
            }
            () = app.until_waiting(1) => panic!("a throttled password is hashed"),
        }
    }
    drop(hold);
    assert_eq!(app.rows().await, before);
    assert_eq!(rows::Entity::find().all(app.app.db.read()).await.unwrap(), spent);
}

#[tokio::test]
async fn p09_a_log_in_rejected_by_overload_spends_no_budget() {
    let app = throttled().await;
    app.register("ada").await;
    let busy = app.fill_hashing_queue().await;
    for _ in 0..20 {
        assert_problem!(log_in(&app, HOME, "ada", WRONG).await, 503, "overloaded");
    }
    drop(busy);
    app.until_idle().await;
    assert_eq!(guess(&app, HOME, "ada").await, 6);
}

#[tokio::test]
async fn p09_stored_budgets_reveal_nothing_and_are_deleted() {
    let app = throttled().await;
    let id = app.register("ada").await;
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    guess(&app, HOME, "ada").await;
    guess(&app, ELSEWHERE, "nobody@example.org").await;
    let kept = format!(
        "{:?} {:?}",
        rows::Entity::find().all(app.app.db.read()).await.unwrap(),
        known_network::Entity::find().all(app.app.db.read()).await.unwrap()
    );
    for plain in ["ada", "nobody", "192.0.2", "198.51", &id.to_string()] {
        let bytes = format!("{:?}", plain.as_bytes());
        assert!(!kept.contains(plain) && !kept.contains(bytes.trim_matches(['[', ']'])), "{plain}");
    }
    app.clock.advance(Duration::from_hours(24 + 4));
    purge(&app.app, app.trusted().await).await.unwrap();
    assert!(rows::Entity::find().all(app.app.db.read()).await.unwrap().is_empty());
    assert_eq!(known_network::Entity::find().all(app.app.db.read()).await.unwrap().len(), 1);
    app.clock.advance(Duration::from_hours(24 * 90));
    purge(&app.app, app.trusted().await).await.unwrap();
    assert!(known_network::Entity::find().all(app.app.db.read()).await.unwrap().is_empty());
}

#[tokio::test]
async fn p09_registrations_are_limited_per_network() {
    let app = throttled().await;
    let register = async |from: &str, name: &str| {
        let body = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
        send(&app, from, Method::POST, "/v1/accounts", None, body).await
    };
    for number in 0..101 {
        register(HOME, "ada").await.expect(if number == 0 { 201 } else { 409 });
    }
    let refused = assert_problem!(register(HOME, "bea").await, 429, "too_many_requests");
    register(ELSEWHERE, "bea").await.expect(201);
    app.clock.advance(wait(&refused));
    register(HOME, "eve").await.expect(201);
}

#[tokio::test]
async fn p09_refreshes_are_limited_per_network() {
    let app = throttled().await;
    let from =
        |address: &str| vestibule::domain::source::Source { address: Some(address.parse().unwrap()), ..Default::default() };
    let passed = (0..5_000).take_while(|_| throttle::limit_rate(&app.app, &from(HOME), RateLimit::Refresh).is_ok()).count();
    assert_eq!(passed, 3_001);
    throttle::limit_rate(&app.app, &from(ELSEWHERE), RateLimit::Refresh).unwrap();
}

#[tokio::test]
async fn p09_the_throttle_can_be_turned_off() {
    let app = TestApp::start().await;
    app.register("ada").await;
    for _ in 0..70 {
        assert_problem!(log_in(&app, HOME, "ada", WRONG).await, 401, "invalid_credentials");
    }
    let tx = app.app.db.write().await.unwrap();
    assert_eq!(tx.execute_unprepared("DELETE FROM throttles").await.unwrap().rows_affected(), 0);
}
