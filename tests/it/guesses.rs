//! Password guesses whose clients do not wait: a guess counts from the moment its hash starts (row P09).

use std::{cell::Cell, time::Duration};

use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
    throttle::{ELSEWHERE, HOME, WRONG, log_in, send},
};

/// Hashes take long enough for a client to hang up meanwhile.
async fn throttled() -> TestApp {
    TestApp::start_with(|settings| {
        settings.throttle.enabled = true;
        settings.password.hash_threads = Some(1);
        settings.password.lanes = 1;
        settings.password.bcrypt_cost = 8;
    })
    .await
}

/// Sends a request, and hangs up when its hash has started.
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
    while app.events().await.iter().filter(|it| it.kind == kind).count() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_guess_counts_whether_or_not_its_client_waits() {
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
    let tries = [
        (Method::PUT, "/v1/me/password", json!({ "current_password": WRONG, "new_password": "another horse battery staple" })),
        (Method::PATCH, "/v1/me", json!({ "email": "new@example.org", "current_password": WRONG })),
        (Method::DELETE, "/v1/me", json!({ "current_password": WRONG })),
    ];
    for (count, (method, path, body)) in (1..).zip(tries.iter().chain(&tries)) {
        abandon(&app, method.clone(), path, Some(&token), body.clone()).await;
        until_events(&app, "account.password_refused", count).await;
    }
    assert_problem!(log_in(&app, HOME, "ada", PASSWORD).await, 429, "too_many_requests");
}

#[tokio::test]
async fn a_log_in_whose_client_hangs_up_is_done_whole() {
    let app = throttled().await;
    app.register("ada").await;
    abandon_log_in(&app, "ada", PASSWORD).await;
    until_events(&app, "session.logged_in", 1).await;
    assert_eq!(app.rows().await["sessions"], 1);
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_guess_that_waits_for_its_hash_is_dropped_with_its_client_and_does_not_count() {
    let app = throttled().await;
    app.register("ada").await;
    let (before, hold) = (app.rows().await, app.hold_hashing().await);
    for _ in 0..30 {
        tokio::select! {
            biased;
            answer = log_in(&app, HOME, "ada", WRONG) => panic!("{answer:?}"),
            () = app.until_waiting(1) => {}
        }
        app.until_idle().await; // although the thread does nothing
    }
    drop(hold);
    assert_eq!(app.rows().await, before);
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn one_address_keeps_nobody_else_out() {
    let app = throttled().await;
    app.register("ada").await;
    let hold = app.hold_hashing().await;
    let names: Vec<_> = (0..30).map(|number| format!("user{number}")).collect();
    let turned_away = Cell::new(0_u32);
    let guesses = futures_util::future::join_all(names.iter().map(async |name| {
        let is_turned_away = log_in(&app, HOME, name, WRONG).await.status == 503;
        turned_away.set(turned_away.get() + u32::from(is_turned_away));
    }));
    let others = async {
        // The first of the thirty have filled the queue.
        while turned_away.get() < 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let log_in = log_in(&app, ELSEWHERE, "ada", PASSWORD);
        let one_gave_way = async {
            let before = turned_away.get();
            while turned_away.get() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(hold);
        };
        tokio::join!(log_in, one_gave_way).0.expect(201);
    };
    tokio::join!(guesses, others);
}
