//! The stored hash at log-in: a hash of another cost is upgraded, and an invalid one matches no password (row P07).

use serde_json::json;

use super::{WRONG, hashed, log_in};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp},
};

#[tokio::test]
async fn p07_a_hash_of_another_cost_is_upgraded_at_log_in() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    for cost in [5, 6] {
        let stored = hashed(&app, cost).await;
        app.set_hash(id, stored.clone()).await;
        assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
        assert_eq!(app.row(id).await.password_hash, Some(stored), "a failed log-in upgrades nothing");
        log_in(&app, "ada", PASSWORD).await.expect(201);
        let upgraded = app.row(id).await.password_hash.unwrap();
        assert_eq!(upgraded.bcrypt().map(|hash| hash.cost), Some(4));
        log_in(&app, "ada", PASSWORD).await.expect(201);
        assert_eq!(app.row(id).await.password_hash, Some(upgraded), "the hash is upgraded once");
    }
}

#[tokio::test]
async fn p07_an_invalid_stored_hash_matches_no_password() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    let good = format!("hs384:{}", app.row(id).await.password_hash.unwrap().bcrypt().unwrap());
    let salt_and_hash = &good["hs384:$2b$04$".len()..];
    let mut garbage: Vec<String> =
        ["", " ", PASSWORD, "hs384:", "hs384:$", "hs384:$2b$", "hs384:$2b$04$", "hs384:$2b$04$short"].map(str::to_owned).to_vec();
    garbage.extend(
        ["03", "00", "17", "31", "99", "-4", "+4", "4", "4294967300", "é"]
            .map(|cost| format!("hs384:$2b${cost}${salt_and_hash}")),
    );
    garbage.extend([
        good["hs384:".len()..].to_owned(),
        format!("HS384:{}", &good[6..]),
        format!("{good}A"),
        good[..good.len() - 1].to_owned(),
        format!("hs384:$2b$04${}", "!".repeat(53)),
        format!("hs384:$2b$04${}", "é".repeat(26) + "a"),
        format!("hs384:$2b$04${}é{}", "a".repeat(21), "a".repeat(30)),
    ]);
    for hash in garbage {
        app.write_hash(id, &hash).await;
        assert_problem!(log_in(&app, "ada", PASSWORD).await, 401, "invalid_credentials");
        let change = json!({ "current_password": PASSWORD, "new_password": "another horse battery staple" });
        let answer = assert_problem!(ada.put("/v1/me/password", change).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/current_password", "wrong_password")], "{hash}");
    }
    app.write_hash(id, &good).await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn p07_concurrent_log_ins_all_succeed_while_one_upgrades_the_hash() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    app.set_hash(id, hashed(&app, 5).await).await;
    let all = futures_util::future::join_all((0..3).map(|_| log_in(&app, "ada", PASSWORD))).await;
    assert!(all.iter().all(|answer| answer.status == 201), "{all:?}");
}
