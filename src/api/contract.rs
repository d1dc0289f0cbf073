//! The contract: the OpenAPI document. poem-openapi collects what the handlers' types state. [`Documented`] adds what the
//! derive cannot express: the permission of each guard, and the responses with their codes. `openapi31` makes the result
//! OpenAPI 3.1.

mod examples;
mod headers;
pub mod matrix;
mod openapi31;
mod responses;
pub mod routes;

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use poem::{endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    OpenApi, OpenApiService,
    registry::{MetaApi, MetaOperation, MetaPath, Registry},
    types::Type,
};
use serde_json::{Map, Value, json};

use super::{
    guard::{self, Requirements},
    http::{declared_problem::Declared, problem::ProblemBody},
};
use crate::{config::BasePath, domain::caller::MAX_AGE};

/// The operations that anybody may call, and the only ones without a guard: see [`check`].
pub const PUBLIC: &[&str] = &[
    "registerAccount",
    "startSignUp",
    "completeSignUp",
    "acceptInvitation",
    "requestPasswordReset",
    "resetPassword",
    "readTicket",
    "revertEmailChange",
    "logIn",
    "completeLogIn",
    "startPasskeyLogIn",
    "logInByPasskey",
    "logOut",
    "refreshSession",
    "readJwks",
    "readOptions",
    "readHealth",
    "readReadiness",
    "readVersion",
];

/// Wraps the APIs, so that the document states who may call each operation and every code that the operation can return.
pub struct Documented<T>(pub T);

impl<T: OpenApi> OpenApi for Documented<T> {
    fn meta() -> Vec<MetaApi> {
        let mut paths: Vec<MetaPath> = Vec::new();
        for path in T::meta().into_iter().flat_map(|api| api.paths) {
            // Two APIs can share a path. Without the merge, the JSON object would have two members of this name.
            match paths.iter_mut().find(|known| known.path == path.path) {
                Some(known) => known.operations.extend(path.operations),
                None => paths.push(path),
            }
        }
        paths.iter_mut().flat_map(|path| &mut path.operations).for_each(responses::complete);
        vec![MetaApi { paths }]
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        ProblemBody::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(routes);
    }
}

/// What the types in a handler's signature state about its operation.
struct Declaration {
    method: Method,
    /// The path, such as `/v1/users/{id}`.
    path: String,
    /// What the guard requires; `None` without a guard.
    guard: Option<Requirements>,
    /// What the type of the errors declares.
    errors: Declared,
}

/// Returns what the types in the handlers' signatures state, by operation id.
fn declared<T: OpenApi>(_: &Documented<T>) -> BTreeMap<&'static str, Declaration> {
    let declaration = |path: &str, mut operation: MetaOperation| {
        let (id, guard) = (operation.operation_id?, Requirements::of(&operation));
        let errors = Declared::take(&mut operation.responses.responses);
        Some((id, Declaration { method: operation.method, path: path.to_owned(), guard, errors }))
    };
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    paths
        .flat_map(|MetaPath { path, operations }| operations.into_iter().filter_map(move |one| declaration(&path, one)))
        .collect()
}

/// Returns what the types in the handlers' signatures state, by operation id. The types are read once.
fn declarations() -> &'static BTreeMap<&'static str, Declaration> {
    static DECLARATIONS: OnceLock<BTreeMap<&'static str, Declaration>> = OnceLock::new();
    DECLARATIONS.get_or_init(|| declared(&super::apis()))
}

/// Returns the OpenAPI document, as it is served and committed. It is made once, without a database or settings, and kept: a
/// server, which needs it for one response, uses [`text_below`].
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(make)
}

fn make() -> Value {
    let service = OpenApiService::new(super::apis(), "Vestibule", env!("CARGO_PKG_VERSION"))
        .summary("Accounts, sessions and roles.")
        .description(include_str!("contract/introduction.md"))
        .license(poem_openapi::LicenseObject::new("MIT OR Apache-2.0").identifier("MIT OR Apache-2.0"))
        .server("/");
    let text = service.spec();
    openapi31::finish(serde_json::from_str(&text).expect("poem-openapi emits JSON"))
}

