//! The access matrix: every kind of caller calls every operation of the contract (row A02). The operations are read from the
//! contract, so that a new one needs no new test.

use poem::http::Method;
use serde_json::{Map, Value, json};
use vestibule::{
    api::contract::{self, Access},
    values::{permission, second_factor_policy::SecondFactorPolicy as Policy},
};

use crate::support::{
    PASSWORD, TestApp,
    caller::{Answer, Caller},
    client::Client,
    clock::minutes,
};

/// An operation, and a request with every member that its schema requires.
pub struct Operation {
    pub id: &'static str,
    method: Method,
    pub path: String,
    body: Option<(&'static str, Value)>,
    pub access: Access,
    /// The weakest policy that demands a second factor.
    pub second_factor: Option<Policy>,
    /// Whether the operation requires a fresh proof of presence.
    pub is_fresh: bool,
}

impl Operation {
    /// Reads all operations from the contract.
    pub fn all() -> Vec<Self> {
        let read = |(path, method, operation): (&'static str, &str, &'static Map<String, Value>)| Self {
            id: operation["operationId"].as_str().unwrap(),
            method: method.to_uppercase().parse().unwrap(),
            // No object has these ids and the role `user` cannot be changed, so that an admitted caller changes nothing.
            path: path
                .replace("{id}", "0198c5e0-0000-7000-8000-000000000000")
                .replace("{kid}", "unknown")
                .replace("{name}", "user"),
            body: operation.get("requestBody").map(|body| {
                let (media_type, content) = body["content"].as_object().unwrap().iter().next().unwrap();
                (media_type.as_str(), example(&content["schema"]))
            }),
            access: contract::access(operation),
            second_factor: operation.get("x-second-factor").map(|policy| policy.as_str().unwrap().parse().unwrap()),
            is_fresh: contract::max_age(operation).is_some(),
        };
        contract::operations(contract::document()).map(read).collect()
    }

    pub async fn send(&self, caller: &Caller<'_>) -> Answer {
        let (method, path) = (self.method.clone(), self.path.as_str());
        match &self.body {
            Some(("application/json", body)) => caller.json(method, path, body).await,
            Some((media_type, form)) => {
                let members = form.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(members).finish();
                caller.send(method, path, &[("content-type", media_type)], form.into()).await
            }
            None => caller.send(method, path, &[], poem::Body::empty()).await,
        }
    }

