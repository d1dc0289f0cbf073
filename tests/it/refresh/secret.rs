//! A copy of the database is not sufficient to create a refresh token (row P10).

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait};
use vestibule::{entity::session, values::refresh_token::RefreshToken};

use crate::{assert_problem, support::TestApp};

#[tokio::test]
async fn p10_the_database_holds_no_refresh_token_and_no_two_sessions_share_a_secret() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.client("ada").await, app.client("grace").await);
    let rows = session::Entity::find().all(app.app.db.read()).await.unwrap();
    assert_ne!(rows[0].refresh_secret, rows[1].refresh_secret);
    assert!(rows.iter().all(|session| session.refresh_secret.len() == 32));
    for token in [ada.refresh, grace.refresh] {
        let token: vestibule::values::refresh_token::RefreshToken = token.parse().unwrap();
        assert!(rows.iter().all(|session| session.refresh_secret != token.mac));
    }
}

/// Returns the session's current refresh token as an attacker with only this key would write it.
fn forged(session: &session::Model, key: &[u8]) -> String {
    let message = RefreshToken::message(session.id, session.current);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &message);
    RefreshToken { session: session.id, serial: session.current, mac: mac.as_ref().try_into().unwrap() }.to_string()
}

#[tokio::test]
async fn p10_a_copy_of_the_database_is_not_enough_to_make_a_refresh_token() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let row = session::Entity::find().one(app.app.db.read()).await.unwrap().unwrap();
    assert_problem!(app.refresh(&forged(&row, &row.refresh_secret)).await, 401, "invalid_refresh_token");
    ada.refresh_and_lose().await.expect(200);
}

#[tokio::test]
async fn p10_a_refresh_token_is_void_when_its_sessions_secret_is_replaced() {
    let app = TestApp::start().await;
    let clients = [app.client("ada").await, app.client("grace").await];
    let tx = app.app.db.write().await.unwrap();
    let smallest = "SELECT refresh_secret FROM sessions ORDER BY refresh_secret LIMIT 1";
    tx.execute_unprepared(&format!("UPDATE sessions SET refresh_secret = ({smallest})")).await.unwrap();
    tx.commit().await.unwrap();
    let mut statuses = join_all(clients.iter().map(|client| async { client.refresh_and_lose().await.status })).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401], "one session has kept its secret");
}
