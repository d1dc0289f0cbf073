//! Erasure: after a person was erased, no table names them, and the audit trail still says what was done.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use poem::{
    Addr, Body, Request, RequestParts,
    http::{self, Method, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use vestibule::{
    domain::{audit, authority::By, erasure, revocations, sessions, source::Source, users},
    error::Error,
    values::{ids::UserId, registration_mode::RegistrationMode},
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, authenticator::Authenticator, caller::Answer, checked, clock::minutes},
};

const DAY: Duration = Duration::from_hours(24);
/// An erasure by the job is due after 30 days, and waits another day, in case the clock is wrong.
const DUE: Duration = Duration::from_hours(31 * 24);

/// Where a request comes from, and with whose token.
#[derive(Clone)]
struct Browser<'a> {
    app: &'a TestApp,
    from: &'static str,
    token: Option<String>,
}

impl<'a> Browser<'a> {
    fn at(app: &'a TestApp, from: &'static str) -> Self {
        Self { app, from, token: None }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        let mut head = http::Request::builder().method(method.clone()).uri(path).header("content-type", "application/json");
        head = head.header("user-agent", format!("Browser at {}", self.from));
        if let Some(token) = &self.token {
            head = head.header("authorization", format!("Bearer {token}"));
        }
        let peer = RemoteAddr(Addr::SocketAddr(SocketAddr::new(self.from.parse().unwrap(), 40_000)));
        let (head, ()) = head.body(()).unwrap().into_parts();
        let head = RequestParts::from((head, LocalAddr::default(), peer, Scheme::HTTP));
        let body = if body.is_null() { Body::empty() } else { Body::from_string(body.to_string()) };
        checked::answer(&method, path, self.app.raw(Request::from_parts(head, body)).await).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PATCH, path, body).await
    }

    /// Logs in, and returns the browser with the token.
    async fn log_in(&self, identifier: &str, password: &str) -> Self {
        let tokens = self.post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await.expect(201);
        self.with(&tokens)
    }

    fn with(&self, tokens: &Value) -> Self {
        Self { token: Some(tokens["access_token"].as_str().unwrap().to_owned()), ..self.clone() }
    }
}

/// Whatever names Ada: addresses, names, texts that she chose, her networks and her browser. In lower case.
/// No text could be a part of an id.
const ADA: [&str; 14] = [
    "ada@example.org",
    "ada@example.com",
    "ada@third.example",
    "ada-l",
    "adabyron",
    "invited ada",
    "ada lovelace",
    "ada byron",
    "countess",
    "phone of ada",
    "old phone",
    "203.0.113.1",
    "203.0.113.2",
    "2001:db8:ada::1",
];
const HOME: &str = "203.0.113.1";
const AWAY: &str = "203.0.113.2";
const TRAIN: &str = "2001:db8:ada::1";
/// The network of the administrator.
const OFFICE: &str = "192.0.2.9";

async fn service() -> TestApp {
    TestApp::start_with(|settings| settings.registration.mode = RegistrationMode::Verified).await
}

