//! Kills: a process is killed (SIGKILL) before its nth statement, in each flow that sends a mail, on both databases (row M02). A
//! committed change has its mail, a change that was rolled back has none, and a mail that is sent twice has one `Message-ID`.
//!
//! The test starts itself again as the process that is killed.

use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use poem::http::Method;
use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder, Statement};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    NEW_PASSWORD, PASSWORD, Site, code_of,
    mail_server::{MailServer, Script},
    mail_text,
};
use crate::{
    config::{MailTransport, Settings, SmtpTls},
    domain::{generations, mail::sending},
    entity::mail::{self, MailState},
    live::{
        clock::{Clock, SystemClock},
        database::tests::{kills, test_database::TestDatabase},
    },
    values::{ids::UserId, mail_kind::MailKind, registration_mode::RegistrationMode, ticket_purpose::TicketPurpose},
};

/// The environment variable that makes the test the process that is killed.
const VICTIM: &str = "VESTIBULE_TEST_VICTIM";
/// How many statements of each flow the short test tries.
const SAMPLE: u64 = 2;

/// A flow that sends mails.
struct Flow {
    name: &'static str,
    /// Counts what the change writes: 0 before it, and 1 after it.
    change: &'static str,
    /// The kind of its mails, and how many of them there are.
    mails: (MailKind, i64),
}

const FLOWS: &[Flow] = &[
    Flow { name: "request a reset", change: "SELECT count(*) FROM ticket_handles", mails: (MailKind::Reset, 1) },
    Flow {
        name: "reset the password",
        change: "SELECT count(*) FROM tickets WHERE used_at IS NOT NULL",
        mails: (MailKind::PasswordReset, 1),
    },
    Flow { name: "send a reset", change: "SELECT count(*) FROM tickets", mails: (MailKind::Reset, 1) },
    Flow { name: "request a verification", change: "SELECT count(*) FROM ticket_handles", mails: (MailKind::Verify, 1) },
    Flow {
        name: "change the password",
        change: "SELECT count(*) FROM audit_events WHERE kind = 'account.password_changed'",
        mails: (MailKind::PasswordChanged, 1),
    },
    Flow {
        name: "request another address",
        change: "SELECT count(*) FROM users WHERE pending_email IS NOT NULL",
        mails: (MailKind::Change, 1),
    },
    Flow {
        name: "change the address",
        change: "SELECT count(*) FROM users WHERE email = 'ada@example.com'",
        mails: (MailKind::Revert, 1),
    },
    Flow {
        name: "undo a change of address",
        change: "SELECT count(*) FROM users WHERE email = 'ada@example.org'",
        mails: (MailKind::EmailChangeUndone, 2),
    },
    Flow { name: "start a sign-up", change: "SELECT count(*) FROM ticket_handles", mails: (MailKind::SignUp, 1) },
    Flow {
        name: "start a sign-up of a user",
        change: "SELECT count(*) FROM ticket_handles",
        mails: (MailKind::AccountExists, 1),
    },
    Flow { name: "invite a person", change: "SELECT count(*) FROM invitations", mails: (MailKind::Invite, 1) },
    Flow {
        name: "disable an account",
        change: "SELECT count(*) FROM users WHERE status = 'disabled'",
        mails: (MailKind::AccountDisabled, 1),
    },
    Flow {
        name: "close an account",
        change: "SELECT count(*) FROM audit_events WHERE kind = 'account.closed'",
        mails: (MailKind::AccountClosed, 1),
    },
    Flow { name: "add a factor", change: "SELECT count(*) FROM factors", mails: (MailKind::FactorAdded, 1) },
    Flow {
        name: "replace the recovery codes",
        change: "SELECT count(*) - 1 FROM audit_events WHERE kind = 'account.recovery_codes_created'",
        mails: (MailKind::RecoveryCodesCreated, 1),
    },
    Flow { name: "remove a factor", change: "SELECT 1 - count(*) FROM factors", mails: (MailKind::FactorRemoved, 1) },
    Flow { name: "reset the factors", change: "SELECT 1 - count(*) FROM factors", mails: (MailKind::FactorsReset, 1) },
    Flow {
        name: "use a recovery code",
        change: "SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL",
        mails: (MailKind::RecoveryCodeUsed, 1),
    },
    Flow {
        name: "use one of the last recovery codes",
        change: "SELECT count(*) / 7 FROM challenges WHERE used_at IS NOT NULL",
        mails: (MailKind::RecoveryCodesLow, 1),
    },
    Flow {
        name: "enter the third wrong factor",
        change: "SELECT count(*) FROM challenges WHERE attempts = 3",
        mails: (MailKind::FactorRefused, 1),
    },
    Flow {
        name: "make recovery codes void by a restore",
        change: "SELECT count(*) FROM audit_events WHERE kind = 'database.restored'",
        mails: (MailKind::RecoveryCodesVoid, 1),
    },
    Flow {
        name: "send a test",
        change: "SELECT count(*) FROM audit_events WHERE kind = 'mail.test_sent'",
        mails: (MailKind::Test, 1),
    },
];

