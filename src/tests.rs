//! Tests of the whole service: what is left when it is killed ([`kills`]), and the plans of the statements in large tables. Both run
//! on both databases. For the plans, every operation of the contract is called and every job runs, and no statement that they send
//! reads or sorts a whole table.

mod kills;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../tests/it/support/mail_server.rs"]
mod mail_server;
#[path = "../tests/it/support/mail_text.rs"]
mod mail_text;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../tests/it/support/passkey_device.rs"]
pub mod passkey_device;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use poem::{Endpoint, EndpointExt, Request, endpoint::BoxEndpoint, http::Method};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryOrder, Statement};
use serde_json::{Value, json};
use tempfile::TempDir;
use totp_rs::{Builder, Secret};

use self::passkey_device::PasskeyDevice;
use crate::{
    api::contract,
    app::App,
    config::{MailTransport, Settings},
    domain::{
        authority::By,
        erasure,
        mail::{sending, tickets},
        revocations, signing_keys,
        users::{self, NewAccount},
    },
    entity::{mail, ticket},
    jobs,
    live::{
        clock::{Clock, SystemClock},
        database::tests::test_database::TestDatabase,
        mail::SendError,
    },
    server,
    values::{ids::UserId, registration_mode::RegistrationMode, ticket_purpose::TicketPurpose},
};

/// The address of the service, as browsers see it.
const ORIGIN: &str = "https://id.example.org";
const PASSWORD: &str = "seven tall ships at dawn";
const NEW_PASSWORD: &str = "eight tall ships at dusk";
/// The rows of each large table.
const ROWS: usize = 20_000;
const LARGE: [&str; 19] = [
    "users",
    "user_roles",
    "user_words",
    "sessions",
    "revocations",
    "audit_events",
    "throttles",
    "known_networks",
    "tickets",
    "ticket_handles",
    "tallies",
    "mails",
    "invitations",
    "factors",
    "pending_totps",
    "recovery_codes",
    "challenges",
    "redeemed_ceremonies",
    "closed_accounts",
];

/// A service that answers requests.
struct Site {
    app: App,
    service: BoxEndpoint<'static>,
    token: String,
    /// The method and the path of each request.
    called: Vec<(String, String)>,
}

impl Site {
    /// Starts a service without jobs. bcrypt has its lowest cost.
    async fn start(mut settings: Settings, clock: Arc<dyn Clock>) -> Self {
        settings.master_key = Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
        settings.password.bcrypt_cost = 4;
        // No job follows the feed.
        settings.revocation.max_staleness = Duration::from_hours(1);
        let app = App::open(settings, clock).await.unwrap();
        signing_keys::maintain(&app).await.unwrap();
        let service = server::endpoint(app.clone()).unwrap().boxed();
        Self { app, service, token: String::new(), called: Vec::new() }
    }

    /// Creates the administrator `root@example.org`.
    async fn create_administrator(&self) {
        let admin = NewAccount {
            email: "root@example.org".parse().unwrap(),
            username: None,
            name: None,
            password: Some(PASSWORD.parse().unwrap()),
            roles: vec!["admin".parse().unwrap()],
            language: None,
            email_verified: true,
        };
        users::create(&self.app, By::Operator, admin).await.unwrap();
    }

    /// Sends a request with the current token, and returns the body of the response.
    async fn send(&mut self, method: Method, path: &str, body: Value) -> Value {
        let (response, status) = self.try_send(method.clone(), path, body).await;
        assert!(status < 400, "{method} {path}: {response:#}");
        response
    }

    async fn try_send(&mut self, method: Method, path: &str, body: Value) -> (Value, u16) {
        self.called.push((method.to_string(), path.split('?').next().unwrap().to_owned()));
        let mut request = Request::builder().method(method).uri_str(path).header("Host", "localhost");
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        let request = match body {
            Value::Null => request.finish(),
            Value::String(form) => request.content_type("application/x-www-form-urlencoded").body(form),
            body => request.content_type("application/json").body(body.to_string()),
        };
        let response = self.service.get_response(request).await;
        let status = response.status().as_u16();
        (serde_json::from_slice(&response.into_body().into_bytes().await.unwrap()).unwrap_or_default(), status)
    }

    async fn get(&mut self, path: &str) -> Value {
        self.send(Method::GET, path, Value::Null).await
    }

