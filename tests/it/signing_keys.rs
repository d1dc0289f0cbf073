//! Signing keys turn over without anybody noticing, and one that is revoked is trusted nowhere (row T12).

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::{Body, http::Method};
use rstest::rstest;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel, PaginatorTrait};
use serde_json::{Value, json};
use vestibule::{
    config::{self, Algorithm, Settings},
    domain::{revocations, signing_keys},
    entity::signing_key,
    live::seal::Sealer,
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, clock::minutes},
};

const DAY: u64 = 24 * 60;

/// The key that signed a caller's token.
fn kid(caller: &Caller<'_>) -> String {
    let header = caller.token.as_deref().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

async fn published(app: &TestApp) -> BTreeSet<String> {
    let set = app.nobody().get("/.well-known/jwks.json").await.expect(200);
    let kids: Vec<_> = set["keys"].as_array().unwrap().iter().map(|it| it["kid"].as_str().unwrap().to_owned()).collect();
    let unique: BTreeSet<_> = kids.iter().cloned().collect();
    assert_eq!(unique.len(), kids.len(), "a kid is there twice: {kids:?}");
    unique
}

/// The keys that an administrator sees: id and status.
async fn listed(app: &TestApp) -> Vec<(String, String)> {
    let page = app.admin().await.get("/v1/signing-keys").await.expect(200);
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(|it| (text(it, "kid"), text(it, "status"))).collect()
}

async fn statuses(app: &TestApp) -> Vec<String> {
    listed(app).await.into_iter().map(|(_, status)| status).collect()
}

async fn rotate(app: &TestApp) -> String {
    let key = app.admin().await.post("/v1/signing-keys", Value::Null).await.expect(201);
    assert_eq!(key["status"], "next");
    key["kid"].as_str().unwrap().to_owned()
}

async fn revoke(app: &TestApp, kid: &str) {
    app.admin().await.delete(&format!("/v1/signing-keys/{kid}"), Value::Null).await.expect(204);
}

async fn ada(app: &TestApp) -> Caller<'_> {
    app.nobody().log_in("ada", PASSWORD).await
}

fn signing(algorithm: Algorithm) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.signing.algorithm = algorithm;
        settings.signing.secret = (algorithm == Algorithm::Hs256).then(|| "thirty-two bytes, or a few more, for tests".into());
    }
}

#[rstest]
#[case(Algorithm::EdDsa)]
#[case(Algorithm::Es256)]
#[case(Algorithm::Rs256)]
#[tokio::test]
async fn t12_a_new_key_is_published_before_it_signs_and_an_old_one_kept_until_its_tokens_are_dead(#[case] algorithm: Algorithm) {
    let app = TestApp::start_with(signing(algorithm)).await;
    app.register("ada").await;
    let old = kid(&ada(&app).await);
    let new = rotate(&app).await;
    assert_ne!(old, new);
    assert_eq!(published(&app).await, [old.clone(), new.clone()].into());

    // Some verifiers keep a key set that they read a moment before for ten minutes.
    for _ in 0..19 {
        app.clock.advance(minutes(1));
        assert_eq!(kid(&ada(&app).await), old);
    }
    let last = ada(&app).await;
    app.clock.advance(minutes(1));
    let first = ada(&app).await;
    assert_eq!(kid(&first), new);
    assert_eq!(listed(&app).await, [(new.clone(), "active".into()), (old.clone(), "retiring".into())]);
    last.get("/v1/me").await.expect(200);
    first.get("/v1/me").await.expect(200);

    app.clock.advance(minutes(60));
    assert_eq!(published(&app).await, [old.clone(), new.clone()].into(), "a token of an hour may be alive");
    app.clock.advance(minutes(1));
    assert_eq!(published(&app).await, [new.clone()].into());
    assert_eq!(listed(&app).await, [(new.clone(), "active".into())]);
    app.clock.advance(minutes(DAY));
    signing_keys::turn_over(&app.app).await.unwrap();
    assert_eq!(signing_key::Entity::find().count(app.app.db.read()).await.unwrap(), 1);
    ada(&app).await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn t12_the_key_set_is_cached_until_it_changes() {
    let app = TestApp::start().await;
    let tag = async || app.nobody().get("/.well-known/jwks.json").await.header("etag").to_owned();
    let known = async |tag: &str| {
        app.nobody().send(Method::GET, "/.well-known/jwks.json", &[("if-none-match", tag)], Body::empty()).await
    };
    let before = tag().await;
    let unchanged = known(&before).await;
    assert_eq!((unchanged.status, unchanged.header("cache-control")), (304, "public, max-age=300"));
    let next = rotate(&app).await;
    known(&before).await.expect(200);
    let both = tag().await;
    known(&both).await.expect(304);
    app.clock.advance(minutes(20));
    known(&both).await.expect(304);
    assert_eq!(app.replica().await.nobody().get("/.well-known/jwks.json").await.header("etag"), both);
    app.clock.advance(minutes(61));
    known(&both).await.expect(200);
    assert_eq!(published(&app).await, [next].into());
}

#[tokio::test]
async fn one_key_waits_at_a_time() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let key = admin.post("/v1/signing-keys", Value::Null).await.expect(201);
    assert_eq!(key["created_at"], "2026-01-01T00:00:00.000000Z");
    assert_eq!(key["activates_at"], "2026-01-01T00:20:00.000000Z");
    assert!(key.get("retires_at").is_none());
    assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 409, "rotation_pending");
    let retires_at = &admin.get("/v1/signing-keys").await.expect(200)["items"][1]["retires_at"];
    assert_eq!(*retires_at, "2026-01-01T01:21:00.000000Z");
    app.clock.advance(minutes(20));
    rotate(&app).await;
    assert_eq!(statuses(&app).await, ["next", "active", "retiring"]);
}

