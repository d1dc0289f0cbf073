//! Random histories of sessions, compared with a small model: a session never forks, each session is one chain of refresh
//! tokens, and what is revoked or ended stays so (rows S01, S03 to S06, S08).

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use sea_orm::EntityTrait;
use serde_json::{Value, json};
use vestibule::{
    domain::{
        authority::By,
        revocations, sessions,
        users::{self, Change},
    },
    entity::{session, user::Status},
    live::clock::Clock,
    values::ids::{SessionId, UserId},
};

use crate::support::{PASSWORD, TestApp, caller::Answer};

const PEOPLE: [&str; 2] = ["ada", "bob"];
const IDLE: TimeDelta = TimeDelta::days(30);
const LONGEST: TimeDelta = TimeDelta::days(90);
const DAY: u64 = 24 * 3600;
const REPLAY: TimeDelta = TimeDelta::seconds(10);

/// One step of a history. A session is a number, modulo the count of sessions.
#[derive(Debug, Clone)]
enum Step {
    LogIn {
        person: usize,
    },
    /// The client refreshes with the token that it holds; `lost` if the answer does not arrive.
    Refresh {
        session: usize,
        lost: bool,
    },
    /// A client presents the refresh token that is `back` serials older than the newest.
    Replay {
        session: usize,
        back: i64,
    },
    LogOut {
        session: usize,
    },
    Disable {
        person: usize,
    },
    Enable {
        person: usize,
    },
    SetRoles {
        person: usize,
        more: bool,
    },
    Wait {
        seconds: u64,
    },
    Restart,
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    let session = || 0..8_usize;
    let person = || 0..PEOPLE.len();
    prop_oneof![
        3 => person().prop_map(|person| Step::LogIn { person }),
        8 => (session(), any::<bool>()).prop_map(|(session, lost)| Step::Refresh { session, lost }),
        4 => (session(), 0..4_i64).prop_map(|(session, back)| Step::Replay { session, back }),
        1 => session().prop_map(|session| Step::LogOut { session }),
        1 => person().prop_map(|person| Step::Disable { person }),
        2 => person().prop_map(|person| Step::Enable { person }),
        1 => (person(), any::<bool>()).prop_map(|(person, more)| Step::SetRoles { person, more }),
        6 => prop::sample::select(vec![1, 4, 9, 10, 11, 300, 899, 900, DAY, 29 * DAY, 30 * DAY - 1, 30 * DAY])
            .prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
        1 => Just(Step::Purge),
    ]
}

/// The model of an access token.
struct Access {
    token: String,
    expires: i64,
    epoch: u32,
}

/// The model of a session.
struct Session {
    id: SessionId,
    person: usize,
    began_at: DateTime<Utc>,
    used_at: DateTime<Utc>,
    ended: bool,
    current: i64,
    parent: Option<i64>,
    /// Every refresh token that was issued, by its serial.
    tokens: BTreeMap<i64, String>,
    /// The serial of the token that the client holds.
    held: i64,
    access: Vec<Access>,
}

impl Session {
    fn ends_at(&self) -> DateTime<Utc> {
        (self.began_at + LONGEST).min(self.used_at + IDLE)
    }
}

struct World {
    app: TestApp,
    ids: Vec<UserId>,
    active: [bool; 2],
    more: [bool; 2],
    epochs: [u32; 2],
    sessions: Vec<Session>,
}

impl World {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let mut ids = Vec::new();
        for name in PEOPLE {
            ids.push(app.register(name).await);
        }
        let role = json!({ "name": "more", "permissions": ["billing:refund"] });
        app.admin().await.post("/v1/roles", role).await.expect(201);
        Self { app, ids, active: [true; 2], more: [false; 2], epochs: [0; 2], sessions: Vec::new() }
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    async fn apply(&mut self, step: &Step) {
        let at = |number: usize| if self.sessions.is_empty() { None } else { Some(number % self.sessions.len()) };
        match *step {
            Step::LogIn { person } => self.log_in(person).await,
            Step::Refresh { session, lost } => {
                if let Some(at) = at(session) {
                    let held = self.sessions[at].held;
                    if let Some(next) = self.present(at, held).await.filter(|_| !lost) {
                        self.sessions[at].held = next;
                    }
                }
            }
            Step::Replay { session, back } => {
                if let Some(at) = at(session) {
                    let serial = (self.sessions[at].current - back).max(1);
                    self.present(at, serial).await;
                }
            }
            Step::LogOut { session } => {
                if let Some(at) = at(session) {
                    self.log_out(at).await;
                }
            }
            Step::Disable { person } => {
                self.set_status(person, Status::Disabled).await;
                self.active[person] = false;
                self.sessions.iter_mut().filter(|session| session.person == person).for_each(|session| session.ended = true);
            }
            Step::Enable { person } => {
                self.set_status(person, Status::Active).await;
                self.active[person] = true;
            }
            Step::SetRoles { person, more } => {
                let names: Vec<_> =
                    if more { &["user", "more"][..] } else { &["user"] }.iter().map(|role| role.parse().unwrap()).collect();
                users::set_roles(&self.app.app, By::Operator, self.ids[person], &names).await.unwrap();
                self.epochs[person] += u32::from(self.more[person] != more);
                self.more[person] = more;
            }
            Step::Wait { seconds } => {
                self.app.clock.advance(Duration::from_secs(seconds));
                self.app.trusted().await; // a running server checks its clock every few minutes
            }
            Step::Restart => {
                self.app = self.app.replica().await;
                self.app.trusted().await;
            }
            Step::Purge => {
                let trusted = self.app.trusted().await;
                sessions::purge(&self.app.app, trusted).await.unwrap();
                revocations::purge(&self.app.app, trusted).await.unwrap();
            }
        }
    }