impl Flow {
    fn mode(&self) -> RegistrationMode {
        if self.name.contains("sign-up") { RegistrationMode::Verified } else { RegistrationMode::Open }
    }

    /// Prepares the database, and returns what [`Self::act`] needs.
    async fn prepare(&self, site: &mut Site) -> Value {
        site.create_administrator().await;
        let ada = json!({ "email": "ada@example.org", "password": PASSWORD });
        if self.mode() == RegistrationMode::Open {
            site.send(Method::POST, "/v1/accounts", ada).await;
        } else {
            site.log_in("root@example.org", PASSWORD).await;
            site.send(Method::POST, "/v1/users", ada).await;
        }
        let user = site.log_in("ada@example.org", PASSWORD).await;
        let id = site.get("/v1/me").await["id"].clone();
        let admin = site.log_in("root@example.org", PASSWORD).await;
        let mut needs = json!({ "user": user["access_token"], "id": id, "admin": admin["access_token"] });
        let owner: UserId = id.as_str().unwrap().parse().unwrap();
        if self.name.contains("address") || self.concerns_factors() {
            // The administrator vouches for the address, so a change can be undone, and a factor added.
            let path = format!("/v1/users/{owner}");
            site.send(Method::PATCH, &path, json!({ "email": "ada@example.org" })).await;
        }
        let text = |needs: &Value| needs["user"].as_str().unwrap().to_owned();
        let wanted = json!({ "email": "ada@example.com", "current_password": PASSWORD });
        match self.name {
            "reset the password" => {
                site.send(Method::POST, "/v1/password-resets", json!({ "identifier": "ada@example.org" })).await;
                needs["ticket"] = site.secrets(owner, TicketPurpose::Reset).await.0.into();
            }
            "change the address" | "undo a change of address" => {
                site.token = text(&needs);
                site.send(Method::PATCH, "/v1/me", wanted).await;
                needs["ticket"] = site.secrets(owner, TicketPurpose::Change).await.0.into();
            }
            _ => {}
        }
        if self.concerns_factors() {
            self.prepare_factor(site, &mut needs).await;
        }
        if self.name == "undo a change of address" {
            site.send(Method::POST, "/v1/me/pending-email/complete", json!({ "token": needs["ticket"] })).await;
            needs["ticket"] = site.secrets(owner, TicketPurpose::Revert).await.0.into();
        }
        needs
    }

    fn concerns_factors(&self) -> bool {
        self.name.contains("factor") || self.name.contains("recovery code")
    }