/// Lets Ada do whatever leaves a trace, and whatever can be done to her. Returns her id, and a browser in which she is logged in.
async fn life(app: &TestApp) -> (UserId, Browser<'_>) {
    let admin = Browser::at(app, OFFICE).log_in("admin", app.admin_password()).await;
    admin.post("/v1/roles", json!({ "name": "helper", "permissions": ["users:read", "users:write"] })).await.expect(201);
    let invitation = json!({ "email": "ada@example.org", "name": "Invited Ada" });
    let invited = admin.post("/v1/invitations", invitation.clone()).await.expect(201);
    let path = format!("/v1/invitations/{}", invited["id"].as_str().unwrap());
    admin.send(Method::DELETE, &path, Value::Null).await.expect(204);
    admin.post("/v1/invitations", invitation).await.expect(201);

    let home = Browser::at(app, HOME);
    app.clock.advance(minutes(1));
    home.post("/v1/sign-ups", json!({ "email": "ada@example.org" })).await.expect(202);
    let proof = json!({ "kind": "link", "token": app.mail("sign_up", "ada@example.org").await.token() });
    let body = json!({ "proof": proof, "password": PASSWORD, "username": "ada-l", "name": "Ada Lovelace" });
    let id: UserId = home.post("/v1/sign-ups/complete", body).await.expect(201)["id"].as_str().unwrap().parse().unwrap();
    // Somebody else tries to guess, and she mistypes her name.
    for (from, name) in [(AWAY, "ada-l"), (HOME, "adda")] {
        let wrong = json!({ "identifier": name, "password": "this is not it" });
        assert_problem!(Browser::at(app, from).post("/v1/sessions", wrong).await, 401, "invalid_credentials");
    }
    let mut ada = home.log_in("ada-l", PASSWORD).await;
    ada.patch("/v1/me", json!({ "name": "Ada Byron", "username": "adabyron" })).await.expect(200);
    change_addresses(app, &ada).await;
    ada = add_factors(app, &ada).await;
    assert_problem!(ada.send(Method::GET, "/v1/users", Value::Null).await, 403, "insufficient_permission");

    app.clock.advance(minutes(1));
    Browser::at(app, AWAY).post("/v1/password-resets", json!({ "identifier": "adabyron" })).await.expect(202);
    administrate(app, &admin, id).await;
    let ada = Browser::at(app, TRAIN).log_in("adabyron", PASSWORD).await;
    help(app, &ada).await;
    app.clock.advance(minutes(2));
    audit::write_denials(&app.app, app.app.clock.now()).await.unwrap();
    app.send_due_mails().await;
    (id, ada)
}

/// Requests an address and cancels that, and changes to another one.
async fn change_addresses(app: &TestApp, ada: &Browser<'_>) {
    let wanted = |email: &str| json!({ "email": email, "current_password": PASSWORD });
    let wrong = json!({ "email": "ada@third.example", "current_password": "this is not it" });
    assert_eq!(ada.patch("/v1/me", wrong).await.status, 422);
    ada.patch("/v1/me", wanted("ada@third.example")).await.expect(200);
    ada.send(Method::DELETE, "/v1/me/pending-email", Value::Null).await.expect(204);
    ada.patch("/v1/me", wanted("ada@example.com")).await.expect(200);
    let token = app.mail("change", "ada@example.com").await.token().to_owned();
    ada.post("/v1/me/pending-email/complete", json!({ "token": token })).await.expect(204);
}

/// Adds a factor, renames it, enters wrong codes, uses a recovery code, and begins to add another factor.
async fn add_factors<'a>(app: &'a TestApp, ada: &Browser<'a>) -> Browser<'a> {
    let started = ada.post("/v1/me/factors/totp", json!({ "name": "Phone of Ada" })).await.expect(201);
    let authenticator = Authenticator::scan(app, &started);
    let confirm = format!("/v1/me/factors/totp/{}/confirm", authenticator.id);
    let enrolled = ada.post(&confirm, json!({ "code": authenticator.code() })).await.expect(200);
    let ada = ada.with(&enrolled["tokens"]);
    let factor = format!("/v1/me/factors/{}", authenticator.id);
    ada.patch(&factor, json!({ "name": "Old phone" })).await.expect(200);
    let away = Browser::at(app, AWAY);
    let log_in = json!({ "identifier": "adabyron", "password": PASSWORD });
    let challenge =
        assert_problem!(away.post("/v1/sessions", log_in).await, 401, "second_factor_required").body["challenge"].clone();
    let complete = |factor: Value| json!({ "challenge": challenge, "factor": factor });
    for _ in 0..3 {
        let wrong = complete(json!({ "kind": "totp", "code": authenticator.wrong_code() }));
        assert_problem!(away.post("/v1/sessions/second-factor", wrong).await, 401, "wrong_factor");
    }
    let code = json!({ "kind": "recovery_code", "code": enrolled["recovery_codes"][0] });
    let ada = away.with(&away.post("/v1/sessions/second-factor", complete(code)).await.expect(201));
    ada.post("/v1/me/factors/totp", json!({ "name": "Phone of Ada" })).await.expect(201);
    ada
}

