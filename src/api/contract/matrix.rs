//! The access matrix, `openapi/access.md`: who may call each operation, in one table that people review.

use serde_json::{Map, Value};

use super::{Access, access, declarations, document, max_age, operations};
use crate::api::http::{codes::Code, schema::optional_members};

const HEAD: &str = "| operation | route | requires | `user` | `admin` | fresh | second factor | conditions |\n\
                    |---|---|---|:-:|:-:|:-:|---|---|\n";

/// Returns the access matrix in Markdown: one row for each operation, in the order of the tags.
pub fn render() -> String {
    let tags = document()["tags"].as_array().into_iter().flatten().filter_map(|tag| tag["name"].as_str());
    let rows = tags.flat_map(|tag| operations(document()).filter(move |(.., operation)| operation["tags"][0] == tag)).map(row);
    [include_str!("matrix.md"), HEAD].into_iter().map(str::to_owned).chain(rows).collect()
}

fn row((path, method, operation): (&str, &str, &Map<String, Value>)) -> String {
    let (requires, user) = match access(operation) {
        Access::Public => ("public".to_owned(), "✓"),
        Access::Enrolling | Access::Signed => ("token".to_owned(), "✓"),
        Access::Permission(name) => (format!("`{name}`"), ""),
    };
    let fresh = max_age(operation).map(|seconds| format!("{seconds} s")).unwrap_or_default();
    let second_factor = operation.get("x-second-factor").and_then(Value::as_str).map(|policy| format!("`{policy}`"));
    let second_factor = second_factor.unwrap_or_default();
    let (id, method) = (operation["operationId"].as_str().unwrap_or_default(), method.to_uppercase());
    let conditions: Vec<_> = password(operation).map(str::to_owned).into_iter().chain(conditions(id)).collect();
    let conditions = conditions.join("; ");
    format!("| `{id}` | `{method} {path}` | {requires} | {user} | ✓ | {fresh} | {second_factor} | {conditions} |\n")
}

/// The conditions that an operation declares and that no guard can check.
fn conditions(id: &str) -> impl Iterator<Item = String> {
    let declared = &declarations()[id].errors;
    let extra = declared.extra_permissions.iter().map(|(name, case)| format!("`{name}` {case}"));
    extra.chain(declared.codes.iter().filter_map(|code| condition(*code)).map(str::to_owned))
}

/// Whether the request holds the current password: always, or for some changes.
fn password(operation: &Map<String, Value>) -> Option<&'static str> {
    let reference = operation.get("requestBody")?["content"]["application/json"]["schema"]["$ref"].as_str()?;
    let request = document().pointer(reference.strip_prefix('#')?)?;
    request["properties"].get("current_password")?;
    let is_optional = optional_members(request).any(|name| name == "current_password");
    Some(if is_optional { "password, for some members" } else { "password" })
}

/// The condition whose failure this code reports, if the condition depends on the caller.
fn condition(code: Code) -> Option<&'static str> {
    match code {
        Code::EscalationDenied => Some("no escalation"),
        Code::OwnAccount => Some("not oneself"),
        Code::CsrfRejected => Some("same site"),
        Code::RegistrationClosed => Some("`registration.mode`"),
        _ => None,
    }
}
