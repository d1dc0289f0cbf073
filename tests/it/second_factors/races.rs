//! Fifty requests at once, at two servers of one database: what works once works once (row F01).

use std::{cell::Cell, collections::HashSet};

use futures_util::future::join_all;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use vestibule::entity::{challenge, factor, redeemed_ceremony};

use crate::{
    passkeys::{self, ORIGIN, begun, passkey},
    support::{
        PASSWORD, TestApp,
        authenticator::{self, Authenticator, confirm, recovery_code},
        caller::{Answer, Caller},
        passkey_device::PasskeyDevice,
    },
};

const MANY: usize = 50;

/// Sends fifty requests at once, half of them to another server of the same database. Exactly one succeeds, and the others fail with
/// one of `problems`. Returns the response to the one.
async fn race(app: &TestApp, problems: &[(u16, &str)], send: impl AsyncFn(&TestApp, usize) -> Answer) -> Option<Answer> {
    let (mut succeeded, failed, may_be_lost) = settle(app, send).await;
    for answer in failed {
        assert!(problems.contains(&answer.problem()), "{:#}", answer.body);
    }
    let won = succeeded.len();
    assert!(won == 1 || won == 0 && may_be_lost, "{won} of {MANY} succeeded");
    succeeded.pop()
}

/// Sends fifty requests at once, half of them to another server of the same database. A request that waits too long for the row of
/// the user gets 503, as on any busy server, and is sent again. Returns those that succeeded, those that failed, and whether one got
/// 503: such a request may have succeeded.
async fn settle(app: &TestApp, send: impl AsyncFn(&TestApp, usize) -> Answer) -> (Vec<Answer>, Vec<Answer>, bool) {
    let (other, may_be_lost) = (app.replica().await, Cell::new(false));
    let answer = async |number: usize| loop {
        let answer = send(if number.is_multiple_of(2) { app } else { &other }, number).await;
        if answer.status != 503 {
            return answer;
        }
        may_be_lost.set(true);
    };
    let answers = join_all((0..MANY).map(answer)).await;
    let (succeeded, failed) = answers.into_iter().partition(|answer| answer.status < 300);
    (succeeded, failed, may_be_lost.get())
}

async fn challenges(app: &TestApp) -> Vec<String> {
    let mut challenges = Vec::new();
    for _ in 0..MANY {
        challenges.push(app.challenge("ada").await);
    }
    challenges
}

/// Returns how many sessions there are, and how many challenges were used.
async fn used(app: &TestApp) -> (u64, usize) {
    let challenges = challenge::Entity::find().all(app.app.db.read()).await.unwrap();
    (app.rows().await["sessions"], challenges.iter().filter(|challenge| challenge.used_at.is_some()).count())
}

#[tokio::test]
async fn f01_one_of_fifty_log_ins_with_the_same_code_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenges, factor) = (challenges(&app).await, owner.authenticator.factor());
    let (sessions, completed) = used(&app).await;
    race(&app, &[(401, "wrong_factor")], async |at, number| at.complete(&challenges[number], &factor).await).await;
    assert_eq!(used(&app).await, (sessions + 1, completed + 1));
}

#[tokio::test]
async fn f01_one_of_fifty_log_ins_with_the_same_recovery_code_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenges, factor) = (challenges(&app).await, recovery_code(&owner.recovery_codes[0]));
    let (sessions, completed) = used(&app).await;
    race(&app, &[(401, "wrong_factor")], async |at, number| at.complete(&challenges[number], &factor).await).await;
    assert_eq!(used(&app).await, (sessions + 1, completed + 1));
    assert_eq!(app.event("account.recovery_code_used").await.details.0, json!({ "left": 9 }));
}

#[tokio::test]
async fn f01_one_of_fifty_completions_of_a_challenge_succeeds() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    let (sessions, completed) = used(&app).await;
    // Each of them has another code that has not been used.
    let factors: Vec<Value> = owner.recovery_codes.iter().map(|code| recovery_code(code)).collect();
    let send = async |at: &TestApp, number: usize| at.complete(&challenge, &factors[number % factors.len()]).await;
    race(&app, &[(401, "invalid_challenge")], send).await;
    assert_eq!(used(&app).await, (sessions + 1, completed + 1));
    let left = app.log_in("ada").await.body["factors"].clone();
    assert_eq!(left, json!(["totp", "recovery_code"]));
    assert_eq!(app.event("account.recovery_code_used").await.details.0, json!({ "left": 9 }), "no other code was spent");
}

