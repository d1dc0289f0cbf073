//! The assurance matrix: every way in of the contract, to accounts that hold every kind of factor, under every policy, and every kind
//! of guard with the session that it opens (row F02).

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Map, Value, json};
use vestibule::{
    api::contract::{self, Access},
    values::second_factor_policy::SecondFactorPolicy as Policy,
};

use crate::{
    access::{self, Operation, POLICIES, Proofs},
    assert_problem,
    passkeys::{self, ORIGIN, begun, passkey},
    support::{
        PASSWORD, TestApp,
        authenticator::{self, Authenticator, challenge, recovery_code, texts, totp},
        caller::{Answer, Caller},
        clock::minutes,
        passkey_device::PasskeyDevice,
    },
};

/// A way in: an operation that opens a session, and the kind of the factor that it is sent, if it is sent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    operation: &'static str,
    kind: Option<&'static str>,
}

impl Way {
    /// Reads all ways in from the contract: whatever answers 201 with tokens, with every kind of factor that it accepts.
    fn all() -> Vec<Self> {
        contract::operations(contract::document()).flat_map(|(_, _, operation)| Self::of(operation)).collect()
    }

    fn of(operation: &'static Map<String, Value>) -> Vec<Self> {
        let (id, created) = (operation["operationId"].as_str().unwrap(), &operation["responses"]["201"]);
        if json_schema(created) != "#/components/schemas/Tokens" {
            return Vec::new();
        }
        let factor = &resolve(json_schema(&operation["requestBody"]))["properties"]["factor"];
        if factor.is_null() {
            return vec![Self { operation: id, kind: None }];
        }
        let kinds = resolve(&factor["$ref"])["discriminator"]["mapping"].as_object().unwrap().keys();
        kinds.map(|kind| Self { operation: id, kind: Some(kind) }).collect()
    }
}

