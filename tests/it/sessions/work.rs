//! The work of a log-in: limited, in the background, and the same for every refusal.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{WRONG, disable, hashed, log_in};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
};

#[tokio::test]
async fn log_ins_beyond_the_queue_are_rejected_and_do_not_slow_other_requests() {
    let app = TestApp::with_one_hashing_thread().await;
    let ada = app.user("ada").await;
    let rows = app.rows().await;
    let busy = app.fill_hashing_queue().await;
    for (identifier, password) in [("ada", PASSWORD), ("ada", WRONG), ("nobody", PASSWORD)] {
        let answer = assert_problem!(log_in(&app, identifier, password).await, 503, "overloaded");
        assert_eq!(answer.header("retry-after"), "2");
    }
    assert_eq!(app.rows().await, rows, "nothing was attempted");
    ada.get("/v1/me").await.expect(200);
    ada.patch("/v1/me", json!({ "name": "Ada" })).await.expect(200);
    drop(busy);
    app.until_idle().await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_password_is_not_hashed_after_its_client_disconnects() {
    let app = TestApp::with_one_hashing_thread().await;
    app.register("ada").await;
    let (rows, hold) = (app.rows().await, app.hold_hashing().await);
    tokio::select! {
        biased;
        answer = log_in(&app, "ada", PASSWORD) => panic!("{answer:?}"),
        () = app.until_waiting(1) => {}
    }
    drop(hold);
    app.until_idle().await;
    app.app.passwords.pool.run(|_| async {}).await.unwrap(); // the earlier jobs are done by now
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn a_log_in_is_rejected_at_once_if_no_log_in_may_wait() {
    let app = TestApp::start_with(|settings| {
        settings.password.hash_threads = Some(1);
        settings.password.lanes = 1;
        settings.password.max_wait = Duration::ZERO;
    })
    .await;
    app.register("ada").await;
    app.until_free().await;
    let hold = app.hold_hashing().await;
    let answer = assert_problem!(log_in(&app, "ada", PASSWORD).await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    drop(hold);
    app.until_free().await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
}

/// Returns the processor time that the only hashing thread has used.
async fn hashing_time(app: &TestApp) -> Duration {
    let thread_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let time = app.app.passwords.pool.run(move |_| async move { thread_time() }).await.unwrap();
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Work is measured in processor time of the hashing thread, so a busy machine does not disturb; the minimum of many runs is
/// the work itself. Missing or additional work differs by a factor of at least two.
#[tokio::test]
async fn p03_every_refusal_costs_the_same_work() {
    let app = TestApp::start_with(|settings| {
        settings.password.hash_threads = Some(1);
        settings.password.bcrypt_cost = 7;
    })
    .await;
    app.register("ada").await;
    let (cheap, dear, garbage, disabled) =
        (app.register("cheap").await, app.register("dear").await, app.register("garbage").await, app.register("disabled").await);
    app.set_hash(cheap, hashed(&app, 4).await).await;
    app.set_hash(dear, hashed(&app, 8).await).await;
    app.write_hash(garbage, "garbage").await;
    disable(&app, disabled).await;
    // Another process made the `dear` hash. This process learns of its cost when it reads the hash, at the start or here.
    assert_problem!(log_in(&app, "dear", WRONG).await, 401, "invalid_credentials");

    let mut least = BTreeMap::new();
    for _ in 0..12 {
        for identifier in ["nobody", "@", "ada", "cheap", "dear", "garbage", "disabled"] {
            let before = hashing_time(&app).await;
            assert_problem!(log_in(&app, identifier, WRONG).await, 401, "invalid_credentials");
            let took = hashing_time(&app).await.saturating_sub(before);
            let known = least.entry(identifier).or_insert(took);
            *known = took.min(*known);
        }
    }
    app.empty_users().await;
    for _ in 0..12 {
        let before = hashing_time(&app).await;
        assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
        let took = hashing_time(&app).await.saturating_sub(before);
        let known = least.entry("of an empty table").or_insert(took);
        *known = took.min(*known);
    }
    let (shortest, longest) = (least.values().min().unwrap(), least.values().max().unwrap());
    assert!(longest.as_secs_f64() < 1.6 * shortest.as_secs_f64(), "{least:#?}");
}