    /// Adds an authenticator app, unless the flow itself does, and whatever else the flow needs.
    async fn prepare_factor(&self, site: &mut Site, needs: &mut Value) {
        needs["user"].as_str().unwrap().clone_into(&mut site.token);
        needs["app"] = site.send(Method::POST, "/v1/me/factors/totp", Value::Null).await;
        if self.name == "add a factor" {
            return;
        }
        let (path, code) = confirmation(site, needs);
        let enrolled = site.send(Method::POST, &path, code).await;
        needs["user"] = enrolled["tokens"]["access_token"].clone();
        needs["codes"] = enrolled["recovery_codes"].clone();
        let used = if self.name == "use one of the last recovery codes" { 6 } else { 0 };
        for code in 0..used {
            needs["challenge"] = challenge(site).await;
            site.send(Method::POST, COMPLETE, completion(needs, code)).await;
        }
        needs["challenge"] = challenge(site).await;
        if self.name == "enter the third wrong factor" {
            for _ in 0..2 {
                site.try_send(Method::POST, COMPLETE, wrong_completion(needs)).await;
            }
        }
    }

    /// Sends the request of the flow. Returns the status.
    async fn act(&self, site: &mut Site, needs: &Value) -> u16 {
        if self.name == "make recovery codes void by a restore" {
            generations::begin(&site.app).await.unwrap();
            return 204;
        }
        let user = format!("/v1/users/{}", needs["id"].as_str().unwrap());
        let password = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        let (caller, method, path, body) = match self.name {
            "request a reset" => ("", Method::POST, "/v1/password-resets", json!({ "identifier": "ada@example.org" })),
            "reset the password" => {
                let proof = json!({ "kind": "link", "token": needs["ticket"] });
                ("", Method::POST, "/v1/password-resets/complete", json!({ "proof": proof, "new_password": NEW_PASSWORD }))
            }
            "send a reset" => ("admin", Method::POST, &*format!("{user}/password-reset"), Value::Null),
            "request a verification" => ("user", Method::POST, "/v1/me/email/verification", Value::Null),
            "change the password" => ("user", Method::PUT, "/v1/me/password", password),
            "request another address" => {
                ("user", Method::PATCH, "/v1/me", json!({ "email": "ada@example.com", "current_password": PASSWORD }))
            }
            "change the address" => ("user", Method::POST, "/v1/me/pending-email/complete", json!({ "token": needs["ticket"] })),
            "undo a change of address" => {
                let undo = json!({ "token": needs["ticket"], "new_password": NEW_PASSWORD });
                ("", Method::POST, "/v1/email-changes/revert", undo)
            }
            "start a sign-up" => ("", Method::POST, "/v1/sign-ups", json!({ "email": "grace@example.org" })),
            "start a sign-up of a user" => ("", Method::POST, "/v1/sign-ups", json!({ "email": "ada@example.org" })),
            "invite a person" => ("admin", Method::POST, "/v1/invitations", json!({ "email": "grace@example.org" })),
            "disable an account" => ("admin", Method::PATCH, &*user, json!({ "status": "disabled" })),
            "close an account" => ("user", Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })),
            "add a factor" => {
                let (path, code) = confirmation(site, needs);
                ("user", Method::POST, &*path.leak(), code)
            }
            "remove a factor" => {
                let path = format!("/v1/me/factors/{}", needs["app"]["id"].as_str().unwrap());
                ("user", Method::DELETE, &*path.leak(), Value::Null)
            }
            "replace the recovery codes" => ("user", Method::POST, "/v1/me/recovery-codes", Value::Null),
            "reset the factors" => ("admin", Method::DELETE, &*format!("{user}/factors").leak(), Value::Null),
            "use a recovery code" => ("", Method::POST, COMPLETE, completion(needs, 0)),
            "use one of the last recovery codes" => ("", Method::POST, COMPLETE, completion(needs, 6)),
            "enter the third wrong factor" => ("", Method::POST, COMPLETE, wrong_completion(needs)),
            "send a test" => ("admin", Method::POST, "/v1/mails/test", json!({ "to": "ada@example.org" })),
            other => panic!("{other}"),
        };
        site.token = needs[caller].as_str().unwrap_or_default().to_owned();
        site.try_send(method, path, body).await.1
    }

    /// Returns whether the request of the flow has done its work.
    fn is_done(&self, status: u16) -> bool {
        status < 300 || self.name == "enter the third wrong factor" && status == 401
    }
}

const COMPLETE: &str = "/v1/sessions/second-factor";

