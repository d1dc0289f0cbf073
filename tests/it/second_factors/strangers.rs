//! Strangers and second factors: nobody who guesses keeps the owner of an account out (row M05).

use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        authenticator::{Owner, recovery_code, totp},
        caller::Answer,
    },
    throttle::{ELSEWHERE, HOME, WRONG, log_in, send, throttled, wait},
};

async fn complete_from(app: &TestApp, network: &str, challenge: &Value, factor: Value) -> Answer {
    let body = json!({ "challenge": challenge, "factor": factor });
    send(app, network, Method::POST, "/v1/sessions/second-factor", None, body).await
}

/// Logs in completely from a network.
async fn log_in_from(app: &TestApp, network: &str, factor: Value) -> Answer {
    let challenge = log_in(app, network, "ada", PASSWORD).await.body["challenge"].clone();
    complete_from(app, network, &challenge, factor).await
}

/// Guesses at the factor, with the right password and as many challenges as are needed, until the server refuses to compare.
/// Returns how many guesses were compared.
async fn guess(app: &TestApp, network: &str, owner: &Owner<'_>) -> usize {
    let mut compared = 0;
    loop {
        let asked = log_in(app, network, "ada", PASSWORD).await;
        assert_problem!(&asked, 401, "second_factor_required");
        for _ in 0..5 {
            let wrong = totp(&owner.authenticator.wrong_code());
            let answer = complete_from(app, network, &asked.body["challenge"], wrong).await;
            if answer.status == 429 {
                return compared;
            }
            assert_problem!(answer, 401, "wrong_factor");
            compared += 1;
        }
        assert!(compared < 200, "the throttle refuses no guess");
    }
}

#[tokio::test]
async fn m05_a_stranger_without_the_password_never_reaches_the_factor() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    log_in_from(&app, HOME, owner.authenticator.factor()).await.expect(201);
    for number in 0..60 {
        let network = format!("203.0.113.{}", number % 20);
        log_in(&app, &network, "ada", WRONG).await;
        let challenge = json!(format!("vc1.{}", "A".repeat(43)));
        let refused = complete_from(&app, &network, &challenge, totp("000000")).await;
        assert_problem!(refused, 401, "invalid_challenge");
    }
    log_in_from(&app, HOME, recovery_code(&owner.recovery_codes[0])).await.expect(201);
}

#[tokio::test]
async fn m05_whoever_has_stolen_the_password_and_guesses_at_the_factor_does_not_keep_the_owner_out() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    log_in_from(&app, HOME, owner.authenticator.factor()).await.expect(201);
    assert_eq!(guess(&app, ELSEWHERE, &owner).await, 6);
    for number in 0..20 {
        guess(&app, &format!("203.0.113.{number}"), &owner).await;
    }
    // No more guesses from new networks, but the owner's network is known.
    assert_eq!(guess(&app, "203.0.113.200", &owner).await, 0);
    log_in_from(&app, HOME, recovery_code(&owner.recovery_codes[0])).await.expect(201);
    // Nor is the factor disabled.
    assert_eq!(log_in(&app, HOME, "ada", PASSWORD).await.body["factors"], json!(["totp", "recovery_code"]));
}

#[tokio::test]
async fn m05_whoever_has_stolen_a_password_and_a_token_gets_no_more_guesses_at_the_factor() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    for number in 0..20 {
        guess(&app, &format!("203.0.113.{number}"), &owner).await;
    }
    assert_eq!(guess(&app, ELSEWHERE, &owner).await, 0);
    // A right password in a session does not make the network known to the account.
    let change = json!({ "email": "eve@example.org", "current_password": PASSWORD });
    send(&app, ELSEWHERE, Method::PATCH, "/v1/me", owner.caller.token.as_deref(), change).await.expect(200);
    assert_eq!(guess(&app, ELSEWHERE, &owner).await, 0);
}

#[tokio::test]
async fn m05_wrong_factors_of_a_network_delay_no_password_from_it() {
    let app = throttled().await;
    app.create("bob").await;
    let names: Vec<_> = (0..10).map(|number| format!("user{number}")).collect();
    for name in &names {
        app.owner(name).await;
    }
    let mut compared = 0;
    for name in &names {
        let challenges = [log_in(&app, ELSEWHERE, name, PASSWORD).await, log_in(&app, ELSEWHERE, name, PASSWORD).await];
        for number in 0..6 {
            let challenge = &challenges[number / 3].body["challenge"];
            let answer = complete_from(&app, ELSEWHERE, challenge, recovery_code("0000-0000-0000-0000")).await;
            compared += usize::from(answer.problem() == (401, "wrong_factor"));
        }
    }
    assert_eq!(compared, 51, "the network has spent its budget of factors");
    log_in(&app, ELSEWHERE, "bob", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn each_wrong_factor_doubles_the_wait_and_only_a_complete_log_in_forgives() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    assert_eq!(guess(&app, HOME, &owner).await, 6);
    // The password is right, which forgives nothing.
    let asked = log_in(&app, HOME, "ada", PASSWORD).await;
    let right = recovery_code(&owner.recovery_codes[0]);
    let refused =
        assert_problem!(complete_from(&app, HOME, &asked.body["challenge"], right.clone()).await, 429, "too_many_requests");
    app.clock.advance(wait(&refused));
    complete_from(&app, HOME, &asked.body["challenge"], right).await.expect(201);
    assert_eq!(guess(&app, HOME, &owner).await, 6);
}

#[tokio::test]
async fn a_correct_password_does_not_forgive_wrong_ones_before_the_log_in_is_complete() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    let fail = async |times: usize| {
        for _ in 0..times {
            assert_problem!(log_in(&app, HOME, "ada", WRONG).await, 401, "invalid_credentials");
        }
    };
    fail(5).await;
    assert_problem!(log_in(&app, HOME, "ada", PASSWORD).await, 401, "second_factor_required");
    fail(1).await;
    assert_problem!(log_in(&app, HOME, "ada", WRONG).await, 429, "too_many_requests");
    app.clock.advance(std::time::Duration::from_secs(1));
    log_in_from(&app, HOME, owner.authenticator.factor()).await.expect(201);
    fail(5).await;
}

#[tokio::test]
async fn wrong_factors_of_resets_and_log_ins_share_one_budget() {
    let app = throttled().await;
    let owner = app.owner("ada").await;
    send(&app, HOME, Method::POST, "/v1/password-resets", None, json!({ "identifier": "ada" })).await.expect(202);
    let token = app.mail("reset", "ada@example.org").await.token().to_owned();
    let reset = async |factor: Value| {
        let proof = json!({ "kind": "link", "token": token });
        let body = json!({ "proof": proof, "new_password": "nine grey gulls at noon", "factor": factor });
        send(&app, HOME, Method::POST, "/v1/password-resets/complete", None, body).await
    };
    for _ in 0..6 {
        assert_problem!(reset(totp(&owner.authenticator.wrong_code())).await, 401, "wrong_factor");
    }
    let right = recovery_code(&owner.recovery_codes[0]);
    assert_problem!(reset(right.clone()).await, 429, "too_many_requests");
    assert_problem!(log_in_from(&app, HOME, right.clone()).await, 429, "too_many_requests");
    app.clock.advance(std::time::Duration::from_secs(1));
    reset(right).await.expect(204);
}
