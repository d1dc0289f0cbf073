//! A stolen database without the master key: nothing that is pending in it can be redeemed (row M01).

use std::{collections::BTreeSet, fmt::Write, fs};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement};
use serde_json::{Value, json};
use uuid::Uuid;
use vestibule::{entity::ticket, values::registration_mode::RegistrationMode};

use crate::support::{PASSWORD, TestApp, caller::Answer, clock::minutes, outbox::Sent};

/// A mail that waits for its recipient, and the handle of the client that requested it, if there is one.
struct Pending {
    handle: Option<String>,
    mail: Sent,
}

/// Starts a service where one mail of each kind with a link or a code is pending.
async fn with_pending_mails() -> (TestApp, Vec<Pending>) {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let verified = app.replica_with(|settings| settings.registration.mode = RegistrationMode::Verified).await;
    let mut pending = Vec::new();
    for (caller, kind, path, to, body) in [
        (&ada, "verify", "/v1/me/email/verification", "ada", json!(null)),
        (&ada, "reset", "/v1/password-resets", "ada", json!({ "identifier": "ada" })),
        (&verified.anonymous(), "sign_up", "/v1/sign-ups", "new", json!({ "email": "new@example.org" })),
        (&app.admin().await, "invite", "/v1/invitations", "invited", json!({ "email": "invited@example.org" })),
    ] {
        let handle = caller.post(path, body).await.body["handle"].as_str().map(str::to_owned);
        pending.push(Pending { handle, mail: app.mail(kind, &format!("{to}@example.org")).await });
        app.clock.advance(minutes(1));
    }
    let created = json!({ "email": "bea@example.org", "username": "bea", "password": PASSWORD });
    app.admin().await.post("/v1/users", created).await.expect(201);
    let bea = app.anonymous().log_in("bea", PASSWORD).await;
    for address in ["bea@example.com", "bea@example.net"] {
        bea.patch("/v1/me", json!({ "email": address, "current_password": PASSWORD })).await.expect(200);
        let mail = app.mail("change", address).await;
        if address == "bea@example.com" {
            bea.post("/v1/me/pending-email/complete", json!({ "code": mail.code() })).await.expect(204);
            pending.push(Pending { handle: None, mail: app.mail("revert", "bea@example.org").await });
        } else {
            pending.push(Pending { handle: None, mail });
        }
    }
    (app, pending)
}

/// Returns the database: the bytes of its files, or all rows of all tables as text.
pub async fn dump(app: &TestApp) -> Vec<u8> {
    let db = app.app.db.read();
    if db.get_database_backend() == DbBackend::Sqlite {
        let file = app.app.settings.data_dir.join("vestibule.db");
        let log = file.with_extension("db-wal");
        return [fs::read(file).unwrap(), fs::read(log).unwrap()].concat();
    }
    let texts = async |sql: String| {
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
        rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap()).collect::<Vec<_>>()
    };
    let mut dump = String::new();
    for table in texts("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'".into()).await {
        dump += &texts(format!("SELECT t::text FROM {table} t")).await.join("\n");
    }
    dump.into_bytes()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

#[tokio::test]
async fn m01_the_database_contains_no_link_code_or_handle() {
    let (app, pending) = with_pending_mails().await;
    let dump = dump(&app).await;
    let contains = |bytes: &[u8]| dump.windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(b"ada@example.org"), "the dump is complete");
    for Pending { handle, mail } in &pending {
        for secret in handle.iter().map(String::as_str).chain([mail.token()]) {
            let secret = secret.rsplit('.').next().unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(secret).unwrap();
            assert!(!contains(secret.as_bytes()) && !contains(&bytes) && !contains(hex(&bytes).as_bytes()), "{}", mail.kind);
        }
        assert!(!mail.code.as_ref().is_some_and(|code| contains(code.as_bytes())), "{}", mail.kind);
    }
}

/// Returns every 32 bytes of the binary values in the database: each digest, each MAC, and each part of a longer value.
pub async fn values(app: &TestApp) -> BTreeSet<Vec<u8>> {
    let db = app.app.db.read();
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    let texts = async |sql: String| {
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
        rows.iter().filter_map(|row| row.try_get_by_index::<Option<String>>(0).unwrap()).collect::<Vec<_>>()
    };
    let columns = if is_sqlite {
        r#"SELECT 'SELECT hex("' || c.name || '") FROM "' || t.name || '" WHERE typeof("' || c.name || '") = ''blob'''
        FROM sqlite_master t, pragma_table_info(t.name) c WHERE t.type = 'table'"#
    } else {
        r#"SELECT 'SELECT encode("' || column_name || '", ''hex'') FROM "' || table_name || '"'
        FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'bytea'"#
    };
    let mut values = BTreeSet::new();
    for column in texts(columns.to_owned()).await {
        for text in texts(column).await {
            let bytes: Vec<u8> =
                (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
            values.extend(bytes.windows(32).map(<[u8]>::to_vec));
        }
    }
    values
}

async fn send(app: &TestApp, path: &str, body: Value) -> Answer {
    app.anonymous().post(path, body).await
}

#[tokio::test]
async fn m01_no_value_of_the_database_serves_as_a_link_or_a_handle() {
    let (app, pending) = with_pending_mails().await;
    let (values, tickets) = (values(&app).await, ticket::Entity::find().all(app.app.db.read()).await.unwrap());
    assert_eq!(tickets.iter().filter(|ticket| ticket.used_at.is_none()).count(), pending.len());
    assert!(values.len() > 100, "only {} values were found", values.len());
    let reset = pending.iter().find(|pending| pending.mail.kind == "reset").unwrap();
    for value in values {
        let value = URL_SAFE_NO_PAD.encode(value);
        for ticket in &tickets {
            let token = format!("vt1.{}.{value}", URL_SAFE_NO_PAD.encode(Uuid::from(ticket.id).as_bytes()));
            let read = send(&app, "/v1/tickets/read", json!({ "token": token })).await;
            assert_eq!(read.faults(), [("/token", "invalid_ticket")], "{token}");
        }
        // Even somebody who knows the code needs the handle.
        let proof = json!({ "kind": "code", "handle": format!("vh1.{value}"), "code": reset.mail.code() });
        let body = json!({ "proof": proof, "new_password": "nine grey gulls at noon" });
        let refused = send(&app, "/v1/password-resets/complete", body).await;
        assert_eq!(refused.faults(), [("/proof/code", "wrong_code")], "vh1.{value}");
    }
    // All of them work for those who have them.
    for Pending { mail, .. } in &pending {
        send(&app, "/v1/tickets/read", json!({ "token": mail.token() })).await.expect(200);
    }
    let proof = json!({ "kind": "code", "handle": reset.handle, "code": reset.mail.code() });
    let body = json!({ "proof": proof, "new_password": "nine grey gulls at noon" });
    send(&app, "/v1/password-resets/complete", body).await.expect(204);
}
