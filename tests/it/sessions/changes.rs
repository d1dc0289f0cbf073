//! An account changes while its password is being hashed: the change has priority.

use vestibule::domain::{authority::By, credentials, users};

use super::{disable, hashed, log_in};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer},
};

/// Logs in, and runs `change` while the log-in waits for its hash.
async fn log_in_during<F: Future<Output = ()>>(app: &TestApp, change: F) -> Answer {
    let hold = app.hold_hashing().await;
    let change = async {
        app.until_waiting(1).await; // the account has been read
        change.await;
        drop(hold);
    };
    tokio::join!(log_in(app, "ada", PASSWORD), change).0
}

#[tokio::test]
async fn an_account_disabled_while_its_password_is_hashed_cannot_log_in() {
    let app = TestApp::with_one_hashing_thread().await;
    let id = app.register("ada").await;
    let answer = log_in_during(&app, Box::pin(disable(&app, id))).await;
    assert_problem!(answer, 403, "account_disabled");
    assert_eq!(app.rows().await["sessions"], 0);
    assert_eq!(app.row(id).await.last_login_at, None);
}

#[tokio::test]
async fn a_password_set_while_the_old_one_is_hashed_wins() {
    let app = TestApp::with_one_hashing_thread().await;
    let id = app.register("ada").await;
    let other = credentials::hash(&app.app, &"another horse battery staple".parse().unwrap()).await.unwrap();
    let answer = log_in_during(&app, app.set_hash(id, other)).await;
    assert_problem!(answer, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn an_account_closed_while_its_password_is_hashed_stays_closed() {
    let app = TestApp::with_one_hashing_thread().await;
    let id = app.register("ada").await;
    let delete = async { users::delete(&app.app, By::Operator, id).await.unwrap() };
    assert_problem!(log_in_during(&app, Box::pin(delete)).await, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn an_upgrade_never_overwrites_a_password_set_meanwhile() {
    let app = TestApp::with_one_hashing_thread().await;
    let id = app.register("ada").await;
    app.set_hash(id, hashed(&app, 5).await).await;
    let new = credentials::hash(&app.app, &"another horse battery staple".parse().unwrap()).await.unwrap();
    let answer = log_in_during(&app, app.set_hash(id, new.clone())).await;
    assert_problem!(answer, 401, "invalid_credentials");
    assert_eq!(app.row(id).await.password_hash, Some(new));
}
