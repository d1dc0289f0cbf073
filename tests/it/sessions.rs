//! Log-in: who gets in, what they get, and what those learn who do not.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use vestibule::{
    app::App,
    domain::{
        administration::{self, By, Change},
        credentials,
    },
    entity::user::Status,
    values::{ids::UserId, password_hash::PasswordHash},
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer},
};

const WRONG: &str = "wrong horse battery staple";

async fn log_in(app: &TestApp, identifier: &str, password: &str) -> Answer {
    app.nobody().post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await
}

async fn disable(app: &TestApp, id: UserId) {
    set_status(app, id, Status::Disabled).await;
}

async fn set_status(app: &TestApp, id: UserId, status: Status) {
    let change = Change { status: Some(status), ..Change::default() };
    administration::update(&app.app, By::Operator, id, change, None).await.unwrap();
}

/// What `PASSWORD` hashes to at this cost, under this app's pepper: another process on the same database.
async fn hashed(app: &TestApp, cost: u32) -> PasswordHash {
    let mut settings = app.app.settings.clone();
    settings.password.bcrypt_cost = cost;
    let other = App::open(settings, app.app.clock.clone()).await.unwrap();
    credentials::hash(&other, &PASSWORD.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_address_or_a_username_and_the_password_begin_a_session() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    for identifier in ["ada", "ADA", "ada@example.org", "Ada@Example.org"] {
        let answer = log_in(&app, identifier, PASSWORD).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        let tokens = answer.expect(201);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], 900);
        assert_eq!(tokens["refresh_expires_in"], 30 * 24 * 3600);
        let token = app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/token").await.expect(200);
        assert_eq!(token["subject"], id.to_string());
        assert_eq!(token["session_id"], tokens["session_id"]);
    }
    assert_eq!(app.rows().await["sessions"], 4);
}

#[tokio::test]
async fn a_token_says_whose_it_is_and_what_its_roles_grant() {
    let app = TestApp::start().await;
    let ada = app.holding("ada", &["users:read", "billing:refund"]).await;
    let token = ada.get("/v1/token").await.expect(200);
    let expected = json!({
        "subject": token["subject"], "session_id": token["session_id"], "client_id": "vestibule",
        "roles": ["role-ada"], "permissions": ["billing:refund", "users:read"],
        "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-01T00:15:00.000000Z",
    });
    assert_eq!(token, expected);
    let token = app.admin().await.get("/v1/token").await.expect(200);
    assert_eq!(token["roles"], json!(["admin", "user"]));
    assert!(token["permissions"].as_array().unwrap().contains(&json!("billing:refund")), "an administrator holds everything");
    let token = app.user("grace").await.get("/v1/token").await.expect(200);
    assert_eq!((&token["roles"], &token["permissions"]), (&json!(["user"]), &json!([])));
}

#[tokio::test]
async fn a_log_in_shows_in_the_account_and_in_the_trail() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    app.clock.advance(Duration::from_secs(1));
    let answer = log_in(&app, "ada", PASSWORD).await;
    let request_id = answer.header("x-request-id").to_owned();
    let tokens = answer.expect(201);
    let me = app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/me").await.expect(200);
    assert!(me["last_login_at"].as_str().unwrap().starts_with("2026-01-01T00:00:01"));
    assert_eq!(me["updated_at"], me["created_at"], "who logs in changes nothing else");
    let event = app.event("session.logged_in").await;
    assert_eq!((event.actor_id, event.actor_name.as_deref()), (Some(id), Some("ada")));
    assert_eq!(event.session_id.unwrap().to_string(), tokens["session_id"]);
    assert_eq!(event.request_id.unwrap().to_string(), request_id);
    let trail = format!("{:?}", app.events().await);
    assert!(!trail.contains(PASSWORD) && !trail.contains(tokens["access_token"].as_str().unwrap()));
}

#[tokio::test]
async fn a_failed_log_in_leaves_a_trace_that_never_holds_what_was_typed() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
    let event = app.event("session.log_in_failed").await;
    assert_eq!((event.actor_id, event.subject_id.as_deref()), (None, Some(id.to_string().as_str())));
    assert!(event.request_id.is_some());
    // People type their password into the first field.
    assert_problem!(log_in(&app, WRONG, "grace").await, 401, "invalid_credentials");
    let trail = format!("{:?}", app.events().await);
    assert!(trail.matches("session.log_in_failed").count() == 2 && !trail.contains(WRONG));
}