/// Returns the reference to the schema of a request or a response in JSON.
fn json_schema(message: &'static Value) -> &'static Value {
    &message["content"]["application/json"]["schema"]["$ref"]
}

/// Returns the schema to which a reference points.
fn resolve(reference: &'static Value) -> &'static Value {
    &contract::document()["components"]["schemas"][reference.as_str().unwrap().rsplit('/').next().unwrap()]
}

/// What an account holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    Nothing,
    Totp,
    /// An authenticator app, whose recovery codes were all used.
    TotpWithoutCodes,
    Passkey,
    Both,
    /// A passkey that works no more, because the service has moved to another host. Only the recovery codes are left.
    CodesOnly,
}

impl Held {
    fn has(self, kind: &str) -> bool {
        match kind {
            "totp" => matches!(self, Self::Totp | Self::TotpWithoutCodes | Self::Both),
            "passkey" => matches!(self, Self::Passkey | Self::Both | Self::CodesOnly),
            "recovery_code" => !matches!(self, Self::Nothing | Self::TotpWithoutCodes),
            other => panic!("{other} is a new kind of factor: let accounts hold it"),
        }
    }

    /// Returns whether a log-in offers to prove this kind of factor. A passkey of another host cannot be proven.
    fn offers(self, kind: &str) -> bool {
        self.has(kind) && (self, kind) != (Self::CodesOnly, "passkey")
    }

    /// Returns the level and the methods of the session that a way in opens, or the problem if it opens none.
    fn expects(self, way: Way) -> Result<(&'static str, Value), (u16, &'static str)> {
        match (way.operation, way.kind) {
            ("logIn", None) if self == Self::Nothing => Ok(("1", json!(["pwd"]))),
            ("logIn", None) => Err((401, "second_factor_required")),
            // Nobody is asked for a factor that an account does not have.
            ("completeLogIn", Some(_)) if self == Self::Nothing => Err((401, "invalid_challenge")),
            ("completeLogIn", Some("passkey")) if self.offers("passkey") => Ok(("2", json!(["pwd", "pop", "user", "mfa"]))),
            ("completeLogIn", Some(kind)) if self.offers(kind) => Ok(("2", json!(["pwd", "otp", "mfa"]))),
            ("completeLogIn", Some(_)) => Err((401, "wrong_factor")),
            ("logInByPasskey", None) if self == Self::CodesOnly => Err((401, "invalid_passkey")),
            ("logInByPasskey", None) if self.offers("passkey") => Ok(("2", json!(["pop", "user", "mfa"]))),
            ("logInByPasskey", None) => Err((401, "unknown_passkey")),
            other => panic!("{other:?} is a new way in: say what it opens"),
        }
    }
}

/// An administrator, and what they have to log in with.
struct Account {
    name: String,
    held: Held,
    authenticator: Option<Authenticator>,
    /// A device with a passkey, which the account holds or not.
    device: PasskeyDevice,
    codes: Vec<String>,
}

impl Account {
    async fn create(app: &TestApp, name: String, held: Held) -> Self {
        let id = app.create(&name).await;
        app.admin().await.put(&format!("/v1/users/{id}/roles"), json!({ "roles": ["admin"] })).await.expect(200);
        let mut caller = app.anonymous().log_in(&name, PASSWORD).await;
        let mut account = Self { name, held, authenticator: None, device: PasskeyDevice::default(), codes: Vec::new() };
        if held.has("totp") {
            let (enrolled, authenticator, reply) = authenticator::enrol(&caller).await;
            caller = enrolled;
            account.authenticator = Some(authenticator);
            account.codes = texts(&reply["recovery_codes"]);
        }
        if held.has("passkey") {
            let reply = passkeys::enrol(&caller, &mut account.device).await;
            account.codes.extend(texts(&reply["recovery_codes"]));
        } else {
            let (_, options) = begun(caller.post("/v1/me/factors/passkey/options", json!({})).await);
            account.device.make(ORIGIN, &options).await;
        }
        if held == Held::TotpWithoutCodes {
            for code in &account.codes {
                app.log_in_with(&account.name, &recovery_code(code)).await;
            }
        }
        account
    }

    /// Tries to log in.
    async fn log_in(&mut self, app: &TestApp, way: Way) -> Answer {
        match (way.operation, way.kind) {
            ("logIn", None) => app.log_in(&self.name).await,
            ("completeLogIn", Some(kind)) => {
                let asked = app.log_in(&self.name).await;
                let offered = ["totp", "passkey", "recovery_code"].into_iter().filter(|kind| self.held.offers(kind));
                let offered = (self.held != Held::Nothing).then(|| json!(offered.collect::<Vec<_>>()));
                assert_eq!(asked.body.get("factors"), offered.as_ref());
                let challenge = asked.body["challenge"].as_str().map_or_else(|| format!("vc1.{}", "A".repeat(43)), str::to_owned);
                let factor = self.factor(app, kind, &challenge).await;
                app.complete(&challenge, &factor).await
            }
            ("logInByPasskey", None) => {
                let (ceremony, credential) = self.sign(app).await;
                app.present(&ceremony, &credential).await
            }
            other => panic!("{other:?} is a new way in: take it"),
        }
    }

    /// Returns the factor that the owner of such an account sends, or, where it holds none of this kind, that a guesser sends.
    async fn factor(&mut self, app: &TestApp, kind: &str, challenge: &str) -> Value {
        match kind {
            "totp" => self.authenticator.as_ref().map_or_else(|| totp("000000"), Authenticator::factor),
            "recovery_code" => recovery_code(self.codes.first().map_or("0000-0000-0000-0000", String::as_str)),
            _ => {
                let begun = app.anonymous().post("/v1/passkeys/options", json!({ "challenge": challenge })).await;
                let (ceremony, credential) = if begun.status == 200 {
                    let (ceremony, options) = passkeys::begun(begun);
                    (ceremony, self.device.sign(ORIGIN, &options).await)
                } else {
                    let code =
                        if self.held == Held::Nothing { (401, "invalid_challenge") } else { (403, "passkeys_unavailable") };
                    assert_eq!(begun.problem(), code);
                    self.sign(app).await
                };
                passkey(&ceremony, &credential)
            }
        }
    }

    /// Signs a log-in that names no account. A browser would not use a passkey at another host.
    async fn sign(&mut self, app: &TestApp) -> (Value, Value) {
        let (ceremony, mut options) = app.begin_log_in().await;
        options["rpId"] = "id.example.org".into();
        (ceremony, self.device.sign(ORIGIN, &options).await)
    }
}

/// The operations of the contract that have a guard. A caller ends only other sessions, so that they can call all of them.
fn guarded() -> Vec<Operation> {
    let mut operations: Vec<_> = Operation::all().into_iter().filter(|operation| operation.access != Access::Public).collect();
    for operation in operations.iter_mut().filter(|operation| operation.id == "endMySessions") {
        operation.path += "?except_current=true";
    }
    operations
}

/// What distinguishes guards: whether they demand a permission, the weakest policy that they enforce, and whether the proof must be
/// fresh.
fn guard(operation: &Operation) -> (bool, Option<Policy>, bool) {
    (matches!(operation.access, Access::Permission(_)), operation.second_factor, operation.is_fresh)
}

/// Returns the operations that a cell of the matrix calls: all of them or, for a sample, one for each kind of guard.
fn chosen(operations: &[Operation], cell: usize, is_sample: bool) -> Vec<&Operation> {
    if !is_sample {
        return operations.iter().collect();
    }
    let guards: BTreeSet<_> = operations.iter().map(guard).collect();
    let of = |wanted| {
        let such: Vec<_> = operations.iter().filter(|operation| guard(operation) == wanted).collect();
        such[cell % such.len()]
    };
    guards.into_iter().map(of).collect()
}

/// Tries every way in to accounts that hold this, under every policy, and calls operations with each session that opens, at once and
/// eleven minutes later. Returns how many cells there were.
async fn matrix(held: Held, is_sample: bool) -> usize {
    let lenient = TestApp::with_passkeys().await;
    let (ways, operations, mut cells) = (Way::all(), guarded(), 0);
    for policy in POLICIES {
        let app = lenient.replica_with(|settings| {
            settings.second_factor.require = policy;
            if held == Held::CodesOnly {
                passkeys::at("https://login.example.org")(settings);
                settings.tokens.issuer = Some(ORIGIN.to_owned());
            }
        });
        let app = app.await;
        for way in &ways {
            let mut account = Account::create(&lenient, format!("user{cells}"), held).await;
            lenient.clock.advance(minutes(1));
            let sessions = app.rows().await["sessions"];
            let answer = account.log_in(&app, *way).await;
            let cell = format!("{held:?}, {policy:?}, {way:?}: {:#}", answer.body);
            cells += 1;
            let (acr, amr) = match held.expects(*way) {
                Ok(opened) => opened,
                Err(problem) => {
                    assert_eq!(answer.problem(), problem, "{cell}");
                    assert!(answer.body["access_token"].is_null() && !answer.headers.contains_key("set-cookie"), "{cell}");
                    // The password of an account without a factor has opened one by itself, before there was a challenge to complete.
                    let by_password = u64::from(held == Held::Nothing && way.operation == "completeLogIn");
                    assert_eq!(app.rows().await["sessions"], sessions + by_password, "{cell}");
                    continue;
                }
            };
            assert_eq!(answer.status, 201, "{cell}");
            let caller = app.bearer(answer.body["access_token"].as_str().unwrap());
            let token = caller.get("/v1/token").await.expect(200);
            assert_eq!((&token["acr"], &token["amr"]), (&json!(acr), &amr), "{cell}");
            for is_old in [false, true] {
                let proofs =
                    Proofs { kind: "", shown: acr.parse().unwrap(), held: if held == Held::Nothing { 1 } else { 2 }, is_old };
                for operation in chosen(&operations, cells, is_sample) {
                    check(&caller, operation, policy, &proofs, &cell).await;
                    cells += 1;
                }
                app.clock.advance(minutes(11));
            }
        }
    }
    cells
}

async fn check(caller: &Caller<'_>, operation: &Operation, policy: Policy, proofs: &Proofs, cell: &str) {
    let answer = operation.send(caller).await;
    let cell = format!("{} after {} minutes, {cell}", operation.id, if proofs.is_old { 11 } else { 0 });
    match operation.demands(policy, proofs) {
        Some(acr) => access::assert_insufficient(&cell, &answer, acr, proofs),
        None => operation.assert_admitted(&cell, &answer),
    }
}

#[rstest]
#[case::nothing(Held::Nothing)]
#[case::totp(Held::Totp)]
#[case::totp_without_codes(Held::TotpWithoutCodes)]
#[case::passkey(Held::Passkey)]
#[case::both(Held::Both)]
#[case::codes_only(Held::CodesOnly)]
#[tokio::test]
async fn f02_every_way_in_needs_the_factor_that_the_account_holds_and_opens_what_the_guards_accept(#[case] held: Held) {
    matrix(held, true).await;
}

#[rstest]
#[case::nothing(Held::Nothing)]
#[case::totp(Held::Totp)]
#[case::totp_without_codes(Held::TotpWithoutCodes)]
#[case::passkey(Held::Passkey)]
#[case::both(Held::Both)]
#[case::codes_only(Held::CodesOnly)]
#[tokio::test]
#[ignore = "long: every operation instead of one for each kind of guard"]
async fn long_f02_every_way_in_needs_the_factor_that_the_account_holds_and_opens_what_the_guards_accept(#[case] held: Held) {
    println!("{held:?}: {} cells", matrix(held, false).await);
}

#[test]
fn the_matrix_calls_every_kind_of_guard_and_knows_every_way_in() {
    let operations = guarded();
    let guards: BTreeSet<_> = operations.iter().map(guard).collect();
    assert_eq!(guards.len(), chosen(&operations, 0, true).len());
    // Without one of these, the matrix would be a part of itself.
    for (permission, weakest, is_fresh) in [
        (false, None, false),
        (false, None, true),
        (false, Some(Policy::Everyone), false),
        (true, Some(Policy::Administrators), false),
        (true, Some(Policy::Administrators), true),
    ] {
        assert!(guards.contains(&(permission, weakest, is_fresh)), "{guards:?}");
    }
    assert_eq!(Way::all().len(), 5, "{:?}", Way::all());
}

#[tokio::test]
async fn a_factor_proves_presence_again_and_raises_a_session() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let before = app.anonymous().log_in("ada", PASSWORD).await;
    let tokens = app.log_in("ada").await.expect(201);
    let (caller, authenticator, enrolled) = crate::support::authenticator::enrol(&before).await;
    // The other session goes on with one factor, after a refresh.
    let refreshed = app.refresh(tokens["refresh_token"].as_str().unwrap()).await.expect(200);
    let other = app.bearer(refreshed["access_token"].as_str().unwrap());
    assert_eq!(other.get("/v1/token").await.expect(200)["acr"], "1");
    assert_problem!(other.post("/v1/me/factors/totp", json!({})).await, 401, "insufficient_user_authentication");
    let again = async |factor: Value| other.post("/v1/me/authentication", json!({ "factor": factor })).await;
    assert_problem!(again(json!({ "kind": "password", "password": PASSWORD })).await, 401, "wrong_factor");
    assert_problem!(again(authenticator.factor()).await, 401, "wrong_factor");
    let code = recovery_code(enrolled["recovery_codes"][0].as_str().unwrap());
    let raised = again(code.clone()).await.expect(200);
    assert_eq!((&raised["session_id"], &raised["refresh_token"]), (&refreshed["session_id"], &Value::Null));
    assert_problem!(again(code).await, 401, "wrong_factor");
    let other = app.bearer(raised["access_token"].as_str().unwrap());
    assert_eq!(other.get("/v1/token").await.expect(200)["amr"], json!(["pwd", "otp", "mfa"]));
    other.post("/v1/me/factors/totp", json!({})).await.expect(201);
    drop(caller);
}