/// Does to Ada whatever an administrator can do, short of deleting the account.
async fn administrate(app: &TestApp, admin: &Browser<'_>, id: UserId) {
    let path = format!("/v1/users/{id}");
    // Some of it needs a fresh proof.
    let admin = admin.log_in("admin", app.admin_password()).await;
    admin.patch(&path, json!({ "name": "Countess" })).await.expect(200);
    admin.send(Method::DELETE, &format!("{path}/factors"), Value::Null).await.expect(204);
    admin.send(Method::PUT, &format!("{path}/roles"), json!({ "roles": ["user", "helper"] })).await.expect(200);
    admin.patch(&path, json!({ "status": "disabled" })).await.expect(200);
    let log_in = json!({ "identifier": "adabyron", "password": PASSWORD });
    assert_problem!(Browser::at(app, AWAY).post("/v1/sessions", log_in).await, 403, "account_disabled");
    admin.patch(&path, json!({ "status": "active" })).await.expect(200);
    app.clock.advance(minutes(1));
    admin.post(&format!("{path}/password-reset"), Value::Null).await.expect(202);
    admin.send(Method::DELETE, &format!("{path}/sessions"), Value::Null).await.expect(204);
}

/// Lets Ada, who may, invite Bob and create Cleo.
async fn help(app: &TestApp, ada: &Browser<'_>) {
    ada.post("/v1/invitations", json!({ "email": "bob@example.org", "name": "Bob" })).await.expect(201);
    let cleo = json!({ "email": "cleo@example.org", "username": "cleo", "password": PASSWORD });
    let cleo = ada.post("/v1/users", cleo).await.expect(201);
    ada.patch(&format!("/v1/users/{}", cleo["id"].as_str().unwrap()), json!({ "name": "Cleopatra" })).await.expect(200);
    Browser::at(app, "198.51.100.5").log_in("cleo", PASSWORD).await;
}

/// Returns every row of every table as text, in lower case; bytes as hexadecimal digits.
async fn dump(app: &TestApp) -> BTreeMap<String, String> {
    let db = app.app.db.read();
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    let texts = async |sql: &str| -> Vec<String> {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    };
    let tables = if is_sqlite {
        "SELECT name FROM sqlite_schema WHERE type = 'table'"
    } else {
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'"
    };
    let mut dump = BTreeMap::new();
    for table in texts(tables).await {
        let rows = if is_sqlite {
            let columns = texts(&format!("SELECT 'quote(' || name || ')' FROM pragma_table_info('{table}')")).await;
            format!("SELECT {} FROM {table}", columns.join(" || ' ' || "))
        } else {
            format!("SELECT rows::text FROM {table} rows")
        };
        dump.insert(table, texts(&rows).await.join("\n").to_lowercase());
    }
    assert!(dump.len() > 20 && dump["users"].contains("admin@vestibule.invalid"), "{dump:#?}");
    dump
}

/// Returns the tables that contain a text, plainly or as bytes.
fn tables_with(dump: &BTreeMap<String, String>, text: &str) -> Vec<String> {
    let hex: String = text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let found = dump.iter().filter(|(_, rows)| rows.contains(text) || rows.contains(&hex));
    found.map(|(table, _)| table.clone()).collect()
}

async fn assert_erased(app: &TestApp, texts: &[&str]) {
    let dump = dump(app).await;
    for text in texts {
        assert_eq!(tables_with(&dump, text), [""; 0], "{text}");
    }
}

/// Returns what must stay of every event, oldest first: all but names, addresses and details.
async fn skeleton(app: &TestApp) -> Vec<Value> {
    let events = app.events().await.into_iter();
    let skeleton = events.map(|event| {
        json!([
            event.id,
            event.at,
            event.kind,
            event.actor_id,
            event.subject_type,
            event.subject_id,
            event.session_id,
            event.request_id
        ])
    });
    skeleton.collect()
}

