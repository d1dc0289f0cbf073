//! Fifty requests at once, at two servers: what works once works once (row F01).

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    TestApp,
    authenticator::{Authenticator, confirm, recovery_code},
    caller::Answer,
};

const MANY: usize = 50;

/// Sends fifty requests at once, to one of two servers each, and returns how many of them succeeded. The others fail with `code`.
async fn race(app: &TestApp, code: &str, send: impl AsyncFn(&TestApp, usize) -> Answer) -> usize {
    let other = app.replica().await;
    let requests = (0..MANY).map(|number| send(if number % 2 == 0 { app } else { &other }, number));
    let answers = join_all(requests).await;
    let succeeded = |answer: &&Answer| answer.status < 300;
    for refused in answers.iter().filter(|answer| !succeeded(answer)) {
        assert_eq!(refused.problem().1, code, "{:#}", refused.body);
    }
    answers.iter().filter(succeeded).count()
}

async fn challenges(app: &TestApp) -> Vec<String> {
    let mut challenges = Vec::new();
    for _ in 0..MANY {
        challenges.push(app.challenge("ada").await);
    }
    challenges
}

#[tokio::test]
async fn f01_one_of_fifty_log_ins_with_the_same_code_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenges, factor) = (challenges(&app).await, owner.authenticator.factor());
    let sessions = app.rows().await["sessions"];
    let won = race(&app, "wrong_factor", async |at, number| at.complete(&challenges[number], &factor).await).await;
    assert_eq!((won, app.rows().await["sessions"]), (1, sessions + 1));
}

#[tokio::test]
async fn f01_one_of_fifty_log_ins_with_the_same_recovery_code_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenges, factor) = (challenges(&app).await, recovery_code(&owner.recovery_codes[0]));
    let won = race(&app, "wrong_factor", async |at, number| at.complete(&challenges[number], &factor).await).await;
    assert_eq!(won, 1);
    assert_eq!(app.event("account.recovery_code_used").await.details.0, json!({ "left": 9 }));
}

#[tokio::test]
async fn f01_one_of_fifty_completions_of_a_challenge_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    // Each of them has another code that has not been used.
    let factors: Vec<Value> = owner.recovery_codes.iter().map(|code| recovery_code(code)).collect();
    let send = async |at: &TestApp, number: usize| at.complete(&challenge, &factors[number % factors.len()]).await;
    assert_eq!(race(&app, "invalid_challenge", send).await, 1);
    let left = app.log_in("ada").await.body["factors"].clone();
    assert_eq!(left, json!(["totp", "recovery_code"]));
    assert_eq!(app.event("account.recovery_code_used").await.details.0, json!({ "left": 9 }), "no other code was spent");
}

#[tokio::test]
async fn f01_one_of_fifty_confirmations_adds_the_app_and_shows_the_codes() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let ada = app.anonymous().log_in("ada", crate::support::PASSWORD).await;
    let authenticator = Authenticator::scan(&app, &ada.post("/v1/me/factors/totp", json!({})).await.expect(201));
    let (token, code) = (ada.token.unwrap(), authenticator.code());
    let other = app.replica().await;
    let answers = join_all((0..MANY).map(|number| {
        let (at, token, code, authenticator) = (if number % 2 == 0 { &app } else { &other }, &token, &code, &authenticator);
        async move { confirm(&at.bearer(token), authenticator, code).await }
    }))
    .await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [(404, "not_found"), (401, "stale_token")].contains(&answer.problem()) || answer.status == 200)
    );
    let ada = app.bearer(won[0].body["tokens"]["access_token"].as_str().unwrap());
    assert_eq!(ada.get("/v1/me/factors").await.expect(200)["items"].as_array().unwrap().len(), 1);
    // The code of the enrolment is spent as well.
    let challenge = app.challenge("ada").await;
    assert_eq!(app.complete(&challenge, &authenticator.factor()).await.problem(), (401, "wrong_factor"));
}

#[tokio::test]
async fn f01_fifty_wrong_codes_at_once_are_five() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenge, wrong) = (app.challenge("ada").await, json!({ "kind": "totp", "code": owner.authenticator.wrong_code() }));
    let other = app.replica().await;
    let answers =
        join_all((0..MANY).map(|number| (if number % 2 == 0 { &app } else { &other }).complete(&challenge, &wrong))).await;
    let compared = answers.iter().filter(|answer| answer.problem() == (401, "wrong_factor")).count();
    let refused = answers.iter().filter(|answer| answer.problem() == (401, "invalid_challenge")).count();
    assert_eq!((compared, refused), (5, MANY - 5));
}