    /// Checks that the guard rejected the caller with this status and code, and with the right challenge.
    fn assert_rejected(&self, kind: &str, answer: &Answer, status: u16, code: &str) {
        assert_eq!(answer.problem(), (status, code), "{} as {kind}: {:#}", self.id, answer.body);
        let challenge = answer.header("www-authenticate");
        match (&self.access, code) {
            (_, "missing_token") => assert_eq!(challenge, r#"Bearer realm="vestibule""#),
            (Access::Permission(name), "insufficient_permission") => {
                assert_eq!(challenge, format!(r#"Bearer realm="vestibule", error="insufficient_scope", scope="{name}""#));
                assert_eq!(answer.body["required_permission"], *name);
                assert!(answer.body["granted_by"].as_array().unwrap().contains(&json!("admin")));
            }
            _ => assert!(challenge.starts_with(r#"Bearer realm="vestibule", error="invalid_token""#), "{challenge}"),
        }
    }

    /// Checks that the guard admitted the caller, whatever the operation then answered.
    pub fn assert_admitted(&self, kind: &str, answer: &Answer) {
        let guard_codes =
            ["missing_token", "invalid_token", "expired_token", "session_ended", "stale_token", "insufficient_permission"];
        assert!(!guard_codes.contains(&answer.problem().1), "{} as {kind}: {:#}", self.id, answer.body);
        assert_ne!(answer.problem().1, "insufficient_user_authentication", "{} as {kind}: {:#}", self.id, answer.body);
    }

    /// Returns the level that the guard demands of a caller with these proofs under `policy`; `None` if it accepts the caller.
    pub fn demands(&self, policy: Policy, proofs: &Proofs) -> Option<&'static str> {
        if self.second_factor.is_some_and(|weakest| policy >= weakest) && proofs.shown < 2 {
            Some("2")
        } else if self.is_fresh && (proofs.is_old || proofs.shown < proofs.held) {
            Some(["1", "2"][proofs.held - 1])
        } else {
            None
        }
    }
}

/// Checks that the guard demands a proof of this level (RFC 9470 section 3).
pub fn assert_insufficient(cell: &str, answer: &Answer, acr: &str, proofs: &Proofs) {
    assert_eq!(answer.problem(), (401, "insufficient_user_authentication"), "{cell}: {:#}", answer.body);
    let error = r#"error="insufficient_user_authentication""#;
    let challenge = format!(r#"Bearer realm="vestibule", {error}, acr_values="{acr}", max_age=600"#);
    assert_eq!(answer.header("www-authenticate"), challenge, "{cell}");
    assert_eq!((&answer.body["acr_values"], &answer.body["max_age"]), (&json!([acr]), &json!(600)), "{cell}");
    let must_enrol = acr == "2" && proofs.held == 1;
    assert_eq!(answer.body.get("enrol"), must_enrol.then_some(&json!(true)), "{cell}");
}

/// Returns a value that satisfies a schema, made from its examples.
fn example(schema: &Value) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        return example(&contract::document()["components"]["schemas"][name.rsplit('/').next().unwrap()]);
    }
    if let Some(properties) = schema["properties"].as_object() {
        // Only required members, because an optional one may require another permission.
        let is_required = |name: &str| schema["required"].as_array().is_some_and(|required| required.contains(&json!(name)));
        let members = properties.iter().filter(|(name, _)| is_required(name));
        return members.map(|(name, schema)| (name.clone(), example(schema))).collect::<Map<_, _>>().into();
    }
    if let Some(first) = schema["examples"].get(0).or_else(|| schema["enum"].get(0)) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("array") => json!([example(&schema["items"])]),
        Some("boolean") => json!(true),
        Some("integer") => json!(1),
        _ => json!("example"),
    }
}

/// What a caller has proven: the number of factors that they have shown in their session, and that their account holds, the
/// password included; and whether that was more than ten minutes ago.
pub struct Proofs {
    pub kind: &'static str,
    pub shown: usize,
    pub held: usize,
    pub is_old: bool,
}

const PROOFS: [Proofs; 5] = [
    Proofs { kind: "stale proof", shown: 1, held: 1, is_old: true },
    Proofs { kind: "stale proof of two factors", shown: 2, held: 2, is_old: true },
    Proofs { kind: "one factor", shown: 1, held: 1, is_old: false },
    Proofs { kind: "one factor of two", shown: 1, held: 2, is_old: false },
    Proofs { kind: "two factors", shown: 2, held: 2, is_old: false },
];

pub const POLICIES: [Policy; 3] = [Policy::None, Policy::Administrators, Policy::Everyone];

/// Logs in a new user whom the operation's guard accepts but for the proofs, with exactly these proofs.
async fn prove<'a>(admin: &Caller<'a>, name: &str, operation: &Operation, proofs: &Proofs) -> Client<'a> {
    let app = admin.app;
    let id = app.register(name).await;
    if let Access::Permission(permission) = &operation.access {
        admin.put(&format!("/v1/users/{id}/roles"), json!({ "roles": [role_granting(permission)] })).await.expect(200);
    }
    let mut client = Client::log_in(app, name).await;
    if proofs.held == 2 {
        app.give_factor(id).await;
    }
    if proofs.shown == 2 {
        app.show_factor(client.session.parse().unwrap()).await;
    }
    // Only a refreshed token says what has changed since.
    client.refresh().await.expect(200);
    client
}

fn role_granting(permission: &str) -> String {
    permission.replace(':', "_")
}

#[tokio::test]
async fn f02_every_guard_demands_the_proofs_that_the_contract_and_the_policy_state() {
    let app = TestApp::start().await;
    let operations = Operation::all();
    for (permission, _) in permission::ALL {
        let role = json!({ "name": role_granting(permission), "permissions": [permission] });
        app.admin().await.post("/v1/roles", role).await.expect(201);
    }
    let mut cells = Vec::new();
    for is_old in [true, false] {
        let admin = app.admin().await;
        for operation in &operations {
            for proofs in PROOFS.iter().filter(|proofs| proofs.is_old == is_old) {
                for policy in POLICIES {
                    let client = prove(&admin, &format!("user{}", cells.len()), operation, proofs).await;
                    cells.push((operation, proofs, policy, client));
                }
            }
        }
        if is_old {
            app.clock.advance(minutes(11));
        }
    }
    for policy in POLICIES {
        // A replica with another setting decides at the next request, also about sessions that began before.
        let replica = app.replica_with(|settings| settings.second_factor.require = policy).await;
        for (operation, proofs, _, client) in cells.iter().filter(|(_, _, under, _)| *under == policy) {
            let cell = format!("{} with {} under {policy:?}", operation.id, proofs.kind);
            let answer = operation.send(&replica.bearer(&client.access)).await;
            match operation.demands(policy, proofs) {
                Some(acr) => assert_insufficient(&cell, &answer, acr, proofs),
                None => operation.assert_admitted(&cell, &answer),
            }
        }
    }
}

#[tokio::test]
async fn a02_every_operation_answers_every_kind_of_caller_as_the_contract_says() {
    let app = TestApp::start().await;
    let other = TestApp::start().await;

    let expired = app.user("expired").await;
    app.clock.advance(minutes(16));
    other.clock.advance(minutes(16));
    let ended = app.user("ended").await;
    let elsewhere = app.anonymous().log_in("ended", PASSWORD).await;
    elsewhere.delete("/v1/me/sessions?except_current=true", json!(null)).await.expect(204);
    let stale = app.user("stale").await;
    let roles = format!("/v1/users/{}/roles", stale.get("/v1/me").await.expect(200)["id"].as_str().unwrap());
    app.admin().await.put(&roles, json!({ "roles": ["admin"] })).await.expect(200);
    let foreign = app.bearer(other.user("foreign").await.token.as_deref().unwrap());
    let garbage = app.bearer("not-a-token");

    for (number, operation) in Operation::all().iter().enumerate() {
        // New callers for each operation, because some operations end the caller's session.
        let user = app.user(&format!("user{number}")).await;
        let admin = app.admin().await;
        let guarded = operation.access != Access::Public;
        for (kind, caller, code) in [
            ("a caller without a token", &app.anonymous(), "missing_token"),
            ("a caller with garbage", &garbage, "invalid_token"),
            ("a caller with a token of a foreign key", &foreign, "invalid_token"),
            ("a caller with an expired token", &expired, "expired_token"),
            ("a caller whose session has ended", &ended, "session_ended"),
            ("a caller with a stale token", &stale, "stale_token"),
        ] {
            let answer = operation.send(caller).await;
            if guarded {
                operation.assert_rejected(kind, &answer, 401, code);
            } else {
                operation.assert_admitted(kind, &answer);
            }
        }
        if let Access::Permission(name) = &operation.access {
            operation.assert_rejected("a user", &operation.send(&user).await, 403, "insufficient_permission");
            let others: Vec<_> = permission::ALL.iter().map(|(other, _)| *other).filter(|other| other != name).collect();
            let without = app.holding(&format!("without{number}"), &others).await;
            operation.assert_rejected(
                "a caller with all other permissions",
                &operation.send(&without).await,
                403,
                "insufficient_permission",
            );
            let with = app.holding(&format!("with{number}"), &[name]).await;
            operation.assert_admitted("a caller with only this permission", &operation.send(&with).await);
        } else {
            operation.assert_admitted("a user", &operation.send(&user).await);
        }
        operation.assert_admitted("the administrator", &operation.send(&admin).await);
    }
}

#[tokio::test]
async fn the_guard_rejects_a_caller_before_the_body_is_parsed() {
    let app = TestApp::start().await;
    let user = app.user("ada").await;
    for operation in Operation::all() {
        let broken = || poem::Body::from_string("{".into());
        let headers = [("content-type", "application/json")];
        if operation.access != Access::Public {
            let answer = app.anonymous().send(operation.method.clone(), &operation.path, &headers, broken()).await;
            operation.assert_rejected("a caller without a token", &answer, 401, "missing_token");
        }
        if matches!(operation.access, Access::Permission(_)) {
            let answer = user.send(operation.method.clone(), &operation.path, &headers, broken()).await;
            operation.assert_rejected("a user", &answer, 403, "insufficient_permission");
        }
    }
}