/// Returns [`document`] as text with a final newline.
pub fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{:#}\n", document()))
}

/// Returns [`text`] for a service below a base path, and keeps nothing of it. Paths that begin with `/.well-known/` are at the
/// root of the host.
pub fn text_below(base_path: &BasePath) -> String {
    let mut document = make();
    if !base_path.is_root() {
        document["servers"] = json!([{ "url": base_path.as_str() }]);
        for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
            if base_path.outside(path) == *path {
                item["servers"] = json!([{ "url": "/" }]);
            }
        }
    }
    format!("{document:#}\n")
}

/// Who may call an operation, as its guard states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without an access token.
    Public,
    /// Any caller with a valid access token, also one who must still enrol a second factor.
    Enrolling,
    /// Any caller with a valid access token.
    Signed,
    /// A caller one of whose roles grants this permission.
    Permission(String),
}

impl Declaration {
    /// The last sentence of an operation's description.
    fn sentence(&self) -> String {
        let Some(guard) = self.guard else { return "No access token is needed.".into() };
        let fresh = if guard.is_fresh { " and a fresh proof that the caller is present" } else { "" };
        match guard.permission {
            Some(name) => {
                let extra = self.errors.extra_permissions.iter().map(|(name, case)| format!(", and `{name}` {case}"));
                format!("Needs the permission `{}`{}{fresh}.", name.as_str(), extra.collect::<String>())
            }
            None => format!("Needs an access token{fresh}."),
        }
    }

    /// Adds to an operation of the document what OpenAPI has no member for: `x-fresh`, how old the proof of presence may be, in
    /// seconds; and `x-second-factor`, from which policy on a second factor is required.
    fn extend(&self, operation: &mut Map<String, Value>) {
        let Some(guard) = self.guard else { return };
        if guard.is_fresh {
            operation.insert("x-fresh".into(), json!({ "max_age": MAX_AGE }));
        }
        if let Some(policy) = guard.second_factor {
            operation.insert("x-second-factor".into(), policy.as_str().into());
        }
    }
}

/// Returns who may call an operation, as the document states it.
pub fn access(operation: &Map<String, Value>) -> Access {
    match operation.get("security").and_then(|all| all.get(0)).and_then(|one| one.get(guard::SCHEME)) {
        None => Access::Public,
        Some(scopes) => match scopes.get(0).and_then(Value::as_str) {
            None if operation.contains_key("x-second-factor") => Access::Signed,
            None => Access::Enrolling,
            Some(permission) => Access::Permission(permission.to_owned()),
        },
    }
}

/// Returns how long ago the caller of an operation may have proven their presence, in seconds, as the document states it;
/// `None` if that does not matter.
pub fn max_age(operation: &Map<String, Value>) -> Option<i64> {
    operation.get("x-fresh")?["max_age"].as_i64()
}

/// Iterates over the operations of a document: path, method in lower case, and the operation object.
pub fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Map<String, Value>)> {
    document["paths"].as_object().into_iter().flatten().flat_map(|(path, item)| {
        item.as_object()
            .into_iter()
            .flatten()
            .filter_map(move |(method, operation)| Some((path.as_str(), method.as_str(), operation.as_object()?)))
    })
}

fn operations_mut(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Map<String, Value>)> {
    document["paths"].as_object_mut().into_iter().flatten().flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.filter_map(move |(method, operation)| Some((path.as_str(), method.as_str(), operation.as_object_mut()?)))
    })
}

/// Fails unless each operation either has a guard or is on the list [`PUBLIC`].
pub fn check() -> anyhow::Result<()> {
    for (id, Declaration { method, path, guard, .. }) in declarations() {
        anyhow::ensure!(
            PUBLIC.contains(id) == guard.is_none(),
            "{method} {path} ({id}) must either have a guard or be on the list of public operations"
        );
    }
    Ok(())
}