#[tokio::test]
async fn o04_no_table_names_a_person_who_was_erased_and_the_audit_trail_can_still_be_read() {
    for at_once in [true, false] {
        let app = service().await;
        let (id, ada) = life(&app).await;
        if !at_once {
            ada.send(Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
            app.send_due_mails().await;
        }
        app.clock.advance(minutes(1));
        let (before, dump) = (skeleton(&app).await, dump(&app).await);
        for text in ADA {
            assert!(!tables_with(&dump, text).is_empty(), "the life of Ada leaves no trace of {text}");
        }
        if at_once {
            erasure::erase(&app.app, id).await.unwrap();
        } else {
            app.clock.advance(DUE);
            erasure::erase_due(&app.app, app.trusted().await).await.unwrap();
        }
        assert_erased(&app, &ADA).await;

        let after = skeleton(&app).await;
        assert_eq!(after[..before.len()], before, "ids, times and kinds stay");
        let added: BTreeSet<_> = after[before.len()..].iter().map(|event| event[2].as_str().unwrap()).collect();
        assert_eq!(
            added,
            if at_once { BTreeSet::from(["user.deleted", "user.erased"]) } else { BTreeSet::from(["user.erased"]) }
        );
        let admin = app.admin().await;
        let page = admin.get(&format!("/v1/audit-events?subject={id}&kind=user.updated&limit=100")).await.expect(200);
        let event = page["items"].as_array().unwrap().iter().find(|event| event["details"]["name"].is_object()).unwrap();
        assert_eq!(event["subject"], json!({ "type": "user", "id": id, "name": "(erased)" }));
        assert_eq!((&event["actor"]["name"], &event["address"]), (&json!("admin"), &json!(OFFICE)), "others stay");
        assert_eq!(event["details"], json!({ "name": { "before": "(erased)", "after": "(erased)" } }));
        let page = admin.get(&format!("/v1/audit-events?actor={id}&kind=user.updated")).await.expect(200);
        let event = &page["items"][0];
        assert_eq!((&event["actor"]["name"], &event["subject"]["name"]), (&json!("(erased)"), &json!("cleo")));
        assert_eq!(event["details"]["name"]["after"], "Cleopatra");
        assert_eq!(
            admin.get("/v1/audit-events?kind=invitation.created&limit=1").await.expect(200)["items"][0]["details"]["email"],
            "bob@example.org"
        );
        let page = admin.get(&format!("/v1/audit-events?subject={id}&kind=user.roles_set")).await.expect(200);
        assert_eq!(page["items"][0]["details"], json!({ "before": ["user"], "after": ["helper", "user"] }));

        if app.app.settings.database.url.is_none() {
            app.app.db.close().await;
            let file = std::fs::read(app.app.settings.data_dir.join("vestibule.db")).unwrap().to_ascii_lowercase();
            for text in ADA {
                assert!(!file.windows(text.len()).any(|bytes| bytes == text.as_bytes()), "the free space of the file has {text}");
            }
        }
    }
}

/// Registers a user who then closes the account.
async fn closed(app: &TestApp, name: &str) -> UserId {
    let user = app.user(name).await;
    let id = user.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    user.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    id
}

async fn erase_due(app: &TestApp) {
    erasure::erase_due(&app.app, app.trusted().await).await.unwrap();
}

#[tokio::test]
async fn o04_what_somebody_did_before_closing_the_account_can_be_read_for_as_long_as_the_settings_say() {
    let app = TestApp::start().await;
    closed(&app, "mallory").await;
    let bertha = app.register("bertha").await;
    app.clock.advance(30 * DAY);
    erase_due(&app).await;
    assert_eq!(app.event("account.closed").await.actor_name.as_deref(), Some("mallory"));
    users::delete(&app.app, By::Operator, bertha).await.unwrap();
    app.clock.advance(DAY);
    erase_due(&app).await;
    assert_erased(&app, &["mallory"]).await;
    assert_eq!(app.event("user.erased").await.actor_name, None);
    assert_eq!(app.event("user.deleted").await.subject_name.as_deref(), Some("bertha"), "she has 30 days from her own end");
    app.clock.advance(30 * DAY);
    erase_due(&app).await;
    assert_erased(&app, &["mallory", "bertha"]).await;
}

#[tokio::test]
async fn o04_with_a_setting_of_zero_only_the_command_erases() {
    let app = TestApp::start_with(|settings| settings.audit.erase_after = Duration::ZERO).await;
    let id = closed(&app, "zelda").await;
    app.clock.advance(1_000 * DAY);
    erase_due(&app).await;
    assert_eq!(app.event("account.closed").await.actor_name.as_deref(), Some("zelda"));
    erasure::erase_closed(&app.app, id).await.unwrap();
    assert_erased(&app, &["zelda"]).await;
    assert!(matches!(erasure::erase_closed(&app.app, UserId::new(app.app.clock.now())).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn the_last_administrator_is_not_erased_and_nobody_is_erased_twice() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id: UserId = admin.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    assert!(matches!(erasure::erase(&app.app, id).await, Err(Error::LastAdmin)));
    admin.get("/v1/users").await.expect(200);

    let ada = app.register("ada").await;
    erasure::erase(&app.app, ada).await.unwrap();
    assert!(matches!(erasure::erase(&app.app, ada).await, Err(Error::NotFound(_))));
    assert!(matches!(erasure::erase_closed(&app.app, ada).await, Err(Error::NotFound(_))));
    assert!(matches!(erasure::erase_closed(&app.app, id).await, Err(Error::NotFound(_))), "this account is not closed");
    assert_eq!(app.event("user.erased").await.subject_id, Some(ada.to_string()));
}

#[tokio::test]
async fn an_erasure_ends_the_sessions_on_every_server() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let ada = app.user("ada").await;
    let elsewhere = other.bearer(ada.token.as_ref().unwrap());
    elsewhere.get("/v1/me").await.expect(200);
    let id: UserId = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    erasure::erase(&app.app, id).await.unwrap();
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    revocations::follow(&other.app).await.unwrap();
    assert_problem!(elsewhere.get("/v1/me").await, 401, "session_ended");
    let page = other.admin().await.get("/v1/users?search=ada").await.expect(200);
    assert_eq!(page["items"], json!([]));
    assert_problem!(app.log_in("ada").await, 401, "invalid_credentials");
}

#[tokio::test]
async fn the_names_of_an_erased_person_may_belong_to_another_account_which_keeps_them() {
    let app = TestApp::start().await;
    closed(&app, "ada").await;
    app.clock.advance(DAY);
    let second = app.user("ada").await;
    let id = second.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    second.post("/v1/me/email/verification", Value::Null).await.expect(202);
    app.clock.advance(DUE);
    erase_due(&app).await;
    assert_eq!(app.anonymous().log_in("ada", PASSWORD).await.get("/v1/me").await.expect(200)["email"], "ada@example.org");
    let events = app.admin().await.get(&format!("/v1/audit-events?subject={id}&limit=100")).await.expect(200);
    let events = events["items"].as_array().unwrap();
    assert!(events.len() >= 4 && events.iter().all(|event| event["subject"]["name"] == "ada"), "{events:#?}");
    assert_eq!(app.mail_rows().await.iter().filter(|mail| mail.kind.to_string() == "verify").count(), 1);
}

#[tokio::test]
async fn o04_mails_to_an_address_go_if_the_person_had_it_then_whoever_has_it_now() {
    let app = service().await;
    let (first, last, wanted) = ("first@person.example", "last@person.example", "wanted@person.example");
    let invite = async |address: &str| {
        app.admin().await.post("/v1/invitations", json!({ "email": address })).await.expect(201);
        let token = app.mail("invite", address).await.token().to_owned();
        let acceptance = json!({ "token": token, "password": PASSWORD });
        let user = app.anonymous().post("/v1/invitations/accept", acceptance).await.expect(201);
        app.clock.advance(minutes(10));
        user["id"].as_str().unwrap().parse::<UserId>().unwrap()
    };
    let ada = invite(first).await;
    app.admin().await.patch(&format!("/v1/users/{ada}"), json!({ "email": last })).await.expect(200);
    app.clock.advance(minutes(10));
    app.admin().await.post("/v1/invitations", json!({ "email": wanted })).await.expect(201);
    let request = json!({ "email": wanted, "current_password": PASSWORD });
    app.anonymous().log_in(last, PASSWORD).await.patch("/v1/me", request).await.expect(200);
    users::delete(&app.app, By::Operator, ada).await.unwrap();
    app.clock.advance(minutes(10));
    for address in [first, last] {
        invite(address).await;
    }
    let of = |kind: &str, address: &str, dump: &BTreeMap<String, String>| {
        dump[kind].lines().filter(|row| row.contains(address)).count()
    };
    let before = dump(&app).await;
    for address in [first, last] {
        assert!(of("mails", address, &before) > 1 && of("tickets", address, &before) > 0, "{address}");
        assert_eq!(of("invitations", address, &before), if address == first { 2 } else { 1 }, "{address}");
    }

    erasure::erase_closed(&app.app, ada).await.unwrap();
    let after = dump(&app).await;
    for address in [first, last] {
        assert_eq!(of("mails", address, &after), 1, "the mail to the other stays");
        assert_eq!(of("invitations", address, &after), 1, "{address}");
        assert_eq!(of("tickets", address, &after), 1, "{address}");
    }
    // She only requested this address. Somebody else was invited with it.
    assert_eq!((of("mails", wanted, &after), of("invitations", wanted, &after), of("tickets", wanted, &after)), (1, 1, 1));
    let events = app.admin().await.get("/v1/audit-events?kind=invitation.created").await.expect(200);
    let named: Vec<_> = events["items"].as_array().unwrap().iter().map(|event| &event["details"]["email"]).collect();
    assert_eq!(named, [last, first, wanted, "(erased)"]);
}

/// Calls `work` until it has waited this many times. Returns what it returns if it is done.
async fn wait_for<T>(waits: usize, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut waited = 0;
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if waited == waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn o04_what_a_request_records_that_began_before_the_erasure_goes_with_the_second_pass() {
    let app = TestApp::start().await;
    let mut people = 0;
    for waits in 0.. {
        people += 1;
        let name = format!("person-{waits}");
        let id = app.register(&name).await;
        let (source, identifier, password) = (Source::default(), name.parse().unwrap(), "this is not it".parse().unwrap());
        let mut log_in = pin!(sessions::log_in(&app.app, &source, &identifier, &password, None));
        assert!(wait_for(waits, log_in.as_mut()).await.is_none(), "no log-in recorded its failure after the erasure");
        erasure::erase(&app.app, id).await.unwrap();
        assert_erased(&app, &[&name]).await;
        assert!(matches!(log_in.await, Err(Error::InvalidCredentials)));
        // Once the log-in has read the account, its failure names it.
        if !tables_with(&dump(&app).await, &name).is_empty() {
            break;
        }
    }
    erase_due(&app).await;
    assert_eq!(tables_with(&dump(&app).await, "person-"), ["audit_events"], "nothing is due yet");
    app.clock.advance(minutes(60));
    erase_due(&app).await;
    assert_erased(&app, &["person-"]).await;
    assert_eq!(app.events().await.iter().filter(|event| event.kind == "user.erased").count(), people, "each of them once");
    assert!(dump(&app).await["closed_accounts"].is_empty(), "nothing is left to be erased");
}

#[tokio::test]
async fn o04_an_erasure_that_is_interrupted_anywhere_is_completed_by_the_job_or_has_not_begun() {
    let app = service().await;
    let admin = app.admin().await;
    let (mut erased, mut untouched, mut waits) = (Vec::new(), 0, 0);
    // How often an erasure waits depends on how fast the database responds, so it is tried until enough were interrupted.
    for number in 0.. {
        let (name, address) = (format!("person-{number}"), format!("{number}@person.example"));
        admin.post("/v1/invitations", json!({ "email": address })).await.expect(201);
        let token = app.mail("invite", &address).await.token().to_owned();
        let acceptance = json!({ "token": token, "password": PASSWORD, "username": name });
        let user = app.anonymous().post("/v1/invitations/accept", acceptance).await.expect(201);
        let id: UserId = user["id"].as_str().unwrap().parse().unwrap();
        let path = format!("/v1/users/{id}");
        app.admin().await.patch(&path, json!({ "email": format!("new-{address}") })).await.expect(200);
        let done = wait_for(waits, pin!(erasure::erase(&app.app, id))).await.map(Result::unwrap).is_some();
        // What an interrupted transaction has locked is free again.
        drop(app.app.db.write_in_background().await.unwrap());
        erase_due(&app).await;
        if app.anonymous().post("/v1/sessions", json!({ "identifier": name, "password": PASSWORD })).await.status == 201 {
            untouched += 1;
        } else {
            erased.extend([name, address]);
        }
        waits = if done { 0 } else { waits + 2 };
        if done && untouched > 2 && erased.len() > 10 {
            break;
        }
    }
    let dump = dump(&app).await;
    let whole =
        dump.values().flat_map(|rows| rows.split(|c: char| c.is_whitespace() || "'\"(),".contains(c))).collect::<BTreeSet<_>>();
    for text in erased {
        assert!(!whole.contains(text.as_str()), "{text}");
    }
}