#[tokio::test]
async fn bad_members_are_named_at_once() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    let faults = |body: Value| {
        let nobody = app.nobody();
        async move { assert_problem!(nobody.post("/v1/sessions", body).await, 422, "validation_failed") }
    };
    assert_eq!(faults(json!({})).await.faults(), [("/identifier", "required"), ("/password", "required")]);
    assert_eq!(
        faults(json!({ "identifier": 1, "password": null, "transport": "pigeon", "otp": "1" })).await.faults(),
        [("/identifier", "type"), ("/otp", "unknown_member"), ("/password", "type"), ("/transport", "not_allowed")]
    );
    assert_eq!(
        faults(json!({ "identifier": "a\0", "password": "b\0" })).await.faults(),
        [("/identifier", "not_allowed"), ("/password", "not_allowed")]
    );
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p03_who_does_not_get_in_learns_nothing_about_the_account() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let disabled = app.register("eve").await;
    disable(&app, disabled).await;
    let without_password = app.register("grace").await;
    app.write_hash(without_password, "").await;

    let mut seen = Vec::new();
    for (identifier, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("no such name!", PASSWORD),
        ("@", PASSWORD),
        ("ada", WRONG),
        ("ada@example.org", WRONG),
        ("eve", WRONG),
        ("grace", PASSWORD),
    ] {
        let mut answer = assert_problem!(log_in(&app, identifier, password).await, 401, "invalid_credentials");
        answer.body.as_object_mut().unwrap().remove("request_id");
        answer.headers.remove("x-request-id");
        let headers: BTreeMap<_, _> =
            answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        seen.push((answer.status, answer.body, headers));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn only_who_knows_the_password_learns_that_an_account_is_disabled() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    disable(&app, id).await;
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    let sessions = app.rows().await["sessions"];
    assert_problem!(log_in(&app, "ada", PASSWORD).await, 403, "account_disabled");
    assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], sessions);
    set_status(&app, id, Status::Active).await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn p07_a_hash_of_another_cost_is_upgraded_at_log_in() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    for cost in [5, 6] {
        let stored = hashed(&app, cost).await;
        app.set_hash(id, stored.clone()).await;
        assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
        assert_eq!(app.row(id).await.password_hash, Some(stored), "who does not get in upgrades nothing");
        log_in(&app, "ada", PASSWORD).await.expect(201);
        let upgraded = app.row(id).await.password_hash.unwrap();
        assert_eq!(upgraded.bcrypt().map(|(cost, _)| cost), Some(4));
        log_in(&app, "ada", PASSWORD).await.expect(201);
        assert_eq!(app.row(id).await.password_hash, Some(upgraded), "once is enough");
    }
}