    async fn log_in(&mut self, email: &str, password: &str) -> Value {
        let tokens = self.send(Method::POST, "/v1/sessions", json!({ "identifier": email, "password": password })).await;
        self.token = tokens["access_token"].as_str().unwrap().to_owned();
        tokens
    }

    /// Reads the first two pages of a list.
    async fn pages(&mut self, path: &str) {
        let first = self.get(path).await;
        if let Some(next) = first["next_cursor"].as_str() {
            self.get(&format!("{path}{}cursor={next}", if path.contains('?') { '&' } else { '?' })).await;
        }
    }

    /// Calls every operation.
    async fn call_all(&mut self) {
        let (post, put, patch, delete) = (Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
        for path in ["/v1/options", "/healthz", "/readyz", "/version", "/.well-known/jwks.json"] {
            self.get(path).await;
        }
        self.try_send(post.clone(), "/v1/sessions", json!({ "identifier": "root@example.org", "password": "wrong" })).await;
        self.try_send(post.clone(), "/v1/sessions", json!({ "identifier": "nobody", "password": "wrong" })).await;
        self.try_send(post.clone(), "/v1/accounts", json!({ "email": "ada@example.org", "password": PASSWORD })).await;
        self.call_sign_up().await;
        let tokens = self.log_in("ada@example.org", PASSWORD).await;
        let refreshed =
            self.send(post.clone(), "/v1/sessions/refresh", json!({ "refresh_token": tokens["refresh_token"] })).await;
        self.get("/v1/me").await;
        self.send(patch.clone(), "/v1/me", json!({ "name": "Ada", "username": "ada" })).await;
        let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        self.send(put.clone(), "/v1/me/password", change).await;
        self.get("/v1/token").await;
        for password in ["wrong", NEW_PASSWORD] {
            let factor = json!({ "kind": "password", "password": password });
            self.try_send(post.clone(), "/v1/me/authentication", json!({ "factor": factor })).await;
        }
        self.send(post.clone(), "/v1/sessions/end", json!({ "refresh_token": refreshed["refresh_token"] })).await;
        self.log_in("ada", NEW_PASSWORD).await;
        self.send(delete.clone(), "/v1/me/sessions/current", Value::Null).await;
        self.log_in("ada", NEW_PASSWORD).await;
        self.call_mail_flows().await;
        self.call_factors().await;
        self.log_in("ada", NEW_PASSWORD).await;
        self.call_passkeys().await;
        self.send(delete.clone(), "/v1/me", json!({ "current_password": NEW_PASSWORD })).await;

        let spent = self.log_in("root@example.org", PASSWORD).await;
        for body in [0; 3].map(|_| json!({ "refresh_token": spent["refresh_token"] })) {
            self.try_send(post.clone(), "/v1/sessions/refresh", body).await;
        }
        self.log_in("root@example.org", PASSWORD).await;
        self.send(delete.clone(), "/v1/me/sessions?except_current=true", Value::Null).await;
        self.pages("/v1/me/sessions?limit=1").await;
        self.send(post.clone(), "/v1/tokens/introspect", json!(format!("token={}", self.token))).await;
        self.get("/v1/permissions").await;
        self.get("/v1/roles").await;
        self.send(post.clone(), "/v1/roles", json!({ "name": "auditor", "permissions": ["audit:read"] })).await;
        self.get("/v1/roles/auditor").await;
        self.send(put.clone(), "/v1/roles/auditor", json!({ "permissions": ["users:read"] })).await;

        let eve = json!({ "email": "eve@example.org", "password": PASSWORD, "roles": ["user", "auditor"] });
        let eve = self.send(post.clone(), "/v1/users", eve).await;
        let path = format!("/v1/users/{}", eve["id"].as_str().unwrap());
        self.get(&path).await;
        self.send(patch.clone(), &path, json!({ "email": "eva@example.org" })).await;
        self.send(put.clone(), &format!("{path}/password"), json!({ "new_password": NEW_PASSWORD })).await;
        self.send(put.clone(), &format!("{path}/roles"), json!({ "roles": ["user"] })).await;
        self.pages(&format!("{path}/sessions")).await;
        self.send(delete.clone(), &format!("{path}/sessions"), Value::Null).await;
        self.send(post.clone(), &format!("{path}/password-reset"), Value::Null).await;
        self.get(&format!("{path}/factors")).await;
        self.send(delete.clone(), &format!("{path}/factors"), Value::Null).await;
        self.send(patch.clone(), &path, json!({ "status": "disabled" })).await;
        self.send(delete.clone(), &path, Value::Null).await;
        self.send(delete.clone(), "/v1/roles/auditor", Value::Null).await;
        self.call_invitations().await;
        self.call_lists(eve["id"].as_str().unwrap()).await;
        self.call_mails().await;

        let key = self.send(post.clone(), "/v1/signing-keys", Value::Null).await;
        self.get("/v1/signing-keys").await;
        self.send(delete.clone(), &format!("/v1/signing-keys/{}", key["kid"].as_str().unwrap()), Value::Null).await;
        self.send(delete, "/v1/me/sessions", Value::Null).await;
    }

    /// Adds a passkey to the account of the user who is logged in, and proves with it whatever a passkey can prove.
    async fn call_passkeys(&mut self) {
        let (post, mut device) = (Method::POST, PasskeyDevice::default());
        let made = self.send(post.clone(), "/v1/me/factors/passkey/options", Value::Null).await;
        let credential = device.make(ORIGIN, &made["options"]).await;
        let body = json!({ "ceremony": made["ceremony"], "credential": credential });
        let added = self.send(post.clone(), "/v1/me/factors/passkey", body.clone()).await;
        self.token = added["tokens"]["access_token"].as_str().unwrap().to_owned();
        self.try_send(post.clone(), "/v1/me/factors/passkey", body).await;
        let factor = self.sign(&mut device, "/v1/me/authentication/options", Value::Null).await;
        self.send(post.clone(), "/v1/me/authentication", json!({ "factor": factor })).await;

        let log_in = json!({ "identifier": "ada", "password": NEW_PASSWORD });
        let (asked, _) = self.try_send(post.clone(), "/v1/sessions", log_in).await;
        let challenge = json!({ "challenge": asked["challenge"] });
        let factor = self.sign(&mut device, "/v1/passkeys/options", challenge).await;
        let body = json!({ "challenge": asked["challenge"], "factor": factor });
        self.send(post.clone(), "/v1/sessions/second-factor", body).await;
        let mut proof = self.sign(&mut device, "/v1/passkeys/options", json!({})).await;
        proof.as_object_mut().unwrap().remove("kind");
        let tokens = self.send(post.clone(), "/v1/sessions/passkey", proof.clone()).await;
        self.try_send(post, "/v1/sessions/passkey", proof).await;
        self.token = tokens["access_token"].as_str().unwrap().to_owned();
    }

    /// Uses a passkey with the options from `path`, and returns what proves a factor.
    async fn sign(&mut self, device: &mut PasskeyDevice, path: &str, body: Value) -> Value {
        let begun = self.send(Method::POST, path, body).await;
        let credential = device.sign(ORIGIN, &begun["options"]).await;
        json!({ "kind": "passkey", "ceremony": begun["ceremony"], "credential": credential })
    }

    /// Verifies the address of the user who is logged in, and resets the password to [`NEW_PASSWORD`].
    async fn call_mail_flows(&mut self) {
        let post = Method::POST;
        // As in an account that was registered in the mode `open`.
        let tx = self.app.db.write_in_background().await.unwrap();
        tx.execute_unprepared("UPDATE users SET email_verified = FALSE WHERE username = 'ada'").await.unwrap();
        tx.commit().await.unwrap();
        let me = self.get("/v1/me").await;
        let (user, identifier) = (me["id"].as_str().unwrap().parse().unwrap(), json!({ "identifier": me["email"] }));
        let complete = "/v1/me/email/verification/complete";
        self.send(post.clone(), "/v1/me/email/verification", Value::Null).await;
        let (token, code) = self.secrets(user, TicketPurpose::Verify).await;
        self.try_send(post.clone(), complete, json!({ "code": "00000000" })).await;
        self.try_send(post.clone(), complete, json!({ "token": token.replace(|_: char| true, "A") })).await;
        self.send(post.clone(), complete, json!({ "code": code })).await;
        self.change_address(user).await;

        self.send(post.clone(), "/v1/password-resets", json!({ "identifier": "nobody" })).await;
        let pending = self.send(post.clone(), "/v1/password-resets", identifier.clone()).await;
        self.send(post.clone(), "/v1/password-resets", identifier).await;
        let (token, code) = self.secrets(user, TicketPurpose::Reset).await;
        self.send(post.clone(), "/v1/tickets/read", json!({ "token": token })).await;
        let by = |code: &str| {
            let proof = json!({ "kind": "code", "handle": pending["handle"], "code": code });
            json!({ "proof": proof, "new_password": NEW_PASSWORD })
        };
        self.try_send(post.clone(), "/v1/password-resets/complete", by("00000000")).await;
        self.send(post.clone(), "/v1/password-resets/complete", by(&code)).await;
        let by_link = json!({ "proof": { "kind": "link", "token": token }, "new_password": NEW_PASSWORD });
        self.try_send(post, "/v1/password-resets/complete", by_link).await;
    }

    /// Adds two authenticator apps to the account `ada`, proves them in every way, and removes them.
    async fn call_factors(&mut self) {
        let (post, path) = (Method::POST, "/v1/me/factors/totp");
        self.log_in("ada", NEW_PASSWORD).await;
        let mut codes = Value::Null;
        for _ in 0..2 {
            let started = self.send(post.clone(), path, json!({ "name": "Phone" })).await;
            let confirm = format!("{path}/{}/confirm", started["id"].as_str().unwrap());
            self.try_send(post.clone(), &confirm, json!({ "code": "000000" })).await;
            let code = code_of(started["secret"].as_str().unwrap(), self.app.clock.now());
            let enrolled = self.send(post.clone(), &confirm, json!({ "code": code })).await;
            self.token = enrolled["tokens"]["access_token"].as_str().unwrap().to_owned();
            if codes.is_null() {
                codes = enrolled["recovery_codes"].clone();
            }
        }
        let proof = |code: &Value| json!({ "kind": "recovery_code", "code": code });
        self.send(post.clone(), "/v1/me/authentication", json!({ "factor": proof(&codes[0]) })).await;
        self.log_in_with(proof(&codes[1])).await;
        let new = self.send(post, "/v1/me/recovery-codes", Value::Null).await;
        let factors = self.get("/v1/me/factors").await;
        for (number, factor) in factors["items"].as_array().unwrap().iter().enumerate() {
            let factor = format!("/v1/me/factors/{}", factor["id"].as_str().unwrap());
            self.log_in_with(proof(&new["codes"][number])).await;
            self.send(Method::PATCH, &factor, json!({ "name": "Old phone" })).await;
            self.send(Method::DELETE, &factor, Value::Null).await;
        }
    }

    /// Logs in to the account `ada` with a factor, after a wrong one.
    async fn log_in_with(&mut self, factor: Value) {
        let (log_in, complete) = (json!({ "identifier": "ada", "password": NEW_PASSWORD }), "/v1/sessions/second-factor");
        let challenge = self.try_send(Method::POST, "/v1/sessions", log_in).await.0["challenge"].clone();
        let wrong = json!({ "challenge": challenge, "factor": { "kind": "totp", "code": "000000" } });
        self.try_send(Method::POST, complete, wrong).await;
        let tokens = self.send(Method::POST, complete, json!({ "challenge": challenge, "factor": factor })).await;
        self.token = tokens["access_token"].as_str().unwrap().to_owned();
    }

    /// Changes the address of the user who is logged in, and undoes that.
    async fn change_address(&mut self, user: UserId) {
        let (post, complete) = (Method::POST, "/v1/me/pending-email/complete");
        let wanted = json!({ "email": "ada@example.com", "current_password": NEW_PASSWORD });
        self.send(Method::PATCH, "/v1/me", wanted.clone()).await;
        self.send(Method::DELETE, "/v1/me/pending-email", Value::Null).await;
        self.send(Method::PATCH, "/v1/me", wanted).await;
        self.try_send(post.clone(), complete, json!({ "code": "00000000" })).await;
        let (_, code) = self.secrets(user, TicketPurpose::Change).await;
        self.send(post.clone(), complete, json!({ "code": code })).await;
        let (token, _) = self.secrets(user, TicketPurpose::Revert).await;
        let undo = json!({ "token": token, "new_password": NEW_PASSWORD });
        self.send(post.clone(), "/v1/email-changes/revert", undo.clone()).await;
        self.try_send(post, "/v1/email-changes/revert", undo).await;
        self.log_in("ada", NEW_PASSWORD).await;
    }

    /// Creates the account of Ada, and is told that it exists.
    async fn call_sign_up(&mut self) {
        let post = Method::POST;
        let email = json!({ "email": "ada@example.org" });
        let pending = self.send(post.clone(), "/v1/sign-ups", email.clone()).await;
        let ticket = self.newest_mail().await;
        let code = tickets::code(&self.app, &ticket).expose();
        let by = |code: &str| {
            let proof = json!({ "kind": "code", "handle": pending["handle"], "code": code });
            json!({ "proof": proof, "password": PASSWORD, "username": "ada" })
        };
        self.try_send(post.clone(), "/v1/sign-ups/complete", by("00000000")).await;
        self.send(post.clone(), "/v1/sign-ups/complete", by(&code)).await;
        self.send(post, "/v1/sign-ups", email).await;
    }

    /// Invites a person twice, who accepts and leaves, and another one whose invitation is sent again and revoked.
    async fn call_invitations(&mut self) {
        let (post, path) = (Method::POST, "/v1/invitations");
        for _ in 0..2 {
            self.send(post.clone(), path, json!({ "email": "grace@example.org", "roles": ["user", "clerk"] })).await;
        }
        self.send(post.clone(), "/v1/password-resets", json!({ "identifier": "grace@example.org" })).await;
        let token = tickets::token(&self.app, &self.newest_mail().await).unwrap().to_string();
        let acceptance = json!({ "token": token, "password": PASSWORD });
        let grace = self.send(post.clone(), "/v1/invitations/accept", acceptance).await;
        self.send(Method::DELETE, &format!("/v1/users/{}", grace["id"].as_str().unwrap()), Value::Null).await;
        let other = self.send(post.clone(), path, json!({ "email": "ida@example.org" })).await;
        let other = format!("{path}/{}", other["id"].as_str().unwrap());
        self.send(post, &format!("{other}/resend"), Value::Null).await;
        self.pages("/v1/invitations?limit=1").await;
        self.send(Method::DELETE, &other, Value::Null).await;
    }

    /// Returns the ticket of the newest mail.
    async fn newest_mail(&self) -> ticket::Model {
        let db = self.app.db.read();
        let mail = mail::Entity::find().order_by_desc(mail::Column::Id).one(db).await.unwrap().unwrap();
        ticket::Entity::find_by_id(mail.ticket_id.unwrap()).one(db).await.unwrap().unwrap()
    }

    /// Returns the token and the code of a user's ticket.
    async fn secrets(&self, user: UserId, purpose: TicketPurpose) -> (String, String) {
        let ticket = ticket::Entity::newest_of(self.app.db.read(), user, purpose).await.unwrap().unwrap();
        (tickets::token(&self.app, &ticket).unwrap().to_string(), tickets::code(&self.app, &ticket).expose())
    }

    /// Sends mails, lists them with each filter, and lets two fail.
    async fn call_mails(&mut self) {
        for _ in 0..4 {
            self.send(Method::POST, "/v1/mails/test", json!({ "to": "ada@example.org" })).await;
        }
        let outcomes = [SendError::Transport("down".into()), SendError::Refused("no such mailbox".into())];
        let leased = sending::lease(&self.app).await.unwrap();
        assert!(leased.len() > outcomes.len());
        let mut outcomes = outcomes.into_iter();
        for mail in leased {
            match outcomes.next() {
                Some(error) => sending::record(&self.app, mail, Err(error)).await.unwrap(),
                None => sending::deliver(&self.app, mail).await,
            }
        }
        sending::count_waiting(&self.app).await.unwrap();
        for state in ["", "&state=queued", "&state=sent", "&state=failed"] {
            for kind in ["", "&kind=test", "&kind=reset"] {
                self.pages(&format!("/v1/mails?limit=2{state}{kind}")).await;
            }
        }
        let failed = self.get("/v1/mails?state=failed&limit=1").await;
        let retry = format!("/v1/mails/{}/retry", failed["items"][0]["id"].as_str().unwrap());
        self.send(Method::POST, &retry, Value::Null).await;
    }

    /// Reads each list of users and of audit events, in each order and with each filter.
    async fn call_lists(&mut self, user: &str) {
        for sort in ["created_at", "-created_at", "email", "-email"] {
            for status in ["", "&status=active", "&status=disabled"] {
                for role in ["", "&role=clerk", "&role=admin"] {
                    for search in ["", "&search=old5@example.org", "&search=lovelace123", "&search=zzz"] {
                        // Without a filter or a search, the total is counted up to its limit.
                        let total = if search.is_empty() { "" } else { "&total=true" };
                        self.pages(&format!("/v1/users?limit=25&sort={sort}{status}{role}{search}{total}")).await;
                    }
                }
            }
        }
        for filter in [String::new(), format!("&actor={user}"), format!("&subject={user}"), "&kind=account.closed".to_owned()] {
            for range in ["", "&from=2026-01-01T00:00:00Z", "&to=2099-01-01T00:00:00Z"] {
                self.pages(&format!("/v1/audit-events?limit=2{filter}{range}")).await;
            }
        }
    }

    /// Erases two people, one of whom has left before, and looks for others as the command does.
    async fn erase(&mut self) {
        let mut ids = Vec::new();
        for name in ["ida", "joan"] {
            let new = json!({ "email": format!("{name}@example.org"), "password": PASSWORD });
            self.log_in("root@example.org", PASSWORD).await;
            ids.push(self.send(Method::POST, "/v1/users", new).await["id"].as_str().unwrap().parse::<UserId>().unwrap());
            self.log_in(&format!("{name}@example.org"), PASSWORD).await;
        }
        let tx = self.app.db.write_in_background().await.unwrap();
        tx.execute_unprepared("UPDATE audit_events SET address = '192.0.2.1' WHERE kind = 'session.logged_in'").await.unwrap();
        tx.commit().await.unwrap();
        self.send(Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })).await;
        erasure::erase(&self.app, ids[0]).await.unwrap();
        erasure::erase_closed(&self.app, ids[1]).await.unwrap();
        for name in ["joan@example.org", "joan"] {
            assert!(erasure::closed(&self.app, &name.parse().unwrap()).await.unwrap().is_empty());
            assert!(erasure::closed_with_former_name(&self.app, &name.parse().unwrap()).await.unwrap().is_empty());
        }
    }

    /// Returns the operations of the contract that were not called.
    fn not_called(&self) -> Vec<String> {
        let is_called = |method: &str, path: &str| {
            self.called.iter().any(|(called_method, called)| {
                let (parts, called): (Vec<_>, Vec<_>) = (path.split('/').collect(), called.split('/').collect());
                let mut parts_and_called = parts.iter().zip(&called);
                called_method.eq_ignore_ascii_case(method)
                    && parts.len() == called.len()
                    && parts_and_called.all(|(part, called)| part.starts_with('{') || part == called)
            })
        };
        let operations = contract::operations(contract::document());
        let missing = operations.filter(|(path, method, _)| !is_called(method, path));
        missing.map(|(path, method, _)| format!("{method} {path}")).collect()
    }
}

