//! Random histories of accounts with second factors, compared with a small model: no log-in is completed without a factor that the
//! account holds, nothing works twice, and a session ends with the factor that has begun or raised it (rows F01 to F04).

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use vestibule::{
    domain::{
        authority::By,
        factors,
        users::{self, Change},
    },
    entity::{factor, user::Status},
    live::clock::Clock,
    values::{ids::UserId, second_factor_policy::SecondFactorPolicy as Policy},
};

use crate::support::{
    PASSWORD, TestApp,
    authenticator::{Authenticator, confirm, recovery_code, texts, totp},
    caller::Caller,
};

const PEOPLE: [&str; 2] = ["ada", "bob"];
const STEP: i64 = 30;

/// What a client sends as a factor. Numbers are modulo the count of apps or codes.
#[derive(Debug, Clone, Copy)]
enum Presented {
    /// The code that an app shows, so many steps from now.
    Code {
        app: usize,
        steps: i64,
    },
    WrongCode,
    RecoveryCode {
        code: usize,
    },
}

/// One step of a history. Numbers are modulo the count of what they select.
#[derive(Debug, Clone)]
enum Step {
    Password { person: usize },
    Complete { challenge: usize, presented: Presented },
    Again { session: usize, presented: Presented },
    Enrol { session: usize },
    Remove { session: usize, factor: usize },
    ReplaceCodes { session: usize },
    Reset { person: usize },
    SetPassword { person: usize },
    SetRoles { person: usize, more: bool },
    Disable { person: usize },
    Enable { person: usize },
    SetPolicy { policy: Policy },
    Wait { seconds: u64 },
    SetClock { seconds: i64 },
    Restart,
}