#[tokio::test]
async fn p07_garbage_where_a_hash_should_stand_lets_nobody_in() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    let good = format!("hs384:{}", app.row(id).await.password_hash.unwrap().bcrypt().unwrap().1);
    let salt_and_hash = &good["hs384:$2b$04$".len()..];
    let mut garbage: Vec<String> =
        ["", " ", PASSWORD, "hs384:", "hs384:$", "hs384:$2b$", "hs384:$2b$04$", "hs384:$2b$04$short"].map(str::to_owned).to_vec();
    garbage.extend(
        ["03", "00", "17", "31", "99", "-4", "+4", "4", "4294967300", "é"].map(|it| format!("hs384:$2b${it}${salt_and_hash}")),
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

/// The log-in waits for its hash while `change` happens.
async fn log_in_during<F: Future<Output = ()>>(app: &TestApp, change: F) -> Answer {
    let hold = app.hold_hasher().await;
    let change = async {
        app.until_waiting(1).await; // the account has been read
        change.await;
        drop(hold);
    };
    tokio::join!(log_in(app, "ada", PASSWORD), change).0
}

#[tokio::test]
async fn an_account_disabled_while_its_password_is_hashed_stays_out() {
    let app = TestApp::with_one_hasher().await;
    let id = app.register("ada").await;
    let answer = log_in_during(&app, Box::pin(disable(&app, id))).await;
    assert_problem!(answer, 403, "account_disabled");
    assert_eq!(app.rows().await["sessions"], 0);
    assert_eq!(app.row(id).await.last_login_at, None);
}

#[tokio::test]
async fn a_password_set_while_the_old_one_is_hashed_wins() {
    let app = TestApp::with_one_hasher().await;
    let id = app.register("ada").await;
    let other = credentials::hash(&app.app, &"another horse battery staple".parse().unwrap()).await.unwrap();
    let answer = log_in_during(&app, app.set_hash(id, other)).await;
    assert_problem!(answer, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn an_account_closed_while_its_password_is_hashed_stays_closed() {
    let app = TestApp::with_one_hasher().await;
    let id = app.register("ada").await;
    let delete = async { administration::delete(&app.app, By::Operator, id).await.unwrap() };
    assert_problem!(log_in_during(&app, Box::pin(delete)).await, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn an_upgrade_never_overwrites_a_password_set_meanwhile() {
    let app = TestApp::with_one_hasher().await;
    let id = app.register("ada").await;
    app.set_hash(id, hashed(&app, 5).await).await;
    let new = credentials::hash(&app.app, &"another horse battery staple".parse().unwrap()).await.unwrap();
    let answer = log_in_during(&app, app.set_hash(id, new.clone())).await;
    assert_problem!(answer, 401, "invalid_credentials");
    assert_eq!(app.row(id).await.password_hash, Some(new));
}

#[tokio::test]
async fn a_storm_of_log_ins_is_shed_and_slows_nobody_else() {
    let app = TestApp::with_one_hasher().await;
    let ada = app.user("ada").await;
    let rows = app.rows().await;
    let busy = app.fill_hasher().await;
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
async fn whoever_hangs_up_is_not_hashed_for() {
    let app = TestApp::with_one_hasher().await;
    app.register("ada").await;
    let (rows, hold) = (app.rows().await, app.hold_hasher().await);
    tokio::select! {
        biased;
        answer = log_in(&app, "ada", PASSWORD) => panic!("{answer:?}"),
        () = app.until_waiting(1) => {}
    }
    drop(hold);
    app.until_idle().await;
    app.app.passwords.pool.run(|| ()).await.unwrap(); // whatever was before this is done
    assert_eq!(app.rows().await, rows);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn hashing_yields_to_requests() {
    let app = TestApp::start().await;
    let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
    assert_eq!((app.app.passwords.pool.run(nice).await.unwrap(), nice()), (5, 0));
}

#[tokio::test]
async fn nobody_waits_for_a_hash_where_nobody_may() {
    let app = TestApp::start_with(|settings| {
        settings.password.hash_threads = Some(1);
        settings.password.max_wait = Duration::ZERO;
    })
    .await;
    app.register("ada").await;
    app.until_free().await;
    let hold = app.hold_hasher().await;
    let answer = assert_problem!(log_in(&app, "ada", PASSWORD).await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    drop(hold);
    app.until_free().await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
}

/// The processor time that the one hashing thread has used.
async fn hashing_time(app: &TestApp) -> Duration {
    let thread_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let time = app.app.passwords.pool.run(thread_time).await.unwrap();
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Work is counted in processor time of the thread that does it, so a busy machine does not disturb; the least of many
/// runs is the work itself. Whatever is missing or too much makes at least a factor of two.
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
    // Another process made the dear one: this one learns of it when it meets it, at a start or here.
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

#[tokio::test]
async fn a_right_password_that_comes_twice_at_once_begins_two_sessions() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let both = tokio::join!(log_in(&app, "ada", PASSWORD), log_in(&app, "ada", PASSWORD));
    assert_ne!(both.0.expect(201)["session_id"], both.1.expect(201)["session_id"]);
    assert_eq!(app.rows().await["sessions"], 2);
}

#[tokio::test]
async fn t07_a_token_lives_no_longer_than_its_session_unused() {
    let app = TestApp::start_with(|settings| settings.sessions.idle_ttl = Duration::from_mins(1)).await;
    let (admin, id) = (app.admin().await, app.register("ada").await);
    let begun = app.nobody().post("/v1/sessions", json!({ "identifier": "ada", "password": PASSWORD })).await.expect(201);
    assert_eq!(begun["expires_in"], 60);
    let ada = app.bearer(begun["access_token"].as_str().unwrap());
    app.clock.advance(Duration::from_secs(59));
    // Making room takes nothing away that ending the session would have to revoke.
    vestibule::domain::sessions::purge(&app.app, app.trusted().await).await.unwrap();
    admin.delete(&format!("/v1/users/{id}/sessions"), json!(null)).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    app.clock.advance(Duration::from_secs(1));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
}

#[tokio::test]
async fn p07_log_ins_at_once_all_get_in_while_one_of_them_upgrades_the_hash() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    app.set_hash(id, hashed(&app, 5).await).await;
    let all = futures_util::future::join_all((0..3).map(|_| log_in(&app, "ada", PASSWORD))).await;
    assert!(all.iter().all(|it| it.status == 201), "{all:?}");
}