#[tokio::test]
async fn t12_an_old_key_is_followed_up_by_itself_and_by_one_replica_alone() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    here.register("ada").await;
    let old = kid(&ada(&here).await);
    here.clock.advance(minutes(90 * DAY - 1));
    signing_keys::turn_over(&here.app).await.unwrap();
    assert_eq!(statuses(&here).await, ["active"]);
    here.clock.advance(minutes(1));

    let turns = [&here, &there, &here, &there].map(|it| signing_keys::turn_over(&it.app));
    for turn in futures_util::future::join_all(turns).await {
        turn.unwrap();
    }
    assert_eq!(statuses(&here).await, ["next", "active"]);
    assert_eq!(published(&here).await, published(&there).await);
    assert_eq!((kid(&ada(&here).await), here.event("key.rotated").await.actor_id), (old.clone(), None));
    here.clock.advance(minutes(20));
    for app in [&here, &there] {
        signing_keys::turn_over(&app.app).await.unwrap();
        assert_ne!(kid(&ada(app).await), old, "nothing had to run for the switch");
    }
    assert_eq!(statuses(&here).await, ["active", "retiring"]);
}

#[tokio::test]
async fn t12_an_emergency_revocation_bites_at_once_here_and_elsewhere_after_one_poll() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    here.register("ada").await;
    here.clock.advance(minutes(1));
    let (before, admin) = (ada(&here).await, here.admin().await);
    revocations::follow(&there.app).await.unwrap();
    let before_there = there.bearer(before.token.as_deref().unwrap());
    before_there.get("/v1/me").await.expect(200);
    let revoked = kid(&before);

    // The administrator's own token goes with it, and the answer comes all the same.
    assert_eq!(kid(&admin), revoked);
    admin.delete(&format!("/v1/signing-keys/{revoked}"), Value::Null).await.expect(204);
    assert_problem!(before.get("/v1/me").await, 401, "invalid_token");
    assert_problem!(admin.get("/v1/me").await, 401, "invalid_token");
    let after = ada(&here).await;
    after.get("/v1/me").await.expect(200);
    assert_ne!(kid(&after), revoked);
    assert_eq!(published(&here).await, [kid(&after)].into());

    before_there.get("/v1/me").await.expect(200);
    revocations::follow(&there.app).await.unwrap();
    assert_problem!(before_there.get("/v1/me").await, 401, "invalid_token");
    there.bearer(after.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    assert_problem!(here.replica().await.bearer(&before.token.unwrap()).get("/v1/me").await, 401, "invalid_token");

    let event = here.event("key.revoked").await;
    assert_eq!((event.subject_type.as_deref(), event.subject_id), (Some("key"), Some(revoked.clone())));
    assert_eq!(statuses(&here).await, ["active", "revoked"]);
    let row = signing_key::Entity::find_by_id(&revoked).one(here.app.db.read()).await.unwrap().unwrap();
    assert!(row.private_key.is_empty(), "nobody needs it any more");
    // Once more changes nothing, not even the audit trail; a day and an hour later it is forgotten.
    revoke(&here, &revoked).await;
    here.event("key.revoked").await;
    here.clock.advance(minutes(DAY + 61));
    signing_keys::turn_over(&here.app).await.unwrap();
    let gone = here.admin().await.delete(&format!("/v1/signing-keys/{revoked}"), Value::Null).await;
    assert_problem!(gone, 404, "not_found");
}