fn presented() -> impl Strategy<Value = Presented> {
    prop_oneof![
        6 => (0..3_usize, -2..3_i64).prop_map(|(app, steps)| Presented::Code { app, steps }),
        1 => Just(Presented::WrongCode),
        2 => (0..10_usize).prop_map(|code| Presented::RecoveryCode { code }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let (session, person) = (|| 0..6_usize, || 0..PEOPLE.len());
    let policies = vec![Policy::None, Policy::Administrators, Policy::Everyone];
    prop_oneof![
        6 => person().prop_map(|person| Step::Password { person }),
        8 => (0..4_usize, presented()).prop_map(|(challenge, presented)| Step::Complete { challenge, presented }),
        3 => (session(), presented()).prop_map(|(session, presented)| Step::Again { session, presented }),
        4 => session().prop_map(|session| Step::Enrol { session }),
        2 => (session(), 0..3_usize).prop_map(|(session, factor)| Step::Remove { session, factor }),
        1 => session().prop_map(|session| Step::ReplaceCodes { session }),
        1 => person().prop_map(|person| Step::Reset { person }),
        1 => person().prop_map(|person| Step::SetPassword { person }),
        1 => (person(), any::<bool>()).prop_map(|(person, more)| Step::SetRoles { person, more }),
        1 => person().prop_map(|person| Step::Disable { person }),
        2 => person().prop_map(|person| Step::Enable { person }),
        1 => prop::sample::select(policies).prop_map(|policy| Step::SetPolicy { policy }),
        6 => prop::sample::select(vec![1, 29, 30, 31, 60, 599, 600, 601]).prop_map(|seconds| Step::Wait { seconds }),
        2 => prop::sample::select(vec![-600, -60, -30, 30, 60]).prop_map(|seconds| Step::SetClock { seconds }),
        1 => Just(Step::Restart),
    ]
}

/// The model of an authenticator app.
struct Held {
    authenticator: Authenticator,
    last_step: i64,
}

/// The model of an account.
struct Person {
    id: UserId,
    active: bool,
    more: bool,
    apps: Vec<Held>,
    /// The recovery codes, and whether each was used.
    codes: Vec<(String, bool)>,
}

/// The model of a challenge.
struct Challenge {
    text: String,
    person: usize,
    at: DateTime<Utc>,
    wrong: u32,
    is_spent: bool,
}

/// The model of a session.
struct Session {
    person: usize,
    refresh: String,
    ended: bool,
    auth_time: i64,
    acr: usize,
    /// The ids of the factors that have begun or raised it.
    factors: Vec<String>,
}

struct World {
    app: TestApp,
    policy: Policy,
    people: Vec<Person>,
    challenges: Vec<Challenge>,
    sessions: Vec<Session>,
}

impl World {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let mut people = Vec::new();
        for name in PEOPLE {
            let id = app.create(name).await;
            people.push(Person { id, active: true, more: false, apps: Vec::new(), codes: Vec::new() });
        }
        let role = json!({ "name": "more", "permissions": ["users:read"] });
        app.admin().await.post("/v1/roles", role).await.expect(201);
        Self { app, policy: Policy::None, people, challenges: Vec::new(), sessions: Vec::new() }
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    async fn apply(&mut self, step: &Step) {
        let at = |number: usize, count: usize| (count > 0).then(|| number % count);
        match *step {
            Step::Password { person } => self.send_password(person).await,
            Step::Complete { challenge, presented } => {
                if let Some(challenge) = at(challenge, self.challenges.len()) {
                    self.complete(challenge, presented).await;
                }
            }
            Step::Again { session, presented } => {
                if let Some(session) = at(session, self.sessions.len()) {
                    self.again(session, presented).await;
                }
            }
            Step::Enrol { session } => {
                if let Some(session) = at(session, self.sessions.len()) {
                    self.enrol(session).await;
                }
            }
            Step::Remove { session, factor } => {
                if let Some(session) = at(session, self.sessions.len()) {
                    self.remove(session, factor).await;
                }
            }
            Step::ReplaceCodes { session } => {
                if let Some(session) = at(session, self.sessions.len()) {
                    self.replace_codes(session).await;
                }
            }
            Step::Reset { person } => {
                factors::reset(&self.app.app, By::Operator, self.people[person].id).await.unwrap();
                self.people[person].apps.clear();
                self.people[person].codes.clear();
                self.void(person);
                self.end(|session| session.person == person);
            }
            Step::SetPassword { person } => {
                let password = PASSWORD.parse().unwrap();
                users::set_password(&self.app.app, By::Operator, self.people[person].id, &password).await.unwrap();
                self.void(person);
                self.end(|session| session.person == person);
            }
            Step::SetRoles { person, more } => {
                let names = if more { &["user", "more"][..] } else { &["user"] };
                let names: Vec<_> = names.iter().map(|role| role.parse().unwrap()).collect();
                users::set_roles(&self.app.app, By::Operator, self.people[person].id, &names).await.unwrap();
                if self.people[person].more != more {
                    self.people[person].more = more;
                    self.void(person);
                }
            }
            Step::Disable { person } => {
                self.set_status(person, Status::Disabled).await;
                if self.people[person].active {
                    self.people[person].active = false;
                    self.void(person);
                    self.end(|session| session.person == person);
                }
            }
            Step::Enable { person } => {
                self.set_status(person, Status::Active).await;
                self.people[person].active = true;
            }
            Step::SetPolicy { policy } => {
                self.app = self.app.replica_with(|settings| settings.second_factor.require = policy).await;
                self.policy = policy;
            }
            Step::Wait { seconds } => self.app.clock.advance(Duration::from_secs(seconds)),
            Step::SetClock { seconds } => self.app.clock.set_by(TimeDelta::seconds(seconds)),
            Step::Restart => self.app = self.app.replica().await,
        }
    }

    async fn set_status(&self, person: usize, status: Status) {
        let change = Change { status: Some(status), ..Change::default() };
        users::update(&self.app.app, By::Operator, self.people[person].id, change, None).await.unwrap();
    }

    fn void(&mut self, person: usize) {
        self.challenges.iter_mut().filter(|challenge| challenge.person == person).for_each(|challenge| challenge.is_spent = true);
    }

    fn end(&mut self, ends: impl Fn(&Session) -> bool) {
        self.sessions.iter_mut().filter(|session| ends(session)).for_each(|session| session.ended = true);
    }

    async fn send_password(&mut self, person: usize) {
        let answer = self.app.log_in(PEOPLE[person]).await;
        let held = &self.people[person];
        if !held.active {
            assert_eq!(answer.problem(), (403, "account_disabled"));
        } else if held.apps.is_empty() {
            self.begin(person, &answer.expect(201), 1, Vec::new());
        } else {
            assert_eq!(answer.problem(), (401, "second_factor_required"));
            let offers =
                json!(if held.codes.iter().any(|(_, used)| !used) { vec!["totp", "recovery_code"] } else { vec!["totp"] });
            assert_eq!(answer.body["factors"], offers);
            let text = answer.body["challenge"].as_str().unwrap().to_owned();
            self.challenges.push(Challenge { text, person, at: self.now(), wrong: 0, is_spent: false });
        }
    }

    fn begin(&mut self, person: usize, tokens: &Value, acr: usize, factors: Vec<String>) {
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        let auth_time = self.now().timestamp();
        self.sessions.push(Session { person, refresh, ended: false, auth_time, acr, factors });
    }

    /// Returns what the client sends, and what the model says of it: `None` if it is wrong, else the id of the app if there is one.
    fn prove(&mut self, person: usize, presented: Presented) -> (Value, Option<Option<String>>) {
        let now = self.now().timestamp();
        let Person { apps, codes, .. } = &mut self.people[person];
        match presented {
            Presented::Code { app, steps } if !apps.is_empty() => {
                let index = app % apps.len();
                let app = &mut apps[index];
                let step = now.div_euclid(STEP) + steps;
                let proof = totp(&app.authenticator.code_of(steps));
                if steps.abs() > 1 || step <= app.last_step {
                    return (proof, None);
                }
                app.last_step = step;
                (proof, Some(Some(app.authenticator.id.clone())))
            }
            Presented::RecoveryCode { code } if !codes.is_empty() => {
                let index = code % codes.len();
                let (code, used) = &mut codes[index];
                let proof = recovery_code(code);
                (proof, (!std::mem::replace(used, true)).then_some(None))
            }
            _ => {
                let wrong = apps.first().map_or_else(|| "000000".to_owned(), |app| app.authenticator.wrong_code());
                (totp(&wrong), None)
            }
        }
    }

    async fn complete(&mut self, at: usize, presented: Presented) {
        let now = self.now();
        let (person, text) = (self.challenges[at].person, self.challenges[at].text.clone());
        let Challenge { wrong, is_spent, .. } = self.challenges[at];
        let has_expired = self.challenges[at].at + TimeDelta::minutes(10) <= now;
        if has_expired || !self.people[person].active || is_spent || wrong >= 5 {
            let code =
                if has_expired || self.people[person].active { (401, "invalid_challenge") } else { (403, "account_disabled") };
            // A code that is right is not spent by a challenge that is not valid.
            let right = self.people[person].apps.first().map_or_else(|| totp("000000"), |app| app.authenticator.factor());
            assert_eq!(self.app.complete(&text, &right).await.problem(), code);
            return;
        }
        let (proof, proven) = self.prove(person, presented);
        let answer = self.app.complete(&text, &proof).await;
        match proven {
            None => {
                assert_eq!(answer.problem(), (401, "wrong_factor"), "{:#}", answer.body);
                self.challenges[at].wrong += 1;
            }
            Some(factor) => {
                self.challenges[at].is_spent = true;
                self.begin(person, &answer.expect(201), 2, factor.into_iter().collect());
            }
        }
    }

    /// Refreshes a session, and returns a caller with its new token; `None` if it has ended.
    async fn refreshed(&mut self, at: usize) -> Option<String> {
        let answer = self.app.refresh(&self.sessions[at].refresh).await;
        if self.sessions[at].ended {
            assert_eq!(answer.problem(), (401, "invalid_refresh_token"));
            return None;
        }
        let tokens = answer.expect(200);
        tokens["refresh_token"].as_str().unwrap().clone_into(&mut self.sessions[at].refresh);
        Some(tokens["access_token"].as_str().unwrap().to_owned())
    }

    /// Returns a caller of a session whose proof is fresh. Checks that the guard rejects any other.
    async fn fresh(&mut self, at: usize, path: &str) -> Option<String> {
        let token = self.refreshed(at).await?;
        let Session { person, auth_time, acr, .. } = self.sessions[at];
        let best = if self.people[person].apps.is_empty() { 1 } else { 2 };
        if self.now().timestamp() - auth_time <= 600 && acr >= best {
            return Some(token);
        }
        let refused = self.app.bearer(&token).post(path, json!({})).await;
        assert_eq!(refused.problem(), (401, "insufficient_user_authentication"));
        None
    }

    async fn again(&mut self, at: usize, presented: Presented) {
        let Some(token) = self.refreshed(at).await else { return };
        let (proof, proven) = self.prove(self.sessions[at].person, presented);
        let answer = self.app.bearer(&token).post("/v1/me/authentication", json!({ "factor": proof })).await;
        let now = self.now().timestamp();
        match proven {
            None => assert_eq!(answer.problem(), (401, "wrong_factor")),
            Some(factor) => {
                answer.expect(200);
                let session = &mut self.sessions[at];
                (session.auth_time, session.acr) = (now, 2);
                session.factors.extend(factor);
            }
        }
    }

    async fn enrol(&mut self, at: usize) {
        let path = "/v1/me/factors/totp";
        let Some(token) = self.fresh(at, path).await else { return };
        let (person, now) = (self.sessions[at].person, self.now().timestamp());
        let caller = self.app.bearer(&token);
        let started = caller.post(path, json!({})).await;
        if self.people[person].apps.len() == 5 {
            assert_eq!(started.problem(), (409, "too_many_factors"));
            return;
        }
        let authenticator = Authenticator::scan(&self.app, &started.expect(201));
        let enrolled = confirm(&caller, &authenticator, &authenticator.code()).await.expect(200);
        let codes = texts(&enrolled["recovery_codes"]);
        let held = &mut self.people[person];
        assert_eq!(codes.is_empty(), !held.apps.is_empty(), "codes come with the first factor");
        if !codes.is_empty() {
            held.codes = codes.into_iter().map(|code| (code, false)).collect();
        }
        let session = &mut self.sessions[at];
        (session.auth_time, session.acr) = (now, 2);
        session.factors.push(authenticator.id.clone());
        held.apps.push(Held { authenticator, last_step: now.div_euclid(STEP) });
        self.void(person);
    }

    async fn remove(&mut self, at: usize, factor: usize) {
        let person = self.sessions[at].person;
        let count = self.people[person].apps.len();
        if count == 0 {
            return;
        }
        let Some(token) = self.fresh(at, "/v1/me/recovery-codes").await else { return };
        let id = self.people[person].apps[factor % count].authenticator.id.clone();
        let answer = self.app.bearer(&token).delete(&format!("/v1/me/factors/{id}"), json!(null)).await;
        let demands = match self.policy {
            Policy::None => false,
            Policy::Administrators => self.people[person].more,
            Policy::Everyone => true,
        };
        if demands && count == 1 {
            assert_eq!(answer.problem(), (409, "factor_required"));
            return;
        }
        answer.expect(204);
        self.people[person].apps.remove(factor % count);
        if count == 1 {
            self.people[person].codes.clear();
        }
        self.void(person);
        self.end(|session| session.factors.contains(&id));
    }

    async fn replace_codes(&mut self, at: usize) {
        let path = "/v1/me/recovery-codes";
        let Some(token) = self.fresh(at, path).await else { return };
        let person = self.sessions[at].person;
        let answer = self.app.bearer(&token).post(path, json!(null)).await;
        if self.people[person].apps.is_empty() {
            assert_eq!(answer.problem(), (409, "factor_required"));
            return;
        }
        self.people[person].codes = texts(&answer.expect(201)["codes"]).into_iter().map(|code| (code, false)).collect();
    }

    /// Checks what every session says of itself, and what every account holds.
    async fn check(&mut self) {
        for at in 0..self.sessions.len() {
            let Some(token) = self.refreshed(at).await else { continue };
            let session = &self.sessions[at];
            let caller: Caller<'_> = self.app.bearer(&token);
            let token = caller.get("/v1/token").await.expect(200);
            assert_eq!(token["acr"], session.acr.to_string());
            let has_factor = !self.people[session.person].apps.is_empty();
            assert_eq!(caller.get("/v1/me").await.expect(200)["second_factor"], has_factor);
        }
        let held = factor::Entity::find().count(self.app.app.db.read()).await.unwrap();
        assert_eq!(held, self.people.iter().map(|person| person.apps.len() as u64).sum::<u64>());
    }
}

/// Plays a history, and returns the world at its end.
fn run(steps: &[Step]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::start().await;
        for step in steps {
            world.apply(step).await;
            world.check().await;
        }
        world
    })
}

