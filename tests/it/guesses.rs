//! Password guesses whose clients do not wait for the answer: a guess counts as soon as its hash starts (row P09).

use std::{cell::Cell, time::Duration};

use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
    throttle::{ELSEWHERE, HOME, WRONG, log_in, send},
};

/// Starts an app with a throttle and with hashes that take long enough for a client to disconnect meanwhile.
async fn throttled() -> TestApp {
    TestApp::start_with(|settings| {
        settings.throttle.enabled = true;
        settings.password.hash_threads = Some(1);
        settings.password.lanes = 1;
        settings.password.bcrypt_cost = 8;
    })
    .await
}

/// Sends a request, and disconnects when its hash has started.
async fn abandon(app: &TestApp, method: Method, path: &str, token: Option<&str>, body: Value) {
    let hold = app.hold_hashing().await;
    let request = send(app, HOME, method, path, token, body);
    let started = async {
        app.until_waiting(1).await;
        drop(hold);
        app.until_idle().await;
    };
    tokio::select! {
        biased;
        answer = request => panic!("{answer:?}"),
        () = started => {}
    }
}

async fn abandon_log_in(app: &TestApp, identifier: &str, password: &str) {
    let body = json!({ "identifier": identifier, "password": password });
    abandon(app, Method::POST, "/v1/sessions", None, body).await;
}

async fn until_events(app: &TestApp, kind: &str, count: usize) {
    while app.events().await.iter().filter(|event| event.kind == kind).count() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_guess_counts_even_if_its_client_disconnects() {
    let app = throttled().await;
    app.register("ada").await;
    for (count, identifier) in (1..=6).flat_map(|count| [(count, "ada"), (count, "nobody")]) {
        abandon_log_in(&app, identifier, WRONG).await;
        until_events(&app, "session.log_in_failed", 2 * count - usize::from(identifier == "ada")).await;
    }
    for identifier in ["ada", "nobody"] {
        assert_problem!(log_in(&app, HOME, identifier, PASSWORD).await, 429, "too_many_requests");
    }
}

#[tokio::test]
async fn a_guess_counts_in_every_operation_that_checks_a_password() {
    let app = throttled().await;
    app.register("ada").await;
    let token = log_in(&app, HOME, "ada", PASSWORD).await.expect(201)["access_token"].as_str().unwrap().to_owned();
    let guesses = [
        (Method::PUT, "/v1/me/password", json!({ "current_password": WRONG, "new_password": "another horse battery staple" })),
        (Method::PATCH, "/v1/me", json!({ "email": "new@example.org", "current_password": WRONG })),
        (Method::DELETE, "/v1/me", json!({ "current_password": WRONG })),
    ];
    for (count, (method, path, body)) in (1..).zip(guesses.iter().chain(&guesses)) {
        abandon(&app, method.clone(), path, Some(&token), body.clone()).await;
        until_events(&app, "account.password_refused", count).await;
    }
    assert_problem!(log_in(&app, HOME, "ada", PASSWORD).await, 429, "too_many_requests");
}

#[tokio::test]
async fn a_log_in_is_completed_even_if_its_client_disconnects() {
    let app = throttled().await;
    app.register("ada").await;
    abandon_log_in(&app, "ada", PASSWORD).await;
    until_events(&app, "session.logged_in", 1).await;
    assert_eq!(app.rows().await["sessions"], 1);
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_queued_guess_is_dropped_and_does_not_count_if_its_client_disconnects() {
    let app = throttled().await;
    app.register("ada").await;
    let (before, hold) = (app.rows().await, app.hold_hashing().await);
    for _ in 0..30 {
        tokio::select! {
            biased;
            answer = log_in(&app, HOME, "ada", WRONG) => panic!("{answer:?}"),
            () = app.until_waiting(1) => {}
        }
        app.until_idle().await; // the guess has left the queue although the hashing thread is held
    }
    drop(hold);
    assert_eq!(app.rows().await, before);
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn one_address_that_fills_the_hashing_queue_does_not_block_another_address() {
    let app = throttled().await;
    app.register("ada").await;
    let hold = app.hold_hashing().await;
    let names: Vec<_> = (0..30).map(|number| format!("user{number}")).collect();
    let rejected = Cell::new(0_u32);
    let guesses = futures_util::future::join_all(names.iter().map(async |name| {
        let is_rejected = log_in(&app, HOME, name, WRONG).await.status == 503;
        rejected.set(rejected.get() + u32::from(is_rejected));
    }));
    let others = async {
        // When ten guesses are rejected, the others have filled the queue.
        while rejected.get() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let log_in = log_in(&app, ELSEWHERE, "ada", PASSWORD);
        let one_was_displaced = async {
            let before = rejected.get();
            while rejected.get() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(hold);
        };
        tokio::join!(log_in, one_was_displaced).0.expect(201);
    };
    tokio::join!(guesses, others);
}