#[tokio::test]
async fn a_revoked_key_that_waits_or_retires_disturbs_nobody_else() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (first, old) = (ada(&app).await, kid(&ada(&app).await));
    let waiting = rotate(&app).await;
    revoke(&app, &waiting).await;
    assert_eq!(published(&app).await, [old.clone()].into());
    app.clock.advance(minutes(12));
    assert_eq!(kid(&ada(&app).await), old, "it goes on");
    let replica = app.replica().await;
    replica.clock.advance(minutes(100));
    assert_eq!(published(&replica).await, [old.clone()].into(), "and nothing says when it ends");

    rotate(&app).await;
    app.clock.advance(minutes(20));
    let retiring = old;
    let (second, new) = (ada(&app).await, kid(&ada(&app).await));
    revoke(&app, &retiring).await;
    assert_problem!(first.get("/v1/me").await, 401, "invalid_token");
    second.get("/v1/me").await.expect(200);
    assert_eq!(kid(&ada(&app).await), new);
}

#[tokio::test]
async fn a_key_that_waits_takes_the_place_of_one_revoked() {
    let app = TestApp::start().await;
    app.register("ada").await;
    app.clock.advance(minutes(1));
    let old = kid(&ada(&app).await);
    let waiting = rotate(&app).await;
    revoke(&app, &old).await;
    assert_eq!(kid(&ada(&app).await), waiting, "verifiers may know it already");
    assert_eq!(listed(&app).await, [(waiting, "active".into()), (old, "revoked".into())]);
}

#[tokio::test]
async fn what_is_no_key_is_not_found() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for kid in ["unknown", &"k".repeat(65), "a.b", "%2e%2e%2fx", "%27%20OR%201=1", "%00", "%C3%A9"] {
        assert_problem!(admin.delete(&format!("/v1/signing-keys/{kid}"), Value::Null).await, 404, "not_found");
    }
    assert_eq!(statuses(&app).await, ["active"]);
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_rotation_goes_on_with_it() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (before, next) = (ada(&app).await, rotate(&app).await);
    app.clock.advance(minutes(10));
    let restarted = app.replica().await;
    signing_keys::turn_over(&restarted.app).await.unwrap();
    assert_eq!(kid(&ada(&restarted).await), kid(&before));
    let before = ada(&app).await;
    restarted.clock.advance(minutes(10));
    assert_eq!(kid(&ada(&restarted).await), next);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    let restarted = app.replica().await;
    assert_eq!(kid(&ada(&restarted).await), next);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn another_algorithm_begins_with_a_key_that_verifiers_know() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let restarted = app.replica_with(signing(Algorithm::Es256)).await;
    signing_keys::turn_over(&restarted.app).await.unwrap();
    assert_eq!((kid(&ada(&restarted).await), published(&restarted).await.len()), (kid(&before), 2));
    signing_keys::turn_over(&restarted.app).await.unwrap();
    restarted.clock.advance(minutes(10));
    let before = ada(&app).await;
    restarted.clock.advance(minutes(10));
    let after = ada(&restarted).await;
    assert_ne!(kid(&after), kid(&before));
    let keys = restarted.admin().await.get("/v1/signing-keys").await.expect(200);
    let algorithms: Vec<_> = keys["items"].as_array().unwrap().iter().map(|it| it["algorithm"].as_str().unwrap()).collect();
    assert_eq!(algorithms, ["ES256", "EdDSA"]);
    // A replica that was started with the other setting believes it as soon as it has heard.
    revocations::follow(&app.app).await.unwrap();
    app.bearer(after.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    restarted.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn an_algorithm_set_by_mistake_is_taken_back_before_it_signs() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let mistaken = app.replica_with(signing(Algorithm::Es256)).await;
    signing_keys::turn_over(&mistaken.app).await.unwrap();
    app.clock.advance(minutes(10));
    let corrected = app.replica_with(signing(Algorithm::EdDsa)).await;
    signing_keys::turn_over(&corrected.app).await.unwrap();
    assert_eq!(statuses(&corrected).await, ["next", "active"]);
    corrected.clock.advance(minutes(10));
    assert_eq!(kid(&ada(&corrected).await), kid(&before));
    corrected.clock.advance(minutes(10));
    let keys = corrected.admin().await.get("/v1/signing-keys").await.expect(200);
    assert_eq!((&keys["items"][0]["algorithm"], &keys["items"][0]["status"]), (&json!("EdDSA"), &json!("active")));
    // About to sign, a key stays: where a clock is ahead, it does so already.
    signing_keys::turn_over(&mistaken.app).await.unwrap();
    corrected.clock.advance(minutes(19));
    signing_keys::turn_over(&corrected.app).await.unwrap();
    corrected.clock.advance(minutes(1));
    let keys = corrected.admin().await.get("/v1/signing-keys").await.expect(200);
    assert_eq!((&keys["items"][0]["algorithm"], &keys["items"][0]["status"]), (&json!("ES256"), &json!("active")));
}