#[tokio::test]
async fn f01_one_of_fifty_confirmations_adds_the_app_and_shows_the_codes() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    let authenticator = Authenticator::scan(&app, &ada.post("/v1/me/factors/totp", json!({})).await.expect(201));
    let (token, code) = (ada.token.unwrap(), authenticator.code());
    let problems = [(404, "not_found"), (401, "stale_token")];
    race(&app, &problems, async |at, _| confirm(&at.bearer(&token), &authenticator, &code).await).await;
    assert_eq!(factor::Entity::find().count(app.app.db.read()).await.unwrap(), 1);
    app.event("account.recovery_codes_created").await;
    // The code of the enrolment is spent as well.
    let challenge = app.challenge("ada").await;
    assert_eq!(app.complete(&challenge, &authenticator.factor()).await.problem(), (401, "wrong_factor"));
}

#[tokio::test]
async fn f01_fifty_wrong_codes_at_once_are_five() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (challenge, wrong) = (app.challenge("ada").await, authenticator::totp(&owner.authenticator.wrong_code()));
    let (succeeded, failed, may_be_lost) = settle(&app, async |at, _| at.complete(&challenge, &wrong).await).await;
    assert!(succeeded.is_empty());
    let compared = failed.iter().filter(|answer| answer.problem() == (401, "wrong_factor")).count();
    let refused = failed.iter().filter(|answer| answer.problem() == (401, "invalid_challenge")).count();
    assert_eq!(compared + refused, MANY);
    assert!(compared == 5 || compared < 5 && may_be_lost, "{compared} codes were compared");
    let rows = challenge::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.attempts).sum::<i64>(), 5);
}

/// Returns how many ceremonies were redeemed.
async fn redeemed(app: &TestApp) -> u64 {
    redeemed_ceremony::Entity::find().count(app.app.db.read()).await.unwrap()
}

#[tokio::test]
async fn f01_one_of_fifty_log_ins_with_what_a_passkey_has_signed_succeeds() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    passkeys::enrol(&ada, &mut phone).await;
    let (ceremony, options) = app.begin_log_in().await;
    let credential = phone.sign(ORIGIN, &options).await;
    let ((sessions, _), ceremonies) = (used(&app).await, redeemed(&app).await);
    race(&app, &[(401, "invalid_challenge")], async |at, _| at.present(&ceremony, &credential).await).await;
    assert_eq!((used(&app).await.0, redeemed(&app).await), (sessions + 1, ceremonies + 1));
}

#[tokio::test]
async fn f01_what_a_passkey_has_signed_completes_one_of_fifty_log_ins() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    passkeys::enrol(&ada, &mut phone).await;
    let challenges = challenges(&app).await;
    let options = app.anonymous().post("/v1/passkeys/options", json!({ "challenge": challenges[0] })).await;
    let (ceremony, options) = begun(options);
    let factor = passkey(&ceremony, &phone.sign(ORIGIN, &options).await);
    let (sessions, completed) = used(&app).await;
    race(&app, &[(401, "wrong_factor")], async |at, number| at.complete(&challenges[number], &factor).await).await;
    assert_eq!(used(&app).await, (sessions + 1, completed + 1));
}

#[tokio::test]
async fn f01_one_of_fifty_proofs_of_presence_with_what_a_passkey_has_signed_succeeds() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let token = passkeys::enrol(&ada, &mut phone).await["tokens"]["access_token"].as_str().unwrap().to_owned();
    let (ceremony, options) = begun(app.bearer(&token).post("/v1/me/authentication/options", json!({})).await);
    let proof = json!({ "factor": passkey(&ceremony, &phone.sign(ORIGIN, &options).await) });
    let send = async |at: &TestApp, _| at.bearer(&token).post("/v1/me/authentication", proof.clone()).await;
    race(&app, &[(401, "wrong_factor")], send).await;
    app.event("session.authenticated_again").await;
}

#[tokio::test]
async fn f01_one_of_fifty_requests_adds_the_passkey_and_shows_the_codes() {
    let app = TestApp::with_passkeys().await;
    let (ada, mut phone) = (app.user("ada").await, PasskeyDevice::default());
    let (ceremony, options) = begun(ada.post("/v1/me/factors/passkey/options", json!({})).await);
    let made = json!({ "ceremony": ceremony, "credential": phone.make(ORIGIN, &options).await });
    let send = async |at: &TestApp, _| {
        let caller: Caller<'_> = at.bearer(ada.token.as_deref().unwrap());
        caller.post("/v1/me/factors/passkey", made.clone()).await
    };
    race(&app, &[(422, "validation_failed"), (401, "stale_token")], send).await;
    assert_eq!(factor::Entity::find().count(app.app.db.read()).await.unwrap(), 1);
    app.event("account.recovery_codes_created").await;
    app.log_in_by(&mut phone).await.expect(201);
}

#[tokio::test]
async fn f01_no_two_of_fifty_log_ins_at_once_have_the_same_challenge() {
    let app = TestApp::start().await;
    app.owner("ada").await;
    let (succeeded, asked, _) = settle(&app, async |at, _| at.log_in("ada").await).await;
    assert!(succeeded.is_empty());
    let challenges: HashSet<_> = asked.iter().map(authenticator::challenge).collect();
    assert_eq!(challenges.len(), MANY);
}