/// Returns the path and the body that confirm the authenticator app.
fn confirmation(site: &Site, needs: &Value) -> (String, Value) {
    let code = code_of(needs["app"]["secret"].as_str().unwrap(), site.app.clock.now());
    (format!("/v1/me/factors/totp/{}/confirm", needs["app"]["id"].as_str().unwrap()), json!({ "code": code }))
}

/// Begins a log-in, and returns its challenge.
async fn challenge(site: &mut Site) -> Value {
    let log_in = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    site.try_send(Method::POST, "/v1/sessions", log_in).await.0["challenge"].clone()
}

/// Returns the body that completes a log-in with this recovery code.
fn completion(needs: &Value, code: usize) -> Value {
    json!({ "challenge": needs["challenge"], "factor": { "kind": "recovery_code", "code": needs["codes"][code] } })
}

fn wrong_completion(needs: &Value) -> Value {
    json!({ "challenge": needs["challenge"], "factor": { "kind": "recovery_code", "code": "0000-0000-0000-0000" } })
}

/// What the process that is killed has to do.
#[derive(Serialize, Deserialize)]
struct Task {
    flow: usize,
    url: String,
    port: u16,
    needs: Value,
    /// The statement before which it is killed, from 1.
    nth: u64,
}

/// A clock that is ahead: the leases of the process that was killed have expired.
struct Later;

impl Clock for Later {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::minutes(3)
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }
}

async fn open(flow: &Flow, url: &str, port: u16, directory: &Path, clock: Arc<dyn Clock>) -> Site {
    let mut settings = Settings { data_dir: directory.to_owned(), ..Settings::default() };
    settings.database.url = Some(url.to_owned().into());
    settings.registration.mode = flow.mode();
    settings.server.public_url = Some("https://id.example.org".parse().unwrap());
    settings.mail.transport = Some(MailTransport::Smtp);
    settings.mail.from = Some("id@example.org".parse().unwrap());
    settings.mail.smtp.host = Some("127.0.0.1".to_owned());
    settings.mail.smtp.port = Some(port);
    settings.mail.smtp.tls = SmtpTls::None;
    Site::start(settings, clock).await
}

async fn send_mails(site: &Site) {
    loop {
        let leased = sending::lease(&site.app).await.unwrap();
        if leased.is_empty() {
            return;
        }
        for mail in leased {
            sending::deliver(&site.app, mail).await;
        }
    }
}

