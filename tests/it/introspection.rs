//! Introspection (RFC 7662): a token is active exactly if a guard accepts it (row T13).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta};
use poem::{Body, http::Method};
use proptest::{
    prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest},
    sample::Index,
};
use serde_json::{Value, json};
use vestibule::{domain::revocations, values::ids::UserId};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
    },
};

const FORM: &str = "application/x-www-form-urlencoded";
const PATH: &str = "/v1/tokens/introspect";

async fn send(caller: &Caller<'_>, form: &str) -> Answer {
    caller.send(Method::POST, PATH, &[("content-type", FORM)], Body::from_string(form.to_owned())).await
}

async fn introspect(caller: &Caller<'_>, token: &str) -> Value {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
    send(caller, &form).await.expect(200)
}

#[tokio::test]
async fn t13_a_valid_token_is_described_in_full_and_any_other_only_as_inactive() {
    let app = TestApp::start().await;
    let (gateway, clerk) = (app.holding("gateway", &["tokens:introspect"]).await, app.holding("clerk", &["users:read"]).await);
    let token = clerk.token.as_deref().unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let expected = json!({
        "active": true, "iss": claims["iss"], "sub": claims["sub"], "aud": "vestibule", "client_id": "vestibule",
        "exp": claims["exp"], "iat": claims["iat"], "jti": claims["jti"], "token_type": "Bearer",
        "scope": "users:read", "roles": ["role-clerk"],
    });
    assert_eq!(introspect(&gateway, token).await, expected);
    // The permissions are those that the role grants now.
    let permissions = json!({ "permissions": ["users:read", "billing:refund"] });
    app.admin().await.put("/v1/roles/role-clerk", permissions).await.expect(200);
    assert_eq!(introspect(&gateway, token).await["scope"], "billing:refund users:read");
    for other in ["garbage", &token[1..], "vr1_0198c5e0000070008000000000000000_1_c2VjcmV0", " ", "é\u{0}"] {
        assert_eq!(introspect(&gateway, other).await, json!({ "active": false }), "{other}");
    }
    let answer = send(&gateway, &format!("token={token}")).await;
    assert_eq!((answer.header("cache-control"), answer.header("content-type")), ("no-store", "application/json"));
    clerk.delete("/v1/me/sessions/current", Value::Null).await.expect(204);
    assert_eq!(introspect(&gateway, token).await, json!({ "active": false }));
}

#[tokio::test]
async fn t13_introspection_requires_the_permission() {
    let app = TestApp::start().await;
    let (ada, others) = (app.user("ada").await, app.holding("others", &["keys:rotate", "users:read"]).await);
    let form = format!("token={}", ada.token.as_deref().unwrap());
    assert_problem!(send(&app.anonymous(), &form).await, 401, "missing_token");
    assert_problem!(send(&ada, &form).await, 403, "insufficient_permission");
    assert_problem!(send(&others, &form).await, 403, "insufficient_permission");
    assert_problem!(send(&ada, "").await, 403, "insufficient_permission");
}

#[tokio::test]
async fn the_form_must_have_exactly_one_token_and_other_parameters_are_ignored() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let token = ada.token.as_deref().unwrap();
    for form in [
        format!("token={token}&token_type_hint=access_token"),
        format!("client_id=x&client_id=y&token={token}&"),
        format!("=&&tokens=x&%74oken={token}"),
    ] {
        assert_eq!(send(&admin, &form).await.expect(200)["active"], true, "{form}");
    }
    for form in [
        String::new(),
        "token".to_owned(),
        "token=".to_owned(),
        "Token=x".to_owned(),
        "token_type_hint=access_token".to_owned(),
        format!("token={token}&token={token}"),
        format!("token={token}&token="),
        format!("token={}", "x".repeat(8_193)),
        format!("token=x{}", "+".repeat(8_192)), // spaces count
        json!({ "token": token }).to_string(),
    ] {
        let rejected = assert_problem!(send(&admin, &form).await, 400, "malformed_request");
        assert!(!rejected.body.to_string().contains(token), "{:#}", rejected.body);
    }
    assert_eq!(send(&admin, &format!("token={}", "x".repeat(8_192))).await.expect(200), json!({ "active": false }));
    assert_problem!(send(&admin, &format!("x={}", "x".repeat(65_536))).await, 413, "payload_too_large");
    let form = || Body::from_string(format!("token={token}"));
    for (media_type, status) in [
        ("application/json", 415),
        ("text/plain", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-www-form-urlencoded; charset=iso-8859-1", 415),
        ("Application/X-WWW-Form-URLencoded; charset=UTF-8", 200),
    ] {
        let answer = admin.send(Method::POST, PATH, &[("content-type", media_type)], form()).await;
        assert_eq!(answer.status, status, "{media_type}");
    }
    assert_problem!(admin.send(Method::POST, PATH, &[], form()).await, 415, "unsupported_media_type");
    assert_problem!(admin.send(Method::POST, PATH, &[], Body::empty()).await, 400, "malformed_request");
    assert_problem!(admin.post(PATH, json!({ "token": token })).await, 415, "unsupported_media_type");
    let compressed = [("content-type", FORM), ("content-encoding", "gzip")];
    assert_problem!(admin.send(Method::POST, PATH, &compressed, form()).await, 415, "unsupported_media_type");
}

