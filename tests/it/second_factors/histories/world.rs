//! The model: what each account holds, and what each challenge, ceremony, ticket and session is good for. Every response of the
//! service is compared with it.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};
use vestibule::{
    config::MailTransport,
    domain::{
        authority::By,
        factors,
        mail::tickets,
        password_resets,
        users::{self, Change},
    },
    entity::{factor, ticket, user::Status},
    live::clock::Clock,
    values::{ids::UserId, second_factor_policy::SecondFactorPolicy as Policy, ticket_purpose::TicketPurpose},
};

use super::{PEOPLE, Presented, Step};
use crate::{
    passkeys::{self, ORIGIN, begun, passkey},
    support::{
        PASSWORD, TestApp,
        authenticator::{Authenticator, confirm, recovery_code, texts, totp},
        caller::{Answer, Caller},
        passkey_device::PasskeyDevice,
    },
};

const STEP: i64 = 30;
/// How long a challenge, a ceremony and an app that waits to be confirmed live.
const LIFE: TimeDelta = TimeDelta::minutes(10);
/// How long a factor is young.
const YOUNG: TimeDelta = TimeDelta::days(7);

/// An authenticator app.
struct App {
    authenticator: Authenticator,
    last_step: i64,
    created_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
}

/// A passkey, which stays on its device when the account removes it.
struct Passkey {
    device: PasskeyDevice,
    id: String,
    person: usize,
    created_at: DateTime<Utc>,
    used_at: Option<DateTime<Utc>>,
    is_removed: bool,
}

/// An account.
struct Person {
    id: UserId,
    active: bool,
    more: bool,
    password: String,
    apps: Vec<App>,
    /// The recovery codes, and whether each was used.
    codes: Vec<(String, bool)>,
    codes_at: DateTime<Utc>,
    addresses: usize,
}

/// What a challenge and a ceremony are for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Purpose {
    LogIn,
    Reset,
    Revert,
    Proof,
}

/// An app that waits to be confirmed, or did.
struct Waiting {
    authenticator: Authenticator,
    person: usize,
    at: DateTime<Utc>,
    is_forgotten: bool,
}

struct Challenge {
    text: String,
    purpose: Purpose,
    person: usize,
    at: DateTime<Utc>,
    wrong: u32,
    is_spent: bool,
}

struct Ceremony {
    text: Value,
    options: Value,
    purpose: Purpose,
    /// The account for which it was begun, if it was for one.
    person: Option<usize>,
    at: DateTime<Utc>,
    is_spent: bool,
}

/// A ticket of a reset, or of a change of address that can be undone.
#[derive(Clone)]
struct Ticket {
    token: String,
    person: usize,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    is_spent: bool,
    /// Whether it has served its purpose.
    was_used: bool,
}

struct Session {
    person: usize,
    refresh: String,
    ended: bool,
    auth_time: i64,
    /// `password`, `code` and `passkey`.
    methods: BTreeSet<&'static str>,
    /// The ids of the factors that have begun or raised it.
    factors: Vec<String>,
}

impl Session {
    fn acr(&self) -> usize {
        if self.methods.len() > 1 || self.methods.contains("passkey") { 2 } else { 1 }
    }

    fn amr(&self) -> Value {
        let names: [(_, &[&str]); 3] = [("password", &["pwd"]), ("code", &["otp"]), ("passkey", &["pop", "user"])];
        let of_methods = names.into_iter().filter(|(method, _)| self.methods.contains(method)).flat_map(|(_, names)| names);
        let mfa = (self.acr() == 2).then_some(&"mfa");
        of_methods.chain(mfa).copied().collect()
    }
}

/// What was proven: the method, and the id of the factor if it is one.
type Proven = (&'static str, Option<String>);

/// What a factor is to prove.
#[derive(Clone, Copy)]
struct Occasion<'a> {
    person: usize,
    purpose: Purpose,
    /// Only what the account had before this time counts.
    before: Option<DateTime<Utc>>,
    /// The challenge, or the access token of the session whose user is to prove their presence.
    authority: &'a str,
}

pub struct World {
    app: TestApp,
    policy: Policy,
    people: Vec<Person>,
    passkeys: Vec<Passkey>,
    waiting: Vec<Waiting>,
    challenges: Vec<Challenge>,
    ceremonies: Vec<Ceremony>,
    resets: Vec<Ticket>,
    reverts: Vec<Ticket>,
    sessions: Vec<Session>,
}

impl World {
    pub async fn start() -> Self {
        let app = TestApp::start_with(|settings| {
            passkeys::at(ORIGIN)(settings);
            settings.mail.transport = Some(MailTransport::File);
        });
        let app = app.await;
        let mut people = Vec::new();
        for name in PEOPLE {
            let (id, password, codes_at) = (app.create(name).await, PASSWORD.to_owned(), app.clock.now());
            let (apps, codes) = (Vec::new(), Vec::new());
            people.push(Person { id, active: true, more: false, password, apps, codes, codes_at, addresses: 0 });
        }
        let role = json!({ "name": "more", "permissions": ["users:read"] });
        app.admin().await.post("/v1/roles", role).await.expect(201);
        Self {
            app,
            policy: Policy::None,
            people,
            passkeys: Vec::new(),
            waiting: Vec::new(),
            challenges: Vec::new(),
            ceremonies: Vec::new(),
            resets: Vec::new(),
            reverts: Vec::new(),
            sessions: Vec::new(),
        }
    }