#[tokio::test]
async fn a_secret_of_the_operators_own_is_neither_listed_nor_rotated() {
    let app = TestApp::start_with(signing(Algorithm::Hs256)).await;
    let admin = app.admin().await;
    let own = kid(&admin);
    assert_eq!((statuses(&app).await.len(), published(&app).await.len()), (0, 0));
    let refused = assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 409, "rotation_pending");
    assert_eq!(refused.body["detail"], "Tokens are signed with signing.secret, which only its owner can change.");
    assert_problem!(admin.delete(&format!("/v1/signing-keys/{own}"), Value::Null).await, 404, "not_found");
    admin.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_secret_in_place_of_keys_lets_their_tokens_live_out() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (before, waiting) = (ada(&app).await, rotate(&app).await);
    let shared = app.replica_with(signing(Algorithm::Hs256)).await;
    signing_keys::turn_over(&shared.app).await.unwrap();
    let after = ada(&shared).await;
    assert_ne!(kid(&after), kid(&before));
    after.get("/v1/me").await.expect(200);
    shared.bearer(before.token.as_deref().unwrap()).get("/v1/me").await.expect(200);
    shared.clock.advance(minutes(20));
    assert_eq!(listed(&shared).await[0], (waiting, "retiring".into()));
    shared.clock.advance(minutes(61));
    signing_keys::turn_over(&shared.app).await.unwrap();
    assert_eq!(published(&shared).await, [].into());

    // Back again: no key is left, so a new one signs at once.
    let back = app.replica().await;
    signing_keys::turn_over(&back.app).await.unwrap();
    ada(&back).await.get("/v1/me").await.expect(200);
    assert_problem!(back.bearer(after.token.as_deref().unwrap()).get("/v1/me").await, 401, "invalid_token");
}

#[tokio::test]
async fn an_administrator_who_was_just_demoted_revokes_no_key() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let keeper = here.holding("keeper", &["keys:rotate"]).await;
    revocations::follow(&there.app).await.unwrap();
    here.admin().await.put("/v1/roles/role-keeper", json!({ "permissions": [] })).await.expect(200);
    let keeper = there.bearer(keeper.token.as_deref().unwrap());
    let path = format!("/v1/signing-keys/{}", kid(&keeper));
    assert_problem!(keeper.delete(&path, Value::Null).await, 403, "insufficient_permission");
    assert_problem!(keeper.post("/v1/signing-keys", Value::Null).await, 403, "insufficient_permission");
    assert_eq!(statuses(&here).await, ["active"]);
}

#[tokio::test]
async fn a_token_of_a_revoked_key_changes_nothing_through_a_replica_that_has_not_heard() {
    let here = TestApp::start().await;
    let there = here.replica().await;
    let (ada, thief) = (here.register("ada").await, here.admin().await);
    revoke(&here, &kid(&thief)).await;
    let thief = there.bearer(thief.token.as_deref().unwrap());
    thief.get("/v1/me").await.expect(200);
    assert_problem!(thief.delete(&format!("/v1/users/{ada}"), Value::Null).await, 401, "invalid_token");
    assert_problem!(thief.patch("/v1/me", json!({ "name": "Thief" })).await, 401, "invalid_token");
    here.admin().await.get(&format!("/v1/users/{ada}")).await.expect(200);
}