/// Returns the code that an authenticator app with this secret shows at a time.
fn code_of(secret: &str, now: DateTime<Utc>) -> String {
    let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
    totp.generate(now.timestamp().try_into().unwrap()).to_string()
}

/// Fills the large tables. The rows are current: no purge deletes many of them.
async fn fill(app: &App) {
    let tx = app.db.write_in_background().await.unwrap();
    let is_sqlite = tx.get_database_backend() == DbBackend::Sqlite;
    let (id, bytes, numbers, begin) = if is_sqlite {
        (
            "unhex(printf('%012x', CAST(strftime('%s') AS INTEGER) * 1000 - i * 1000) || hex(randomblob(10)))",
            "randomblob(32)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS)",
            "PRAGMA foreign_keys",
        )
    } else {
        (
            "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - i * 1000), 12, '0') || substr(md5(random()::text), 1, 20))::uuid",
            "decode(md5(random()::text), 'hex')",
            "WITH n(i) AS (SELECT * FROM generate_series(1::bigint, ROWS))",
            "SET LOCAL statement_timeout = 0",
        )
    };
    let (now, later) = ("'2026-01-01T00:00:00+00:00'", "'2099-01-01T00:00:00+00:00'");
    let mut sql =
        format!("{begin}; INSERT INTO roles (name, built_in, created_at, updated_at) VALUES ('clerk', FALSE, {now}, {now});");
    let mut insert = |columns: &str, values: String| {
        _ = write!(sql, "INSERT INTO {columns} {numbers} SELECT {values} FROM n; ");
    };
    insert(
        "users (id, email, username, name, status, password_hash, epoch, revision, created_at, updated_at)",
        format!(
            "{id}, CASE WHEN 2 * i > ROWS THEN 'new' ELSE 'old' END || (i * 7919 % ROWS) || '@example.org',
            CASE i % 2 WHEN 0 THEN 'name' || i END, CASE i % 3 WHEN 0 THEN 'Ada Lovelace' || i END,
            CASE i % 10 WHEN 0 THEN 'disabled' ELSE 'active' END, NULL, 0, 0, {now}, {now}"
        ),
    );
    insert(
        "audit_events (id, at, kind, actor_id, subject_id, details)",
        format!("{id}, {later}, 'user.updated', {id}, 'subject' || i, '{{}}'"),
    );
    insert("revocations (kind, session_id, created_at, expires_at)", format!("'session_ended', {id}, {now}, {later}"));
    insert("throttles (key, forgiven_at, last_at)", format!("{bytes}, {later}, {now}"));
    insert("known_networks (key, expires_at)", format!("{bytes}, {later}"));
    insert("tallies (key, times, expires_at)", format!("{bytes}, '', {later}"));
    insert(
        "tickets (id, purpose, user_id, address, recipient, language, attempts, context, created_at, expires_at)",
        format!("{id}, 'reset', {id}, 'old' || i || '@example.org', {bytes}, 'en', 0, '{{}}', {now}, {later}"),
    );
    insert(
        "mails (id, kind, to_address, language, params, precedence, state, attempts, created_at, sent_at)",
        format!("{id}, 'reset', 'old' || i || '@example.org', 'en', '{{}}', 0, 'sent', 1, {now}, {now}"),
    );
    insert(
        "invitations (id, email, roles, created_by, created_at, expires_at, accepted_at)",
        format!(
            "{id}, 'old' || i || '@example.org', '[]', {id}, {now}, {later}, CASE i % 2 WHEN 0 THEN {now}{} END",
            if is_sqlite { "" } else { "::timestamptz" }
        ),
    );
    insert(
        "closed_accounts (id, email, username, closed_at, erased)",
        format!("{id}, 'old' || i || '@example.org', 'name' || i, {later}, FALSE"),
    );
    insert("redeemed_ceremonies (id, expires_at)", format!("{id}, {later}"));
    _ = write!(
        sql,
        "INSERT INTO factors (id, user_id, kind, name, sealed, ordinal, last_step, created_at)
        SELECT id, id, 'totp', 'App', {bytes}, 1, 0, {now} FROM users;
        INSERT INTO pending_totps (id, user_id, name, sealed, ordinal, created_at, expires_at)
        SELECT id, id, 'App', {bytes}, 1, {now}, {later} FROM users;
        INSERT INTO recovery_codes (digest, user_id, created_at) SELECT {bytes}, id, {now} FROM users;
        INSERT INTO challenges (digest, user_id, purpose, account_state, attempts, created_at, expires_at)
        SELECT {bytes}, id, 'log_in', {bytes}, 0, {now}, {later} FROM users;",
    );
    sql.push_str(
        "INSERT INTO ticket_handles (digest, ticket_id, attempts, created_at, expires_at)
        SELECT recipient, id, 0, created_at, expires_at FROM tickets;
        INSERT INTO user_roles (user_id, role) SELECT id, CASE WHEN email LIKE 'new%' THEN 'clerk' ELSE 'user' END FROM users;
        INSERT INTO user_words (user_id, word) SELECT id, lower(name) FROM users WHERE name IS NOT NULL;
        INSERT INTO user_words (user_id, word) SELECT id, lower(substr(name, 5)) FROM users WHERE name IS NOT NULL;",
    );
    _ = write!(
        sql,
        "INSERT INTO sessions (id, user_id, client_id, created_at, last_used_at, expires_at, refresh_secret)
        SELECT id, id, 'vestibule', {now}, {later}, {later}, {} FROM users;",
        if is_sqlite { "x''" } else { "''::bytea" }
    );
    tx.execute_unprepared(&sql.replace("ROWS", &ROWS.to_string())).await.unwrap();
    tx.commit().await.unwrap();
    if !is_sqlite {
        let tx = app.db.write_in_background().await.unwrap();
        tx.execute_unprepared("ANALYZE").await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn plan(db: &impl ConnectionTrait, statement: &Statement) -> Vec<String> {
    let (explain, column) =
        if statement.db_backend == DbBackend::Sqlite { ("EXPLAIN QUERY PLAN", "detail") } else { ("EXPLAIN", "QUERY PLAN") };
    let explained = Statement { sql: format!("{explain} {}", statement.sql), ..statement.clone() };
    let rows = db.query_all_raw(explained).await.unwrap_or_else(|error| panic!("{}: {error}", statement.sql));
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}

/// Returns whether a statement reads or sorts a large table, or an unlimited part of it.
fn is_slow(statement: &Statement, plan: &[String]) -> bool {
    // No row has an id of an empty list. The database finds that out before it reads the table.
    if statement.sql.contains("WHERE ? = ?") {
        return false;
    }
    // `plain` in `domain/users/list/matching.rs`: a page of a search is chosen from the ids of all its matches.
    let chooses_from_matches = statement.sql.contains("COALESCE(");
    plan.iter().any(|step| {
        let step = step.trim_start_matches([' ', '-', '>']);
        if statement.db_backend == DbBackend::Postgres {
            let rows = |step: &str| step.split("rows=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
            let scans = LARGE.iter().any(|table| step.starts_with(&format!("Seq Scan on {table} ")));
            return scans || step.starts_with("Sort ") && rows(step).unwrap_or(0) > 1_000 && !chooses_from_matches;
        }
        let words: Vec<_> = step.split(' ').collect();
        match *words.as_slice() {
            // A page in the order of the index. A condition would mean that it may read the whole index.
            // The index has only the rows that satisfy the condition.
            ["SCAN", "mails", .., "mails_listed"] => !statement.sql.contains("LIMIT"),
            ["SCAN", table, "USING", ..] if LARGE.contains(&table) => {
                let conditions = statement.sql.rsplit(" FROM ").next().unwrap_or_default();
                conditions.replace("WHERE TRUE", "").contains("WHERE") || !conditions.contains("LIMIT")
            }
            ["SCAN", table, ..] => LARGE.contains(&table),
            // The rows of a page, of a user or of some keys are few.
            ["USE", "TEMP", "B-TREE", ..] => {
                let are_few = |step: &String| ["(id=", "(user_id=", "(key=", "(recipient="].iter().any(|few| step.contains(few));
                let is_large = |step: &String| LARGE.iter().any(|table| step.contains(&format!(" {table} ")));
                plan.iter().any(is_large) && !chooses_from_matches && !plan.iter().any(are_few)
            }
            _ => false,
        }
    })
}

/// Returns the statements that are slow, with their plans. Needs the schema as `db` sees it.
async fn slow(db: &impl ConnectionTrait, statements: &[Statement]) -> Vec<String> {
    let mut slow = Vec::new();
    for statement in statements {
        let plan = plan(db, statement).await;
        if is_slow(statement, &plan) {
            slow.push(format!("{}\n{plan:#?}", statement.sql));
        }
    }
    slow
}

#[tokio::test]
async fn no_statement_of_an_operation_or_a_job_reads_a_whole_table() {
    for database in TestDatabase::each().await {
        let directory = TempDir::new().unwrap();
        let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        settings.database.url = Some(database.url.clone());
        settings.server.public_url = Some(ORIGIN.parse().unwrap());
        settings.mail.transport = Some(MailTransport::File);
        // A registration sends no statement that a sign-up does not send.
        settings.registration.mode = RegistrationMode::Verified;
        let mut site = Site::start(settings, Arc::new(SystemClock)).await;
        fill(&site.app).await;
        site.create_administrator().await;
        site.app.db.take_sent();
        site.call_all().await;
        site.erase().await;
        jobs::purge(&site.app).await;
        revocations::follow(&site.app).await.unwrap();
        assert_eq!(site.not_called(), Vec::<String>::new(), "call each operation in `call_all`");

        let sent = site.app.db.take_sent();
        let statements: BTreeMap<_, _> = sent.into_iter().map(|statement| (statement.sql.clone(), statement)).collect();
        let statements: Vec<_> = statements.into_values().collect();
        assert!(statements.len() > 100, "{} statements", statements.len());
        let slow_statements = slow(site.app.db.read(), &statements).await;
        assert!(slow_statements.is_empty(), "{}", slow_statements.join("\n"));

        // The test finds a statement whose index is missing.
        let needed = [
            "sessions_user_id",
            "users_email",
            "users_username",
            "throttles_forgiven_at",
            "known_networks_expires_at",
            "tickets_recipient",
            "tickets_user_id",
            "tickets_expires_at",
            "tallies_expires_at",
            "mails_next_at",
            "mails_sent_at",
            "invitations_expires_at",
            "invitations_email",
            "mails_to_user",
            "mails_to_nobody",
            "closed_accounts_closed_at",
            "closed_accounts_due_at",
            "closed_accounts_email",
            "closed_accounts_username",
        ];
        for index in needed {
            let tx = site.app.db.write_in_background().await.unwrap();
            tx.execute_unprepared(&format!("DROP INDEX {index}")).await.unwrap();
            assert!(!slow(&tx, &statements).await.is_empty(), "no statement needs {index}");
            tx.rollback().await.unwrap();
        }
    }
}