#[tokio::test]
async fn t13_every_token_that_a_guard_rejects_is_inactive() {
    let app = TestApp::start().await;
    let early = app.user("early").await;
    app.clock.advance(minutes(15));
    let (ended, stale, admin) = (app.user("ended").await, app.user("stale").await, app.admin().await);
    ended.delete("/v1/me/sessions/current", Value::Null).await.expect(204);
    let id = stale.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    admin.put(&format!("/v1/users/{id}/roles"), json!({ "roles": ["admin"] })).await.expect(200);
    for (caller, code) in [(early, "expired_token"), (ended, "session_ended"), (stale, "stale_token")] {
        assert_eq!(caller.get("/v1/token").await.problem(), (401, code));
        assert_eq!(introspect(&admin, caller.token.as_deref().unwrap()).await, json!({ "active": false }), "{code}");
    }
}

#[tokio::test]
async fn t13_a_server_with_stale_revocation_data_answers_503() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    app.clock.stall(Duration::from_secs(6));
    let form = format!("token={}", ada.token.as_deref().unwrap());
    assert_problem!(send(&admin, &form).await, 503, "authorization_stale");
}

#[tokio::test]
async fn t13_an_outage_of_the_database_makes_no_token_inactive() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let expires_at = app.app.clock.now() + TimeDelta::minutes(15);
    app.clock.advance(minutes(1));
    let admin = app.admin().await;
    // As after the clock was set back: only the database knows whether Ada's token was revoked.
    app.app.access.revocations.record_purge(expires_at);
    let form = format!("token={}", ada.token.as_deref().unwrap());
    assert_eq!(send(&admin, &form).await.expect(200)["active"], true);
    app.app.db.close().await;
    assert_problem!(send(&admin, &form).await, 503, "unavailable");
}

const PEOPLE: [&str; 3] = ["ada", "bob", "cyd"];

/// One step of a history. Tokens are made, revoked, damaged and invented.
#[derive(Debug, Clone)]
enum Step {
    LogIn(usize),
    EndSession(Index),
    EndSessions(usize),
    SetRoles(usize, bool),
    SetStatus(usize, bool),
    Delete(usize),
    EditRole(bool),
    Rotate,
    RevokeKeyOf(Index),
    Wait(u64),
    Damage(Index, Index, char),
    Cut(Index, Index),
    ForeignKey(usize),
    Invent(String),
}

fn step() -> impl Strategy<Value = Step> {
    let person = || 0..PEOPLE.len();
    let any_index = any::<Index>;
    prop_oneof![
        6 => person().prop_map(Step::LogIn),
        2 => any_index().prop_map(Step::EndSession),
        1 => person().prop_map(Step::EndSessions),
        2 => (person(), any::<bool>()).prop_map(|(of, clerk)| Step::SetRoles(of, clerk)),
        2 => (person(), any::<bool>()).prop_map(|(of, active)| Step::SetStatus(of, active)),
        1 => person().prop_map(Step::Delete),
        1 => any::<bool>().prop_map(Step::EditRole),
        2 => Just(Step::Rotate),
        2 => any_index().prop_map(Step::RevokeKeyOf),
        4 => (1..20u64).prop_map(Step::Wait),
        2 => (any_index(), any_index(), "[A-Za-z0-9_.=-]").prop_map(|(of, at, to)| Step::Damage(of, at, to.chars().next().unwrap())),
        1 => (any_index(), any_index()).prop_map(|(of, at)| Step::Cut(of, at)),
        1 => person().prop_map(Step::ForeignKey),
        1 => "vr1_[A-Za-z0-9_-]{20,60}|[ -~]{1,40}".prop_map(Step::Invent),
    ]
}

struct World {
    here: TestApp,
    /// Another replica, which reads the revocation feed before each comparison.
    replica: TestApp,
    /// Another installation.
    other: TestApp,
    ids: Vec<UserId>,
    tokens: Vec<String>,
}

impl World {
    async fn start() -> Self {
        let here = TestApp::start().await;
        let mut ids = Vec::new();
        for name in PEOPLE {
            ids.push(here.register(name).await);
        }
        here.admin().await.post("/v1/roles", json!({ "name": "clerk", "permissions": ["users:read"] })).await.expect(201);
        let replica = here.replica().await;
        Self { replica, other: TestApp::start().await, here, ids, tokens: Vec::new() }
    }

