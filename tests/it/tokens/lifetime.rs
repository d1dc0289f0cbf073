//! The lifetime of a token: when it begins and when it ends.

use serde_json::json;

use super::{forger::Forger, with};

use crate::{assert_problem, support::TestApp};

#[tokio::test]
async fn t08_a_token_lives_for_60_minutes_at_most() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    let living = |iat: i64, exp: i64| forger.claims(&with(&with(&forger.claims, "iat", json!(iat)), "exp", json!(exp)));
    forger.assert_accepted("60 minutes", &living(iat, iat + 3_600)).await;
    forger.assert_accepted("1 second", &living(iat, iat + 1)).await;
    for exp in [iat + 3_601, iat + 86_400, i64::MAX, iat, iat - 1, 0, -1, i64::MIN] {
        forger.assert_refused(&format!("until {exp}"), &living(iat, exp)).await;
    }
    for (iat, exp) in [(i64::MIN, i64::MAX), (-1, i64::MAX), (i64::MIN, 0), (i64::MAX - 1, i64::MAX)] {
        forger.assert_refused(&format!("{iat} to {exp}"), &living(iat, exp)).await;
    }
}

#[tokio::test]
async fn t08_a_token_dated_more_than_5_s_ahead_is_refused() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    let at = |iat: i64| forger.claims(&with(&with(&forger.claims, "iat", json!(iat)), "exp", json!(iat + 900)));
    forger.assert_accepted("5 s ahead", &at(iat + 5)).await;
    forger.assert_refused("6 s ahead", &at(iat + 6)).await;
    forger.assert_refused("a year ahead", &at(iat + 31_536_000)).await;
}

#[tokio::test]
async fn t08_a_token_is_valid_from_5_s_before_its_nbf() {
    let forger = Forger::start().await;
    let iat = forger.claims["iat"].as_i64().unwrap();
    for nbf in [json!(iat), json!(iat - 3_600), json!(0), json!(-1), json!(iat + 5), json!(0.5)] {
        forger.assert_accepted(&format!("from {nbf}"), &forger.claim("nbf", nbf.clone())).await;
    }
    let future = [json!(iat + 6), json!(iat + 3_600), json!(i64::MAX), json!(u64::MAX), json!(1e300)];
    let no_number = [json!(null), json!(iat.to_string()), json!(""), json!(true), json!([iat]), json!({})];
    for nbf in future.iter().chain(&no_number) {
        forger.assert_refused(&format!("from {nbf}"), &forger.claim("nbf", nbf.clone())).await;
    }
}

#[tokio::test]
async fn t08_a_token_is_refused_from_the_second_it_expires() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    app.clock.advance(std::time::Duration::from_secs(15 * 60 - 1));
    ada.get("/v1/me").await.expect(200);
    app.clock.advance(std::time::Duration::from_secs(1));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    // A token that was never verified before is refused too.
    let (forger, second) = (Forger::start().await, std::time::Duration::from_secs(1));
    let unseen = forger.app.bearer(&forger.claim("epoch", forger.claims["epoch"].clone())).clone();
    forger.app.clock.advance(second * 900);
    assert_problem!(unseen.get("/v1/me").await, 401, "expired_token");
}