#[test]
fn f01_a_history_in_which_each_step_has_its_effect() {
    let code = |steps| Presented::Code { app: 0, steps };
    let complete = |challenge, presented| Step::Complete { challenge, presented };
    let world = run(&[
        Step::Password { person: 0 },
        Step::Enrol { session: 0 },
        Step::Password { person: 0 },
        complete(0, code(0)), // the code of the enrolment
        complete(0, code(1)),
        Step::Password { person: 0 },
        complete(1, Presented::RecoveryCode { code: 0 }),
        Step::Password { person: 0 },
        complete(2, Presented::RecoveryCode { code: 0 }),
        Step::Remove { session: 2, factor: 0 },
    ]);
    // The first two sessions have ended with the app; the third was begun with a recovery code.
    assert_eq!(world.sessions.iter().map(|session| session.ended).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(world.challenges.iter().map(|challenge| challenge.wrong).collect::<Vec<_>>(), [1, 0, 1]);
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 300, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn f01_no_random_history_opens_a_session_without_the_factor_or_uses_a_code_twice(
        steps in prop::collection::vec(step(), 1..50),
    ) {
        run(&steps);
    }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    #[ignore = "long: .ci/run runs two hundred longer histories"]
    fn long_f01_no_long_random_history_opens_a_session_without_the_factor_or_uses_a_code_twice(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(&steps);
    }
}