    /// Applies a step, if it is possible in the current state.
    async fn apply(&mut self, step: &Step) {
        let admin = self.here.admin().await;
        let path = |of: usize| format!("/v1/users/{}", self.ids[of]);
        match step {
            Step::LogIn(of) => {
                let body = json!({ "identifier": PEOPLE[*of], "password": PASSWORD });
                let tokens = self.here.anonymous().post("/v1/sessions", body).await.body;
                self.tokens.extend(tokens["access_token"].as_str().map(str::to_owned));
            }
            Step::EndSession(of) if !self.tokens.is_empty() => {
                _ = self.here.bearer(of.get(&self.tokens).as_str()).delete("/v1/me/sessions/current", Value::Null).await;
            }
            Step::EndSessions(of) => _ = admin.delete(&format!("{}/sessions", path(*of)), Value::Null).await,
            Step::SetRoles(of, clerk) => {
                let roles = if *clerk { json!(["clerk"]) } else { json!(["user"]) };
                _ = admin.put(&format!("{}/roles", path(*of)), json!({ "roles": roles })).await;
            }
            Step::SetStatus(of, active) => {
                _ = admin.patch(&path(*of), json!({ "status": if *active { "active" } else { "disabled" } })).await;
            }
            Step::Delete(of) => _ = admin.delete(&path(*of), Value::Null).await,
            Step::EditRole(more) => {
                let permissions = if *more { json!(["users:read", "billing:refund"]) } else { json!([]) };
                admin.put("/v1/roles/clerk", json!({ "permissions": permissions })).await.expect(200);
            }
            Step::Rotate => _ = admin.post("/v1/signing-keys", Value::Null).await,
            Step::RevokeKeyOf(at) => {
                let keys = admin.get("/v1/signing-keys").await.expect(200);
                let key = &at.get(keys["items"].as_array().unwrap())["kid"];
                admin.delete(&format!("/v1/signing-keys/{}", key.as_str().unwrap()), Value::Null).await.expect(204);
            }
            Step::Wait(time) => self.here.clock.advance(minutes(*time)),
            Step::Damage(of, at, to) if !self.tokens.is_empty() => {
                let mut token: Vec<char> = of.get(&self.tokens).chars().collect();
                let at = at.index(token.len());
                token[at] = *to;
                self.tokens.push(token.into_iter().collect());
            }
            Step::Cut(of, at) if !self.tokens.is_empty() => {
                let token = of.get(&self.tokens);
                self.tokens.push(token[..=at.index(token.len())].to_owned());
            }
            Step::ForeignKey(of) => {
                let body = json!({ "email": format!("{}{}@example.org", PEOPLE[*of], self.tokens.len()), "password": PASSWORD });
                _ = self.other.anonymous().post("/v1/accounts", body.clone()).await;
                let stranger = self.other.anonymous().log_in(body["email"].as_str().unwrap(), PASSWORD).await;
                self.tokens.extend(stranger.token);
            }
            Step::Invent(text) => self.tokens.push(text.clone()),
            _ => {}
        }
    }

    /// Compares introspection with a guard, for every token and on both replicas.
    async fn compare(&self) {
        revocations::follow(&self.replica.app).await.unwrap();
        for app in [&self.here, &self.replica] {
            let admin = app.admin().await;
            for token in &self.tokens {
                let described = introspect(&admin, token).await;
                let guard = app.bearer(token).get("/v1/token").await;
                assert_eq!(described["active"] == json!(true), guard.status == 200, "{token}: {described:#} {:#}", guard.body);
                if guard.status != 200 {
                    assert_eq!(described, json!({ "active": false }));
                    continue;
                }
                let time = |name: &str| DateTime::from_timestamp(described[name].as_i64().unwrap(), 0).unwrap();
                let read = |name: &str| DateTime::parse_from_rfc3339(guard.body[name].as_str().unwrap()).unwrap();
                assert_eq!((time("iat"), time("exp")), (read("issued_at").into(), read("expires_at").into()));
                let permissions: Vec<_> = described["scope"].as_str().unwrap().split_whitespace().collect();
                assert_eq!(json!(permissions), guard.body["permissions"]);
                for (member, guard_member) in [("sub", "subject"), ("client_id", "client_id"), ("roles", "roles")] {
                    assert_eq!(described[member], guard.body[guard_member]);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t13_introspection_and_guards_agree_in_every_random_history(steps in prop::collection::vec(step(), 4..24)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::start().await;
            for step in &steps {
                world.apply(step).await;
                world.compare().await;
            }
        });
    }
}