    /// Returns which sessions have ended.
    pub fn ended(&self) -> Vec<bool> {
        self.sessions.iter().map(|session| session.ended).collect()
    }

    /// Returns the number of wrong factors of each challenge of a log-in.
    pub fn wrong(&self) -> Vec<u32> {
        let log_ins = self.challenges.iter().filter(|challenge| challenge.purpose == Purpose::LogIn);
        log_ins.map(|challenge| challenge.wrong).collect()
    }

    /// Returns which changes of address were undone.
    pub fn undone(&self) -> Vec<bool> {
        self.reverts.iter().map(|ticket| ticket.was_used).collect()
    }

    /// Returns which links have set a password.
    pub fn used_resets(&self) -> Vec<bool> {
        self.resets.iter().map(|ticket| ticket.was_used).collect()
    }

    /// Returns how many apps the accounts have.
    pub fn apps(&self) -> usize {
        self.people.iter().map(|person| person.apps.len()).sum()
    }

    fn now(&self) -> DateTime<Utc> {
        self.app.clock.now()
    }

    #[expect(clippy::too_many_lines, reason = "each step is a line or two")]
    pub async fn apply(&mut self, step: &Step) {
        let newest = |number: usize, count: usize| (count > 0).then(|| count - 1 - number % count);
        let session = |number: usize| newest(number, self.sessions.len());
        match *step {
            Step::Password { person } => self.send_password(person).await,
            Step::Begin { challenge } => {
                let challenge = challenge.and_then(|challenge| newest(challenge, self.challenges.len()));
                self.begin_ceremony(challenge).await;
            }
            Step::LogInBy { passkey, ceremony } => {
                if let Some(ceremony) = newest(ceremony, self.ceremonies.len())
                    && !self.passkeys.is_empty()
                {
                    self.log_in_by(passkey % self.passkeys.len(), ceremony).await;
                }
            }
            Step::Complete { challenge, presented } => {
                if let Some(challenge) = newest(challenge, self.challenges.len()) {
                    self.complete(challenge, presented).await;
                }
            }
            Step::Again { session: number, presented } => {
                if let Some(session) = session(number) {
                    self.again(session, presented).await;
                }
            }
            Step::StartApp { session: number } => {
                if let Some(session) = session(number) {
                    self.start_app(session).await;
                }
            }
            Step::ConfirmApp { session: number } => {
                if let Some(session) = session(number) {
                    self.confirm_app(session).await;
                }
            }
            Step::AddPasskey { session: number } => {
                if let Some(session) = session(number) {
                    self.add_passkey(session).await;
                }
            }
            Step::Remove { session: number, factor } => {
                if let Some(session) = session(number) {
                    self.remove(session, factor).await;
                }
            }
            Step::ReplaceCodes { session: number } => {
                if let Some(session) = session(number) {
                    self.replace_codes(session).await;
                }
            }
            Step::ChangePassword { session: number } => {
                if let Some(session) = session(number) {
                    self.change_password(session).await;
                }
            }
            Step::ChangeAddress { session: number } => {
                if let Some(session) = session(number) {
                    self.change_address(session).await;
                }
            }
            Step::RequestReset { person } => self.request_reset(person).await,
            Step::ResetPassword { ticket, presented } => {
                if let Some(ticket) = newest(ticket, self.resets.len()) {
                    self.reset_password(ticket, presented).await;
                }
            }
            Step::Revert { ticket, presented } => {
                if let Some(ticket) = newest(ticket, self.reverts.len()) {
                    self.revert(ticket, presented).await;
                }
            }
            Step::ResetFactors { person } => {
                factors::reset(&self.app.app, By::Operator, self.people[person].id).await.unwrap();
                self.lose_factors(person, None);
                self.void_requests(person);
                self.end(|session| session.person == person);
            }
            Step::SetPassword { person } => {
                let password = PASSWORD.parse().unwrap();
                users::set_password(&self.app.app, By::Operator, self.people[person].id, &password).await.unwrap();
                PASSWORD.clone_into(&mut self.people[person].password);
                self.void_requests(person);
                self.end(|session| session.person == person);
            }
            Step::SetRoles { person, more } => {
                let names = if more { &["user", "more"][..] } else { &["user"] };
                let names: Vec<_> = names.iter().map(|role| role.parse().unwrap()).collect();
                users::set_roles(&self.app.app, By::Operator, self.people[person].id, &names).await.unwrap();
                if self.people[person].more != more {
                    self.people[person].more = more;
                    self.void_challenges(person);
                }
            }
            Step::Disable { person } => {
                self.set_status(person, Status::Disabled).await;
                if self.people[person].active {
                    self.people[person].active = false;
                    self.void_requests(person);
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

    fn void_challenges(&mut self, person: usize) {
        self.challenges.iter_mut().filter(|challenge| challenge.person == person).for_each(|challenge| challenge.is_spent = true);
    }

    /// Voids the challenges of a person, and the tickets that no change of the account survives.
    fn void_requests(&mut self, person: usize) {
        self.void_challenges(person);
        self.resets.iter_mut().filter(|ticket| ticket.person == person).for_each(|ticket| ticket.is_spent = true);
    }

    fn end(&mut self, ends: impl Fn(&Session) -> bool) {
        self.sessions.iter_mut().filter(|session| ends(session)).for_each(|session| session.ended = true);
    }

    fn forget_waiting(&mut self, person: usize) {
        self.waiting.iter_mut().filter(|waiting| waiting.person == person).for_each(|waiting| waiting.is_forgotten = true);
    }

    /// Removes the factors that a person has got since a time, or all of them, and the codes that go with them.
    fn lose_factors(&mut self, person: usize, since: Option<DateTime<Utc>>) {
        let is_lost = |created_at: DateTime<Utc>| since.is_none_or(|since| created_at >= since);
        self.forget_waiting(person);
        self.people[person].apps.retain(|app| !is_lost(app.created_at));
        for passkey in self.passkeys.iter_mut().filter(|passkey| passkey.person == person && is_lost(passkey.created_at)) {
            passkey.is_removed = true;
        }
        if is_lost(self.people[person].codes_at) || !self.has_factor(person, None) {
            self.people[person].codes.clear();
        }
    }

    fn passkeys_of(&self, person: usize) -> impl Iterator<Item = &Passkey> {
        self.passkeys.iter().filter(move |passkey| passkey.person == person && !passkey.is_removed)
    }

    fn has_factor(&self, person: usize, before: Option<DateTime<Utc>>) -> bool {
        !self.offers(person, before).is_empty()
    }

    /// Returns the kinds of factors that a person is asked for, with what they had before a time, or with what they have.
    fn offers(&self, person: usize, before: Option<DateTime<Utc>>) -> Vec<&'static str> {
        let counts = |created_at: DateTime<Utc>| before.is_none_or(|before| created_at < before);
        let Person { apps, codes, codes_at, .. } = &self.people[person];
        let mut kinds = Vec::new();
        kinds.extend(apps.iter().any(|app| counts(app.created_at)).then_some("totp"));
        kinds.extend(self.passkeys_of(person).any(|passkey| counts(passkey.created_at)).then_some("passkey"));
        if !kinds.is_empty() && counts(*codes_at) && codes.iter().any(|(_, used)| !used) {
            kinds.push("recovery_code");
        }
        kinds
    }

    async fn send_password(&mut self, person: usize) {
        let body = json!({ "identifier": PEOPLE[person], "password": self.people[person].password });
        let answer = self.app.anonymous().post("/v1/sessions", body).await;
        if !self.people[person].active {
            assert_eq!(answer.problem(), (403, "account_disabled"));
        } else if self.has_factor(person, None) {
            self.challenged(person, Purpose::LogIn, None, &answer);
        } else {
            self.open(person, &answer.expect(201), &[("password", None)]);
        }
    }

    /// Checks that a second factor is required, and returns the challenge.
    fn challenged(&mut self, person: usize, purpose: Purpose, before: Option<DateTime<Utc>>, answer: &Answer) -> String {
        assert_eq!(answer.problem(), (401, "second_factor_required"), "{:#}", answer.body);
        assert_eq!(answer.body["factors"], json!(self.offers(person, before)));
        let text = answer.body["challenge"].as_str().unwrap().to_owned();
        self.challenges.push(Challenge { text: text.clone(), purpose, person, at: self.now(), wrong: 0, is_spent: false });
        text
    }

    fn open(&mut self, person: usize, tokens: &Value, proven: &[Proven]) {
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        let methods = proven.iter().map(|(method, _)| *method).collect();
        let factors = proven.iter().filter_map(|(_, factor)| factor.clone()).collect();
        let auth_time = self.now().timestamp();
        self.sessions.push(Session { person, refresh, ended: false, auth_time, methods, factors });
    }

    fn raise(&mut self, at: usize, (method, factor): Proven) {
        let now = self.now().timestamp();
        let session = &mut self.sessions[at];
        session.auth_time = now;
        session.methods.insert(method);
        session.factors.extend(factor);
    }

    async fn begin_ceremony(&mut self, challenge: Option<usize>) {
        let Some(challenge) = challenge else {
            let (text, options) = self.app.begin_log_in().await;
            self.ceremonies.push(Ceremony {
                text,
                options,
                purpose: Purpose::LogIn,
                person: None,
                at: self.now(),
                is_spent: false,
            });
            return;
        };
        let Challenge { ref text, purpose, person, at, wrong, is_spent } = self.challenges[challenge];
        let body = json!({ "challenge": text });
        let answer = self.app.anonymous().post("/v1/passkeys/options", body).await;
        if at + LIFE <= self.now() || wrong >= 5 || is_spent {
            assert_eq!(answer.problem(), (401, "invalid_challenge"));
        } else {
            self.begun(person, purpose, answer);
        }
    }

    /// Keeps a ceremony for an account. Returns `None`, after checking the reason, if the account has no passkey.
    fn begun(&mut self, person: usize, purpose: Purpose, answer: Answer) -> Option<usize> {
        if self.passkeys_of(person).next().is_none() {
            assert_eq!(answer.problem(), (403, "passkeys_unavailable"));
            return None;
        }
        let (text, options) = begun(answer);
        let named = options["allowCredentials"].as_array().unwrap().len();
        assert_eq!(named, self.passkeys_of(person).count(), "the passkeys of the account are named");
        self.ceremonies.push(Ceremony { text, options, purpose, person: Some(person), at: self.now(), is_spent: false });
        Some(self.ceremonies.len() - 1)
    }

    /// Signs a ceremony with any passkey, as a browser does that ignores which ones the service has named.
    async fn sign(&mut self, passkey: usize, ceremony: usize) -> Value {
        let mut options = self.ceremonies[ceremony].options.clone();
        options["allowCredentials"] = json!([]);
        self.passkeys[passkey].device.sign(ORIGIN, &options).await
    }

    fn has_ended(&self, ceremony: usize) -> bool {
        self.ceremonies[ceremony].at + LIFE <= self.now()
    }

    async fn log_in_by(&mut self, passkey: usize, ceremony: usize) {
        let credential = self.sign(passkey, ceremony).await;
        let has_ended = self.has_ended(ceremony);
        let Ceremony { text, purpose, person, is_spent, .. } = &self.ceremonies[ceremony];
        let answer = self.app.present(text, &credential).await;
        let Passkey { person: owner, is_removed, .. } = self.passkeys[passkey];
        if *purpose != Purpose::LogIn || has_ended {
            assert_eq!(answer.problem(), (401, "invalid_challenge"));
        } else if is_removed {
            assert_eq!(answer.problem(), (401, "unknown_passkey"));
        } else if person.is_some_and(|person| person != owner) {
            assert_eq!(answer.problem(), (401, "invalid_passkey"));
        } else if *is_spent {
            assert_eq!(answer.problem(), (401, "invalid_challenge"));
        } else {
            self.ceremonies[ceremony].is_spent = true;
            self.passkeys[passkey].used_at = Some(self.now());
            if self.people[owner].active {
                let proven = ("passkey", Some(self.passkeys[passkey].id.clone()));
                self.open(owner, &answer.expect(201), &[proven]);
            } else {
                assert_eq!(answer.problem(), (403, "account_disabled"));
            }
        }
    }

    /// Returns what the client sends, and what the model says that it proves.
    async fn prove(&mut self, occasion: Occasion<'_>, presented: Presented) -> (Value, Option<Proven>) {
        let (now, Occasion { person, before, .. }) = (self.now(), occasion);
        let counts = |created_at: DateTime<Utc>| before.is_none_or(|before| created_at < before);
        let has_factor = self.has_factor(person, None);
        let Person { apps, codes, codes_at, .. } = &mut self.people[person];
        match presented {
            Presented::Code { app, steps } if !apps.is_empty() => {
                let index = app % apps.len();
                let app = &mut apps[index];
                let (proof, step) = (totp(&app.authenticator.code_of(steps)), now.timestamp().div_euclid(STEP) + steps);
                if steps.abs() > 1 || step <= app.last_step || !counts(app.created_at) {
                    return (proof, None);
                }
                (app.last_step, app.used_at) = (step, Some(now));
                (proof, Some(("code", Some(app.authenticator.id.clone()))))
            }
            Presented::RecoveryCode { code } if !codes.is_empty() => {
                let index = code % codes.len();
                let (code, used) = &mut codes[index];
                let is_right = has_factor && counts(*codes_at) && !std::mem::replace(used, *used || counts(*codes_at));
                (recovery_code(code), is_right.then_some(("code", None)))
            }
            Presented::Passkey { passkey, ceremony } if !self.passkeys.is_empty() => {
                self.prove_passkey(occasion, passkey % self.passkeys.len(), ceremony).await
            }
            _ => (self.wrong_code(person), None),
        }
    }

    fn wrong_code(&self, person: usize) -> Value {
        let apps = &self.people[person].apps;
        totp(&apps.first().map_or_else(|| "000000".to_owned(), |app| app.authenticator.wrong_code()))
    }

    async fn prove_passkey(
        &mut self,
        Occasion { person, purpose, before, authority }: Occasion<'_>,
        at: usize,
        ceremony: Option<usize>,
    ) -> (Value, Option<Proven>) {
        let count = self.ceremonies.len();
        let earlier = ceremony.filter(|_| count > 0).map(|ceremony| count - 1 - ceremony % count);
        let ceremony = match earlier {
            Some(earlier) => Some(earlier),
            None if purpose == Purpose::Proof => {
                let answer = self.app.bearer(authority).post("/v1/me/authentication/options", json!({})).await;
                self.begun(person, purpose, answer)
            }
            None => {
                let answer = self.app.anonymous().post("/v1/passkeys/options", json!({ "challenge": authority })).await;
                self.begun(person, purpose, answer)
            }
        };
        let Some(ceremony) = ceremony else { return (self.wrong_code(person), None) };
        let credential = self.sign(at, ceremony).await;
        let (has_ended, now) = (self.has_ended(ceremony), self.now());
        let (ceremony, signer) = (&mut self.ceremonies[ceremony], &mut self.passkeys[at]);
        let proof = passkey(&ceremony.text, &credential);
        let is_for_this = ceremony.purpose == purpose && ceremony.person == Some(person) && !has_ended;
        let is_theirs = signer.person == person && !signer.is_removed && before.is_none_or(|before| signer.created_at < before);
        if !is_for_this || !is_theirs || std::mem::replace(&mut ceremony.is_spent, true) {
            return (proof, None);
        }
        signer.used_at = Some(now);
        (proof, Some(("passkey", Some(signer.id.clone()))))
    }

    async fn complete(&mut self, at: usize, presented: Presented) {
        let (person, text) = (self.challenges[at].person, self.challenges[at].text.clone());
        let Challenge { wrong, is_spent, purpose, .. } = self.challenges[at];
        let is_none = self.challenges[at].at + LIFE <= self.now() || purpose != Purpose::LogIn;
        if is_none || !self.people[person].active || is_spent || wrong >= 5 {
            let code = if is_none || self.people[person].active { (401, "invalid_challenge") } else { (403, "account_disabled") };
            // A code that is right is not spent by a challenge that is not valid.
            let right = self.people[person].apps.first().map_or_else(|| totp("000000"), |app| app.authenticator.factor());
            assert_eq!(self.app.complete(&text, &right).await.problem(), code);
            return;
        }
        let occasion = Occasion { person, purpose, before: None, authority: &text };
        let (proof, proven) = self.prove(occasion, presented).await;
        let answer = self.app.complete(&text, &proof).await;
        match proven {
            None => {
                assert_eq!(answer.problem(), (401, "wrong_factor"), "{:#}", answer.body);
                // Nobody guesses what a passkey signs.
                self.challenges[at].wrong += u32::from(proof["kind"] != "passkey");
            }
            Some(proven) => {
                self.challenges[at].is_spent = true;
                self.open(person, &answer.expect(201), &[("password", None), proven]);
            }
        }
    }

    /// Refreshes a session, and returns its new access token; `None` if it has ended.
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

    /// Returns the access token of a session whose proof is fresh. Checks that the guard rejects any other.
    async fn fresh(&mut self, at: usize, path: &str) -> Option<String> {
        let token = self.refreshed(at).await?;
        let session = &self.sessions[at];
        let best = if self.has_factor(session.person, None) { 2 } else { 1 };
        // A proof of the future was made when the clock was wrong.
        if (-5..=600).contains(&(self.now().timestamp() - session.auth_time)) && session.acr() >= best {
            return Some(token);
        }
        let refused = self.app.bearer(&token).post(path, json!({})).await;
        assert_eq!(refused.problem(), (401, "insufficient_user_authentication"));
        assert_eq!(refused.body["acr_values"], json!([best.to_string()]));
        None
    }

    async fn again(&mut self, at: usize, presented: Presented) {
        let Some(token) = self.refreshed(at).await else { return };
        let occasion = Occasion { person: self.sessions[at].person, purpose: Purpose::Proof, before: None, authority: &token };
        let (proof, proven) = self.prove(occasion, presented).await;
        let answer = self.app.bearer(&token).post("/v1/me/authentication", json!({ "factor": proof })).await;
        match proven {
            None => assert_eq!(answer.problem(), (401, "wrong_factor"), "{:#}", answer.body),
            Some(proven) => {
                answer.expect(200);
                self.raise(at, proven);
            }
        }
    }

    async fn start_app(&mut self, at: usize) {
        let path = "/v1/me/factors/totp";
        let Some(token) = self.fresh(at, path).await else { return };
        let (person, now) = (self.sessions[at].person, self.now());
        let started = self.app.bearer(&token).post(path, json!({})).await;
        if self.people[person].apps.len() == 5 {
            assert_eq!(started.problem(), (409, "too_many_factors"));
            return;
        }
        let authenticator = Authenticator::scan(&self.app, &started.expect(201));
        // A sixth one replaces the oldest.
        let mut others: Vec<_> =
            self.waiting.iter_mut().filter(|waiting| waiting.person == person && !waiting.is_forgotten).collect();
        others.sort_by(|one, other| one.authenticator.id.cmp(&other.authenticator.id));
        if others.len() == 5 {
            others[0].is_forgotten = true;
        }
        self.waiting.push(Waiting { authenticator, person, at: now, is_forgotten: false });
    }

    /// Confirms the app that was started last for an account, from any of its sessions.
    async fn confirm_app(&mut self, at: usize) {
        let Some(token) = self.refreshed(at).await else { return };
        let (person, now) = (self.sessions[at].person, self.now());
        let Some(newest) = self.waiting.iter().rposition(|waiting| waiting.person == person) else { return };
        let Waiting { authenticator, at: started_at, is_forgotten, .. } = &self.waiting[newest];
        let answer = confirm(&self.app.bearer(&token), authenticator, &authenticator.code()).await;
        if *is_forgotten || *started_at + LIFE <= now {
            assert_eq!(answer.problem(), (404, "not_found"));
            return;
        }
        if self.people[person].apps.len() == 5 {
            assert_eq!(answer.problem(), (409, "too_many_factors"));
            return;
        }
        let (id, authenticator) = (authenticator.id.clone(), authenticator.clone());
        self.enrolled(at, "code", id, &answer.expect(200));
        let last_step = now.timestamp().div_euclid(STEP);
        self.people[person].apps.push(App { authenticator, last_step, created_at: now, used_at: None });
    }

    async fn add_passkey(&mut self, at: usize) {
        let path = "/v1/me/factors/passkey/options";
        let Some(token) = self.fresh(at, path).await else { return };
        let person = self.sessions[at].person;
        let caller = self.app.bearer(&token);
        if self.passkeys_of(person).count() == 10 {
            assert_eq!(caller.post(path, json!({})).await.problem(), (409, "too_many_factors"));
            return;
        }
        let mut device = PasskeyDevice::default();
        let enrolled = passkeys::enrol(&caller, &mut device).await;
        let id = enrolled["factor"]["id"].as_str().unwrap().to_owned();
        self.enrolled(at, "passkey", id.clone(), &enrolled);
        self.passkeys.push(Passkey { device, id, person, created_at: self.now(), used_at: None, is_removed: false });
    }

    /// Records that a session was raised by a factor that is new, and the codes that come with the first one.
    fn enrolled(&mut self, at: usize, method: &'static str, factor: String, enrolled: &Value) {
        let (person, codes) = (self.sessions[at].person, texts(&enrolled["recovery_codes"]));
        assert_eq!(codes.is_empty(), self.has_factor(person, None), "codes come with the first factor");
        if !codes.is_empty() {
            self.people[person].codes = codes.into_iter().map(|code| (code, false)).collect();
            self.people[person].codes_at = self.now();
        }
        self.raise(at, (method, Some(factor)));
        self.void_challenges(person);
        // A session that has proven less must not get the new level from an app that it has started before.
        self.forget_waiting(person);
    }

    async fn remove(&mut self, at: usize, factor: usize) {
        let person = self.sessions[at].person;
        let apps = self.people[person].apps.iter().map(|app| app.authenticator.id.clone());
        let held: Vec<_> = apps.chain(self.passkeys_of(person).map(|passkey| passkey.id.clone())).collect();
        if held.is_empty() {
            return;
        }
        let Some(token) = self.fresh(at, "/v1/me/recovery-codes").await else { return };
        let id = &held[factor % held.len()];
        let answer = self.app.bearer(&token).delete(&format!("/v1/me/factors/{id}"), json!(null)).await;
        if held.len() == 1 && self.is_demanded(person) {
            assert_eq!(answer.problem(), (409, "factor_required"));
            return;
        }
        answer.expect(204);
        self.people[person].apps.retain(|app| app.authenticator.id != *id);
        self.passkeys.iter_mut().filter(|passkey| passkey.id == *id).for_each(|passkey| passkey.is_removed = true);
        if held.len() == 1 {
            self.people[person].codes.clear();
        }
        self.void_challenges(person);
        let is_last = held.len() == 1;
        self.end(|session| session.factors.contains(id) || is_last && session.person == person && session.acr() == 2);
    }

    /// Returns whether the policy demands a second factor of a person.
    fn is_demanded(&self, person: usize) -> bool {
        match self.policy {
            Policy::None => false,
            Policy::Administrators => self.people[person].more,
            Policy::Everyone => true,
        }
    }

    async fn replace_codes(&mut self, at: usize) {
        let path = "/v1/me/recovery-codes";
        let Some(token) = self.fresh(at, path).await else { return };
        let person = self.sessions[at].person;
        let answer = self.app.bearer(&token).post(path, json!(null)).await;
        if !self.has_factor(person, None) {
            assert_eq!(answer.problem(), (409, "factor_required"));
            return;
        }
        self.people[person].codes = texts(&answer.expect(201)["codes"]).into_iter().map(|code| (code, false)).collect();
        self.people[person].codes_at = self.now();
    }

    /// Returns a password that the person has not had before.
    fn another_password(&self, person: usize) -> String {
        let Person { password, .. } = &self.people[person];
        if password == PASSWORD { "nine grey gulls at noon".to_owned() } else { format!("{password} again") }
    }

    async fn change_password(&mut self, at: usize) {
        let Some(token) = self.refreshed(at).await else { return };
        let (person, session) = (self.sessions[at].person, &self.sessions[at]);
        let (current, new) = (self.people[person].password.clone(), self.another_password(person));
        let body = json!({ "current_password": current, "new_password": new });
        let answer = self.app.bearer(&token).put("/v1/me/password", body).await;
        if self.policy == Policy::Everyone && session.acr() < 2 {
            assert_eq!(answer.problem(), (401, "insufficient_user_authentication"));
            return;
        }
        answer.expect(204);
        self.people[person].password = new;
        self.void_requests(person);
        let kept = std::mem::take(&mut self.sessions[at].refresh);
        self.end(|session| session.person == person && !session.refresh.is_empty());
        self.sessions[at].refresh = kept;
    }

    /// Returns the unspent tickets of a person for a purpose, and the tokens in their links.
    async fn tickets(&self, person: usize, purpose: TicketPurpose) -> Vec<(ticket::Model, String)> {
        let rows = ticket::Entity::find().filter(ticket::COLUMN.user_id.eq(self.people[person].id));
        let rows = rows.filter(ticket::COLUMN.purpose.eq(purpose)).all(self.app.app.db.read()).await.unwrap();
        let unspent = rows.into_iter().filter(|row| row.used_at.is_none() && row.void_at.is_none());
        let link = |row: ticket::Model| (tickets::token(&self.app.app, &row).unwrap().to_string(), row);
        unspent.map(link).map(|(token, row)| (row, token)).collect()
    }

    async fn change_address(&mut self, at: usize) {
        let Some(token) = self.refreshed(at).await else { return };
        let person = self.sessions[at].person;
        self.people[person].addresses += 1;
        let address = format!("{}{}@example.com", PEOPLE[person], self.people[person].addresses);
        let caller = self.app.bearer(&token);
        let body = json!({ "email": address, "current_password": self.people[person].password });
        caller.patch("/v1/me", body).await.expect(200);
        let wanted = self.tickets(person, TicketPurpose::Change).await;
        let is_wanted = |(row, _): &&(ticket::Model, String)| row.address.as_ref() == Some(&address);
        let (_, link) = wanted.iter().find(is_wanted).unwrap();
        caller.post("/v1/me/pending-email/complete", json!({ "token": link })).await.expect(204);
        self.void_requests(person);
        let known: Vec<_> = self.reverts.iter().map(|ticket| ticket.token.clone()).collect();
        let unspent = self.tickets(person, TicketPurpose::Revert).await;
        let new: Vec<_> = unspent.into_iter().filter(|(_, token)| !known.contains(token)).collect();
        assert_eq!(new.is_empty(), self.was_proven_by_old_factor(at), "whether the change can be undone");
        self.reverts.extend(new.into_iter().map(|(row, token)| Ticket::new(&row, person, token)));
    }

    /// Returns whether a session's user has just proven a factor that they have had for long.
    fn was_proven_by_old_factor(&self, at: usize) -> bool {
        let (now, session) = (self.now(), &self.sessions[at]);
        let apps = self.people[session.person].apps.iter();
        let apps = apps.map(|app| (&app.authenticator.id, app.created_at, app.used_at));
        let passkeys = self.passkeys_of(session.person).map(|passkey| (&passkey.id, passkey.created_at, passkey.used_at));
        let is_old_and_was_used = |(id, created_at, used_at): (&String, DateTime<Utc>, Option<DateTime<Utc>>)| {
            session.factors.contains(id) && created_at < now - YOUNG && used_at.is_some_and(|at| at > now - LIFE)
        };
        session.acr() == 2 && session.auth_time > (now - LIFE).timestamp() && apps.chain(passkeys).any(is_old_and_was_used)
    }

    async fn request_reset(&mut self, person: usize) {
        password_resets::send(&self.app.app, By::Operator, self.people[person].id).await.unwrap();
        for (row, token) in self.tickets(person, TicketPurpose::Reset).await {
            match self.resets.iter_mut().find(|ticket| ticket.token == token) {
                // The same link, which is valid for longer.
                Some(ticket) => ticket.expires_at = row.expires_at,
                None => self.resets.push(Ticket::new(&row, person, token)),
            }
        }
        let (now, life) = (self.now(), self.app.app.settings.mail.reset_ttl);
        let live = || self.resets.iter().filter(|ticket| ticket.person == person && ticket.is_live(now));
        // In its second life, a link stays valid as its mail has promised, beside its successor.
        let first_lives = live().filter(|ticket| ticket.created_at + life > now).count();
        assert!(first_lives <= 1 && (1..=2).contains(&live().count()), "a link is issued while another can be sent again");
    }

    async fn reset_password(&mut self, at: usize, presented: Option<Presented>) {
        let (person, new) = (self.resets[at].person, self.another_password(self.resets[at].person));
        let proof = json!({ "kind": "link", "token": self.resets[at].token });
        let body = json!({ "proof": proof, "new_password": new });
        let is_done = self.redeem(&self.resets[at].clone(), Purpose::Reset, None, "/proof/token", body, presented).await;
        if is_done {
            self.resets[at].was_used = true;
            self.people[person].password = new;
            self.void_requests(person);
            self.end(|session| session.person == person);
        }
    }

    async fn revert(&mut self, at: usize, presented: Option<Presented>) {
        let ticket = self.reverts[at].clone();
        let (person, new, since) = (ticket.person, self.another_password(ticket.person), ticket.created_at - YOUNG);
        let body = json!({ "token": ticket.token, "new_password": new });
        if self.redeem(&ticket, Purpose::Revert, Some(since), "/token", body, presented).await {
            let is_later = |other: &&mut Ticket| other.person == person && other.created_at >= ticket.created_at;
            self.reverts.iter_mut().filter(is_later).for_each(|other| other.is_spent = true);
            (self.reverts[at].was_used, self.reverts[at].is_spent) = (true, true);
            self.people[person].password = new;
            self.lose_factors(person, Some(since));
            self.void_requests(person);
            self.end(|session| session.person == person);
        }
    }

    /// Uses a ticket, with a factor if the person has one that counts. Returns whether that succeeded.
    async fn redeem(
        &mut self,
        ticket: &Ticket,
        purpose: Purpose,
        before: Option<DateTime<Utc>>,
        pointer: &str,
        mut body: Value,
        presented: Option<Presented>,
    ) -> bool {
        let path = if purpose == Purpose::Reset { "/v1/password-resets/complete" } else { "/v1/email-changes/revert" };
        let answer = self.app.anonymous().post(path, body.clone()).await;
        if !ticket.is_live(self.now()) {
            let code = if ticket.expires_at <= self.now() { "expired_ticket" } else { "spent_ticket" };
            assert_eq!(answer.faults(), [(pointer, code)]);
            return false;
        }
        let person = ticket.person;
        if !self.has_factor(person, before) {
            answer.expect(204);
            return true;
        }
        let challenge = self.challenged(person, purpose, before, &answer);
        let Some(presented) = presented else { return false };
        let (proof, proven) = self.prove(Occasion { person, purpose, before, authority: &challenge }, presented).await;
        body["factor"] = proof;
        let answer = self.app.anonymous().post(path, body).await;
        if proven.is_none() {
            assert_eq!(answer.problem(), (401, "wrong_factor"), "{:#}", answer.body);
            return false;
        }
        answer.expect(204);
        true
    }

    /// Checks what one session says of itself, and what it may do.
    pub async fn check_one(&mut self, number: usize) {
        if self.sessions.is_empty() {
            return;
        }
        let at = number % self.sessions.len();
        let Some(token) = self.refreshed(at).await else { return };
        let session = &self.sessions[at];
        let caller: Caller<'_> = self.app.bearer(&token);
        let token = caller.get("/v1/token").await.expect(200);
        assert_eq!((&token["acr"], &token["amr"]), (&json!(session.acr().to_string()), &session.amr()));
        let auth_time = token["auth_time"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        assert_eq!(auth_time.timestamp(), session.auth_time);
        let has_factor = self.has_factor(session.person, None);
        assert_eq!(caller.get("/v1/me").await.expect(200)["second_factor"], has_factor);
        let listed = caller.get("/v1/users").await;
        if !self.people[session.person].more {
            assert_eq!(listed.problem(), (403, "insufficient_permission"));
        } else if self.is_demanded(session.person) && session.acr() < 2 {
            assert_eq!(listed.problem(), (401, "insufficient_user_authentication"));
            assert_eq!(listed.body.get("enrol"), (!has_factor).then_some(&json!(true)));
        } else {
            listed.expect(200);
        }
    }

    /// Checks every session, and what the accounts hold.
    pub async fn check_all(&mut self) {
        for at in 0..self.sessions.len() {
            self.check_one(at).await;
        }
        let held = factor::Entity::find().count(self.app.app.db.read()).await.unwrap();
        let passkeys = self.passkeys.iter().filter(|passkey| !passkey.is_removed).count();
        assert_eq!(held, (self.apps() + passkeys) as u64);
    }
}

impl Ticket {
    fn new(row: &ticket::Model, person: usize, token: String) -> Self {
        let (created_at, expires_at) = (row.created_at, row.expires_at);
        Self { token, person, created_at, expires_at, is_spent: false, was_used: false }
    }

    fn is_live(&self, now: DateTime<Utc>) -> bool {
        !self.is_spent && self.expires_at > now
    }
}
