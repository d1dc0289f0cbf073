//! The budgets of the throttle: how many wrong passwords each budget allows, how long a caller then waits, and which accounts
//! and networks share a budget (row P09).

use std::{array, time::Duration};

use poem::http::Method;
use serde_json::json;
use vestibule::{
    domain::{source::Source, throttle},
    live::rate_limits::RateLimit,
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
    throttle::{ELSEWHERE, HOME, WRONG, guess, log_in, send, throttled, wait},
};

/// Sends a wrong password as soon as the throttle allows it. Returns how long it had to wait.
async fn guess_when_allowed(app: &TestApp, from: &str, identifier: &str) -> Duration {
    let answer = log_in(app, from, identifier, WRONG).await;
    if answer.status == 401 {
        return Duration::ZERO;
    }
    let wait = wait(&assert_problem!(answer, 429, "too_many_requests"));
    app.clock.advance(wait);
    assert_problem!(log_in(app, from, identifier, WRONG).await, 401, "invalid_credentials");
    wait
}

/// Returns an address in a network of its own.
fn network(number: u8) -> String {
    format!("203.0.113.{number}")
}

/// Sends wrong passwords, each from another network, until the account's budget is spent. Returns how many were sent.
async fn spend_account_budget(app: &TestApp, identifier: &str) -> u8 {
    for number in 0..100 {
        if log_in(app, &network(number), identifier, WRONG).await.status == 429 {
            return number;
        }
    }
    panic!("the guesses for {identifier} are not limited")
}

#[tokio::test]
async fn p09_a_network_that_refreshes_too_often_must_wait_even_with_a_valid_token() {
    let app = throttled().await;
    let ada = app.client("ada").await;
    let home = Source { address: Some(HOME.parse().unwrap()), ..Source::default() };
    assert!((0..5_000).any(|_| throttle::limit_rate(&app.app, &home, RateLimit::Refresh).is_err()), "refreshes are not limited");
    let body = json!({ "refresh_token": ada.refresh });
    let refresh = async |from: &str| send(&app, from, Method::POST, "/v1/sessions/refresh", None, body.clone()).await;
    assert_problem!(refresh(HOME).await, 429, "too_many_requests");
    refresh(ELSEWHERE).await.expect(200);
}

#[tokio::test]
async fn p09_the_longest_wait_is_half_an_hour_for_an_account_and_36_seconds_for_a_network() {
    let (pair, account, of_network) = (throttled().await, throttled().await, throttled().await);
    // The account's budget does not count in a network from which the owner has logged in.
    pair.register("ada").await;
    log_in(&pair, HOME, "ada", PASSWORD).await.expect(201);
    let mut longest = [Duration::ZERO; 3];
    for number in 0..80 {
        let waits = [
            guess_when_allowed(&pair, HOME, "ada").await,
            guess_when_allowed(&account, &network(number), "ada").await,
            guess_when_allowed(&of_network, HOME, &format!("user{number}")).await,
        ];
        longest = array::from_fn(|index| longest[index].max(waits[index]));
    }
    assert_eq!(longest, [Duration::from_mins(30), Duration::from_mins(30), Duration::from_secs(36)]);
}

#[tokio::test]
async fn p09_when_several_waits_apply_the_longest_counts() {
    // Wrong passwords for other accounts, then for one account, and the wait in seconds after the last of them. In the first
    // case the network's wait is longer, in the second the wait of the account in this network.
    for (others, guesses, expected) in [(47, 6, 4), (42, 9, 8)] {
        let app = throttled().await;
        for number in 0..others {
            guess_when_allowed(&app, HOME, &format!("user{number}")).await;
        }
        for _ in 0..guesses {
            guess_when_allowed(&app, HOME, "ada").await;
        }
        assert_eq!(wait(&log_in(&app, HOME, "ada", WRONG).await), Duration::from_secs(expected));
    }
}

#[tokio::test]
async fn p09_after_twenty_wrong_passwords_from_any_networks_an_account_must_wait_and_no_other_account() {
    for (one, other) in [("ada", "bea"), ("eve", "dan"), ("eve@example.org", "dan@example.org")] {
        let app = throttled().await;
        app.register("ada").await;
        app.register("bea").await;
        assert_eq!(spend_account_budget(&app, one).await, 21, "{one}");
        assert_problem!(log_in(&app, HOME, other, WRONG).await, 401, "invalid_credentials");
    }
}

#[tokio::test]
async fn p09_an_identifier_and_an_address_with_the_same_concatenation_have_separate_budgets() {
    let app = throttled().await;
    assert_eq!(guess(&app, "92.0.2.1", "guest1").await, 6);
    assert_problem!(log_in(&app, "192.0.2.1", "guest", WRONG).await, 401, "invalid_credentials");
}

#[tokio::test]
async fn p09_a_network_is_known_for_90_days_to_the_accounts_that_logged_in_from_it() {
    let app = throttled().await;
    for name in ["ada", "bea", "cyd"] {
        app.register(name).await;
    }
    for name in ["ada", "bea"] {
        log_in(&app, HOME, name, PASSWORD).await.expect(201);
    }
    app.clock.advance(Duration::from_hours(24 * 90) - Duration::from_secs(1));
    for name in ["ada", "cyd"] {
        spend_account_budget(&app, name).await;
    }
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    assert_problem!(log_in(&app, HOME, "cyd", PASSWORD).await, 429, "too_many_requests");
    app.clock.advance(Duration::from_secs(1));
    spend_account_budget(&app, "bea").await;
    assert_problem!(log_in(&app, HOME, "bea", PASSWORD).await, 429, "too_many_requests");
}

#[tokio::test]
async fn p09_a_guess_is_rejected_if_the_budget_is_spent_while_it_is_hashed() {
    for password in [PASSWORD, WRONG] {
        let app = throttled().await;
        app.register("ada").await;
        let other = app.replica().await;
        let hold = app.hold_hashing().await;
        let meanwhile = async {
            app.until_waiting(1).await;
            assert_eq!(guess(&other, HOME, "ada").await, 6);
            drop(hold);
        };
        let (answer, ()) = tokio::join!(log_in(&app, HOME, "ada", password), meanwhile);
        assert_problem!(answer, 429, "too_many_requests");
    }
}