#[tokio::test]
async fn after_the_master_key_was_changed_a_running_server_goes_on_but_makes_no_key() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let before = ada(&app).await;
    let new = || Some(config::parse_master_key("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap());
    signing_keys::rewrap(&app.app, new()).await.unwrap();
    revocations::follow(&app.app).await.unwrap();
    ada(&app).await.get("/v1/me").await.expect(200);
    before.get("/v1/me").await.expect(200);
    let admin = app.admin().await;
    assert_problem!(admin.post("/v1/signing-keys", Value::Null).await, 500, "internal");
    assert_eq!(statuses(&app).await, ["active"], "nothing was sealed under a key that is gone");
    assert!(signing_keys::turn_over(&app.app).await.is_err(), "the log says so again and again");

    // A process that has the new key makes one; the server hears of it, cannot open it, and says so in the log.
    let restarted = app.replica_with(|settings| {
        settings.master_key = Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
    });
    let restarted = restarted.await;
    rotate(&restarted).await;
    revocations::follow(&app.app).await.unwrap();
    before.get("/v1/me").await.expect(200);
    assert_eq!((published(&app).await.len(), published(&restarted).await.len()), (1, 2));
    restarted.clock.advance(minutes(20));
    ada(&restarted).await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_signing_key_that_does_not_open_stops_the_start() {
    let app = TestApp::start().await;
    let tx = app.app.db.write().await.unwrap();
    let row = signing_key::Entity::find().one(&tx).await.unwrap().unwrap();
    let mut row = row.into_active_model();
    row.private_key = Set(Sealer::new(&[7; 32]).seal("signing-key", "another", b"key"));
    row.update(&tx).await.unwrap();
    tx.commit().await.unwrap();
    let settings = app.app.settings.clone();
    let failed = vestibule::app::App::open(settings, app.clock.clone()).await.err().unwrap();
    assert!(failed.to_string().contains("but not the signing key"), "{failed}");
}

#[tokio::test]
async fn an_unknown_kid_costs_no_look_at_the_database() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let token = ada(&app).await.token.unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "unknown" }).to_string());
    let (_, rest) = token.split_once('.').unwrap();
    app.app.db.close().await;
    assert_problem!(app.bearer(&format!("{header}.{rest}")).get("/v1/token").await, 401, "invalid_token");
    app.bearer(&token).get("/v1/token").await.expect(200);
}

#[tokio::test]
async fn a_second_change_of_the_master_key_at_once_is_refused_before_it_touches_a_file() {
    let first = TestApp::start().await;
    let second = first.replica().await;
    if first.app.settings.master_key.is_some() {
        return; // no file holds it
    }
    let file = signing_keys::rewrap(&first.app, None).await.unwrap().unwrap();
    std::fs::remove_file(file.old()).unwrap();
    let held = std::fs::read(file.path()).unwrap();
    assert!(signing_keys::rewrap(&second.app, None).await.is_err());
    assert_eq!(std::fs::read(file.path()).unwrap(), held);
    assert!(!file.path().with_extension("key.new").exists());
    first.replica().await.admin().await.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn t12_a_key_that_leaked_is_refused_also_where_none_can_take_its_place() {
    let app = TestApp::start().await;
    if app.app.settings.master_key.is_some() {
        return; // no file holds it, so nobody else can change it here
    }
    let (admin, other) = (app.admin().await, app.replica().await);
    signing_keys::rewrap(&other.app, None).await.unwrap();
    app.nobody().get("/readyz").await.expect(200);
    let leaked = kid(&admin);
    admin.delete(&format!("/v1/signing-keys/{leaked}"), Value::Null).await.expect(204);
    assert_problem!(admin.get("/v1/me").await, 401, "invalid_token");
    let answer = assert_problem!(app.nobody().get("/readyz").await, 503, "unavailable");
    assert!(answer.body["detail"].as_str().unwrap().contains("no key signs"), "{}", answer.body);
    // Started again, it makes another.
    let restarted = app.replica().await;
    signing_keys::turn_over(&restarted.app).await.unwrap();
    restarted.admin().await.get("/v1/me").await.expect(200);
}
