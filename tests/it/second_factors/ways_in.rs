//! Every way in, to accounts with and without factors, under every policy: whether a session opens, and what it says of itself
//! (row F02). What the session may do under the policy is tested in `assurance.rs`.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule::values::second_factor_policy::SecondFactorPolicy as Policy;

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        authenticator::{Authenticator, Owner, STEP, challenge, recovery_code, totp},
        caller::Answer,
    },
};

/// How a user logs in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Password,
    Totp,
    RecoveryCode,
}

/// What an account holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Nothing,
    Totp,
    TotpWithoutCodes,
}

async fn log_in(app: &TestApp, way: Way, factor: impl FnOnce() -> Value) -> Answer {
    let asked = app.log_in("ada").await;
    if way == Way::Password || asked.status == 201 {
        return asked;
    }
    app.complete(&challenge(&asked), &factor()).await
}

/// Creates the account `ada`, an administrator of something.
async fn account(app: &TestApp, held: Held) -> Option<Owner<'_>> {
    let id = match held {
        Held::Nothing => {
            app.create("ada").await;
            None
        }
        _ => Some(app.owner("ada").await),
    };
    if let Some(owner) = &id
        && held == Held::TotpWithoutCodes
    {
        for code in &owner.recovery_codes {
            app.log_in_with("ada", &recovery_code(code)).await;
        }
    }
    id
}

#[tokio::test]
async fn f02_whatever_the_way_in_and_the_policy_a_log_in_needs_the_factor_that_the_account_holds() {
    for held in [Held::Nothing, Held::Totp, Held::TotpWithoutCodes] {
        let lenient = TestApp::start().await;
        let owner = account(&lenient, held).await;
        for policy in [Policy::None, Policy::Administrators, Policy::Everyone] {
            let app = lenient.replica_with(|settings| settings.second_factor.require = policy).await;
            app.clock.advance(Duration::from_secs(STEP));
            for way in [Way::Password, Way::Totp, Way::RecoveryCode] {
                let factor = || match (&owner, way) {
                    (Some(owner), Way::Totp) => owner.authenticator.factor(),
                    (Some(owner), _) => recovery_code(&owner.recovery_codes[policy as usize]),
                    (None, _) => totp("000000"),
                };
                let answer = log_in(&app, way, factor).await;
                let case = format!("{held:?} {policy:?} {way:?}: {:#}", answer.body);
                let expected = match (held, way) {
                    (Held::Nothing, _) => Ok(("1", json!(["pwd"]))),
                    (_, Way::Password) => Err("second_factor_required"),
                    (Held::TotpWithoutCodes, Way::RecoveryCode) => Err("wrong_factor"),
                    _ => Ok(("2", json!(["pwd", "otp", "mfa"]))),
                };
                match expected {
                    Err(code) => {
                        assert_eq!(answer.problem(), (401, code), "{case}");
                        assert!(answer.body["access_token"].is_null() && !answer.headers.contains_key("set-cookie"), "{case}");
                    }
                    Ok((acr, amr)) => {
                        assert_eq!(answer.status, 201, "{case}");
                        let caller = app.bearer(answer.body["access_token"].as_str().unwrap());
                        let token = caller.get("/v1/token").await.expect(200);
                        assert_eq!((&token["acr"], &token["amr"]), (&json!(acr), &amr), "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_factor_proves_presence_again_and_raises_a_session() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let before = app.anonymous().log_in("ada", PASSWORD).await;
    let tokens = app.log_in("ada").await.expect(201);
    let (caller, authenticator, enrolled) = crate::support::authenticator::enrol(&before).await;
    // The other session goes on with one factor, after a refresh.
    let refreshed = app.refresh(tokens["refresh_token"].as_str().unwrap()).await.expect(200);
    let other = app.bearer(refreshed["access_token"].as_str().unwrap());
    assert_eq!(other.get("/v1/token").await.expect(200)["acr"], "1");
    assert_problem!(other.post("/v1/me/factors/totp", json!({})).await, 401, "insufficient_user_authentication");
    let again = async |factor: Value| other.post("/v1/me/authentication", json!({ "factor": factor })).await;
    assert_problem!(again(json!({ "kind": "password", "password": PASSWORD })).await, 401, "wrong_factor");
    assert_problem!(again(authenticator.factor()).await, 401, "wrong_factor");
    let code = recovery_code(enrolled["recovery_codes"][0].as_str().unwrap());
    let raised = again(code.clone()).await.expect(200);
    assert_eq!((&raised["session_id"], &raised["refresh_token"]), (&refreshed["session_id"], &Value::Null));
    assert_problem!(again(code).await, 401, "wrong_factor");
    let other = app.bearer(raised["access_token"].as_str().unwrap());
    assert_eq!(other.get("/v1/token").await.expect(200)["amr"], json!(["pwd", "otp", "mfa"]));
    other.post("/v1/me/factors/totp", json!({})).await.expect(201);
    drop(caller);
}

#[tokio::test]
async fn removing_the_factor_that_has_raised_a_session_ends_it() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let ada = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[0])).await;
    let raised = ada.post("/v1/me/authentication", json!({ "factor": owner.authenticator.factor() })).await.expect(200);
    let raised = app.bearer(raised["access_token"].as_str().unwrap());
    let unraised = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[1])).await;
    unraised.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    assert_problem!(raised.get("/v1/me").await, 401, "session_ended");
    assert_problem!(unraised.get("/v1/me").await, 401, "stale_token");
}

#[tokio::test]
async fn a_factor_that_the_policy_demands_cannot_be_removed() {
    for (policy, is_administrator, refused) in [
        (Policy::None, true, false),
        (Policy::Administrators, false, false),
        (Policy::Administrators, true, true),
        (Policy::Everyone, false, true),
    ] {
        let app = TestApp::start().await;
        let (caller, authenticator): (_, Authenticator) = if is_administrator {
            let (caller, authenticator, _) = crate::support::authenticator::enrol(&app.admin().await).await;
            (caller, authenticator)
        } else {
            let owner = app.owner("ada").await;
            (owner.caller, owner.authenticator)
        };
        let strict = app.replica_with(|settings| settings.second_factor.require = policy).await;
        let caller = strict.bearer(caller.token.as_deref().unwrap());
        let (second, other, _) = crate::support::authenticator::enrol(&caller).await;
        // One of two can go.
        second.delete(&format!("/v1/me/factors/{}", authenticator.id), json!(null)).await.expect(204);
        app.clock.advance(std::time::Duration::from_mins(1));
        let name = if is_administrator { "admin" } else { "ada" };
        let password = if is_administrator { app.admin_password() } else { PASSWORD };
        let asked = strict.anonymous().post("/v1/sessions", json!({ "identifier": name, "password": password })).await;
        let tokens = strict.complete(&challenge(&asked), &other.factor()).await.expect(201);
        let caller = strict.bearer(tokens["access_token"].as_str().unwrap());
        let last = caller.delete(&format!("/v1/me/factors/{}", other.id), json!(null)).await;
        if refused {
            assert_problem!(last, 409, "factor_required");
        } else {
            last.expect(204);
        }
    }
}