async fn count(site: &Site, sql: &str) -> i64 {
    let db = site.app.db.read();
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// Runs a task in this process, which may be killed meanwhile.
async fn run(task: Task) {
    let directory = TempDir::new().unwrap();
    let flow = &FLOWS[task.flow];
    let mut site = open(flow, &task.url, task.port, directory.path(), Arc::new(SystemClock)).await;
    kills::before(task.nth);
    let status = flow.act(&mut site, &task.needs).await;
    assert!(flow.is_done(status), "{status}");
    send_mails(&site).await;
    kills::never();
}

/// Kills a process before its nth statement, and looks at what it leaves. Returns false if the process has fewer statements.
async fn kill(flow: usize, prepared: &TestDatabase, needs: &Value, nth: u64) -> bool {
    let (database, server) = (prepared.copy().await, MailServer::start(Script::default()));
    let (url, port) = (database.raw_url().to_owned(), server.port);
    let task = Task { flow, url: url.clone(), port, needs: needs.clone(), nth };
    let this = concat!(module_path!(), "::m02_a_mail_is_sent_if_and_only_if_its_change_was_committed");
    let mut victim = Command::new(env::current_exe().unwrap());
    victim.args(["--exact", this.split_once("::").unwrap().1, "--nocapture"]).stdout(Stdio::null());
    let status = victim.env(VICTIM, json!(task).to_string()).status().unwrap();
    let was_killed = status.signal() == Some(9);
    let flow = &FLOWS[flow];
    let what = format!("{} killed before statement {nth}", flow.name);
    assert!(was_killed || status.success(), "{what}: {status}");

    let directory = TempDir::new().unwrap();
    let mut site = open(flow, &url, port, directory.path(), Arc::new(Later)).await;
    let (kind, expected) = flow.mails;
    let of_kind = format!("SELECT count(*) FROM mails WHERE kind = '{kind}'");
    let (changed, mails) = (count(&site, flow.change).await, count(&site, &of_kind).await);
    assert_eq!(changed * expected, mails, "{what}: a change without its mail, or a mail without its change");
    assert!(was_killed || changed == 1, "{what}");

    send_mails(&site).await;
    let rows = mail::Entity::find().order_by_asc(mail::Column::Id).all(site.app.db.read()).await.unwrap();
    assert!(rows.iter().filter(|row| row.kind == kind).all(|row| row.state == MailState::Sent), "{what}: {rows:#?}");
    // A mail that was sent twice has one `Message-ID` and one text.
    let mut sent = BTreeMap::<String, Vec<String>>::new();
    for mail in server.mails() {
        let id = mail.message.split_once("Message-ID: <").unwrap().1.split_once('@').unwrap().0.to_owned();
        sent.entry(id).or_default().push(mail.message);
    }
    let expected = rows.iter().filter(|row| row.state == MailState::Sent).map(|row| row.id.to_string());
    assert_eq!(sent.keys().cloned().collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{what}");
    for messages in sent.values() {
        let secrets = |message: &String| (mail_text::token(message), mail_text::code(message));
        assert!(messages.len() <= 2 && messages.iter().all(|message| secrets(message) == secrets(&messages[0])), "{what}");
    }

    // Nobody is locked out: a request that was lost succeeds when it is repeated.
    let again = flow.act(&mut site, needs).await;
    assert!(flow.is_done(again) || changed == 1 && again < 500, "{what}: {again}");
    site.app.db.close().await;
    was_killed
}

/// Kills a process before each statement of each flow, or before some that `seed` selects. Returns how many were killed.
async fn kill_all(seed: Option<u64>) -> u64 {
    let mut killed = 0;
    for database in TestDatabase::each().await {
        for (number, flow) in FLOWS.iter().enumerate() {
            let (prepared, directory, server) =
                (database.copy().await, TempDir::new().unwrap(), MailServer::start(Script::default()));
            let mut site = open(flow, prepared.raw_url(), server.port, directory.path(), Arc::new(SystemClock)).await;
            let needs = flow.prepare(&mut site).await;
            site.app.db.close().await;

            let whole = prepared.copy().await;
            let mut site = open(flow, whole.raw_url(), server.port, directory.path(), Arc::new(SystemClock)).await;
            let before = site.app.db.statements();
            flow.act(&mut site, &needs).await;
            send_mails(&site).await;
            let statements = site.app.db.statements() - before;
            site.app.db.close().await;

            let chosen: Vec<_> = match seed {
                None => (1..=statements).collect(),
                Some(seed) => (0..SAMPLE).map(|which| 1 + hash(&(seed, flow.name, which)) % statements).collect(),
            };
            for nth in chosen {
                assert!(kill(number, &prepared, &needs, nth).await, "{} has no statement {nth}", flow.name);
                killed += 1;
            }
            assert!(!kill(number, &prepared, &needs, statements + 1).await, "{} has more than {statements}", flow.name);
        }
    }
    killed
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

#[tokio::test]
async fn m02_a_mail_is_sent_if_and_only_if_its_change_was_committed() {
    if let Ok(task) = env::var(VICTIM) {
        return run(serde_json::from_str(&task).unwrap()).await;
    }
    let seed = env::var("TRIAL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| std::process::id().into());
    println!("TRIAL_SEED={seed}");
    assert!(kill_all(Some(seed)).await >= SAMPLE * FLOWS.len() as u64);
}

#[tokio::test]
#[ignore = "long: .ci/long runs it"]
async fn long_m02_a_mail_is_sent_if_and_only_if_its_change_was_committed() {
    println!("\n{} processes killed in {} flows", kill_all(None).await, FLOWS.len());
}