#[tokio::test]
async fn removing_the_factor_that_has_raised_a_session_ends_it() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let ada = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[0])).await;
    let raised = ada.post("/v1/me/authentication", json!({ "factor": owner.authenticator.factor() })).await.expect(200);
    let raised = app.bearer(raised["access_token"].as_str().unwrap());
    let unraised = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[1])).await;
    // Another factor, so that this one is not the last.
    app.clock.advance(minutes(1));
    let (unraised, _, _) = authenticator::enrol(&unraised).await;
    unraised.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    assert_problem!(raised.get("/v1/me").await, 401, "session_ended");
    assert_problem!(unraised.get("/v1/me").await, 401, "stale_token");
}

#[tokio::test]
async fn sessions_that_recovery_codes_have_raised_end_with_the_last_factor() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let raised = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[0])).await;
    owner.caller.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    assert_problem!(raised.get("/v1/me").await, 401, "session_ended");
    app.log_in("ada").await.expect(201);
}

#[tokio::test]
async fn f04_a_passkey_of_another_host_does_not_satisfy_the_policy() {
    let before = TestApp::with_passkeys().await;
    let mut account = Account::create(&before, "ada".into(), Held::Both).await;
    let app = before.replica_with(|settings| {
        passkeys::at("https://login.example.org")(settings);
        settings.tokens.issuer = Some(ORIGIN.to_owned());
        settings.second_factor.require = Policy::Everyone;
    });
    let app = app.await;
    app.clock.advance(minutes(1));
    let asked = app.log_in("ada").await;
    assert_eq!(asked.body["factors"], json!(["totp", "recovery_code"]));
    let factor = account.factor(&app, "totp", &challenge(&asked)).await;
    let tokens = app.complete(&challenge(&asked), &factor).await.expect(201);
    let ada = app.bearer(tokens["access_token"].as_str().unwrap());
    let held = ada.get("/v1/me/factors").await.expect(200);
    let path = |kind: &str| {
        let factor = held["items"].as_array().unwrap().iter().find(|factor| factor["kind"] == kind).unwrap();
        format!("/v1/me/factors/{}", factor["id"].as_str().unwrap())
    };
    assert_problem!(ada.delete(&path("totp"), json!(null)).await, 409, "factor_required");
    ada.delete(&path("passkey"), json!(null)).await.expect(204);
}