    async fn set_status(&self, person: usize, status: Status) {
        let change = Change { status: Some(status), ..Change::default() };
        users::update(&self.app.app, By::Operator, self.ids[person], change, None).await.unwrap();
    }

    async fn log_in(&mut self, person: usize) {
        let body = json!({ "identifier": PEOPLE[person], "password": PASSWORD });
        let answer = self.app.anonymous().post("/v1/sessions", body).await;
        if !self.active[person] {
            assert_eq!(answer.problem(), (403, "account_disabled"));
            return;
        }
        let (tokens, now) = (answer.expect(201), self.now());
        self.sessions.push(Session {
            id: tokens["session_id"].as_str().unwrap().parse().unwrap(),
            person,
            began_at: now,
            used_at: now,
            ended: false,
            current: 1,
            parent: None,
            tokens: BTreeMap::new(),
            held: 1,
            access: Vec::new(),
        });
        self.record(self.sessions.len() - 1, &tokens);
    }

    /// Presents the token with this serial, and compares the answer with the model. Returns the serial of the token that was
    /// issued, if any.
    async fn present(&mut self, at: usize, serial: i64) -> Option<i64> {
        let now = self.now();
        let session = &mut self.sessions[at];
        let answer = self.app.refresh(&session.tokens[&serial]).await;
        if session.ended || session.ends_at() - now < TimeDelta::seconds(1) {
            return assert_invalid(&answer);
        }
        if serial == session.current || (session.parent == Some(serial) && now - session.used_at >= REPLAY) {
            (session.parent, session.current, session.used_at) = (Some(serial), session.current + 1, now);
        } else if session.parent != Some(serial) {
            session.ended = true;
            return assert_invalid(&answer);
        }
        self.record(at, &answer.expect(200));
        Some(self.sessions[at].current)
    }

    /// Records the tokens of a response. The refresh token must be the known token of the session's current serial, or a new
    /// token.
    fn record(&mut self, at: usize, tokens: &Value) {
        let (now, refresh) = (self.now(), tokens["refresh_token"].as_str().unwrap().to_owned());
        let known = self.sessions.iter().flat_map(|session| session.tokens.values()).any(|token| *token == refresh);
        let session = &mut self.sessions[at];
        assert_eq!(tokens["session_id"], session.id.to_string());
        match session.tokens.get(&session.current) {
            Some(before) => assert_eq!(refresh, *before, "the session forked"),
            None => assert!(!known, "the token belongs to another serial or session"),
        }
        session.tokens.insert(session.current, refresh);
        assert_eq!(tokens["refresh_expires_in"], (session.ends_at() - now).num_seconds());
        let lifetime = tokens["expires_in"].as_i64().unwrap();
        assert_eq!(lifetime, (now + TimeDelta::minutes(15)).min(session.ends_at()).timestamp() - now.timestamp());
        let token = tokens["access_token"].as_str().unwrap().to_owned();
        session.access.push(Access { token, expires: now.timestamp() + lifetime, epoch: self.epochs[session.person] });
    }

    async fn log_out(&mut self, at: usize) {
        let Some(newest) = self.sessions[at].access.last() else { return };
        let expected = self.expected_code(&self.sessions[at], newest);
        let answer = self.app.bearer(&newest.token).delete("/v1/me/sessions/current", json!(null)).await;
        if let Some(code) = expected {
            assert_eq!(answer.problem(), (401, code));
        } else {
            answer.expect(204);
            self.sessions[at].ended = true;
        }
    }

    /// Returns the code with which a guard must reject an access token; `None` if it must accept the token.
    fn expected_code(&self, session: &Session, access: &Access) -> Option<&'static str> {
        if self.now().timestamp() >= access.expires {
            Some("expired_token")
        } else if session.ended {
            Some("session_ended")
        } else if access.epoch < self.epochs[session.person] {
            Some("stale_token")
        } else {
            None
        }
    }

    /// Checks the newest access tokens of each session and its row against the model.
    async fn check(&self) {
        for session in &self.sessions {
            for access in session.access.iter().rev().take(4) {
                let answer = self.app.bearer(&access.token).get("/v1/token").await;
                match self.expected_code(session, access) {
                    Some(code) => assert_eq!(answer.problem(), (401, code)),
                    None => _ = answer.expect(200),
                }
            }
            let row = session::Entity::find_by_id(session.id).one(self.app.app.db.read()).await.unwrap();
            match row {
                Some(row) => {
                    assert!(!session.ended, "an ended session still has a row");
                    assert_eq!((i64::from(row.current), row.parent.map(i64::from)), (session.current, session.parent));
                }
                None => assert!(session.ended || session.ends_at() <= self.now(), "an active session has no row"),
            }
        }
    }
}

fn assert_invalid(answer: &Answer) -> Option<i64> {
    assert_eq!(answer.problem(), (401, "invalid_refresh_token"), "{:#}", answer.body);
    None
}

fn run(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::start().await;
        for step in steps {
            world.apply(step).await;
            world.check().await;
        }
    });
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 300, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn s01_no_random_history_forks_or_revives_a_session(steps in prop::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    #[ignore = "long: .ci/run runs two hundred longer histories"]
    fn long_s01_no_long_random_history_forks_or_revives_a_session(steps in prop::collection::vec(step(), 1..120)) {
        run(&steps);
    }
}