#[tokio::test]
async fn a_factor_that_the_policy_demands_cannot_be_removed() {
    for (policy, is_administrator, refused) in [
        (Policy::None, true, false),
        (Policy::Administrators, false, false),
        (Policy::Administrators, true, true),
        (Policy::Everyone, false, true),
    ] {
        let app = TestApp::start().await;
        let (caller, authenticator): (_, Authenticator) = if is_administrator {
            let (caller, authenticator, _) = crate::support::authenticator::enrol(&app.admin().await).await;
            (caller, authenticator)
        } else {
            let owner = app.owner("ada").await;
            (owner.caller, owner.authenticator)
        };
        let strict = app.replica_with(|settings| settings.second_factor.require = policy).await;
        let caller = strict.bearer(caller.token.as_deref().unwrap());
        let (second, other, _) = crate::support::authenticator::enrol(&caller).await;
        // One of two can go.
        second.delete(&format!("/v1/me/factors/{}", authenticator.id), json!(null)).await.expect(204);
        app.clock.advance(std::time::Duration::from_mins(1));
        let name = if is_administrator { "admin" } else { "ada" };
        let password = if is_administrator { app.admin_password() } else { PASSWORD };
        let asked = strict.anonymous().post("/v1/sessions", json!({ "identifier": name, "password": password })).await;
        let tokens = strict.complete(&challenge(&asked), &other.factor()).await.expect(201);
        let caller = strict.bearer(tokens["access_token"].as_str().unwrap());
        let last = caller.delete(&format!("/v1/me/factors/{}", other.id), json!(null)).await;
        if refused {
            assert_problem!(last, 409, "factor_required");
        } else {
            last.expect(204);
        }
    }
}
