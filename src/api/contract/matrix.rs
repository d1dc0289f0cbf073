//! The access matrix, `openapi/access.md`: the contract's guards as a table that people review.

use serde_json::{Map, Value};

use super::{Access, access, document, operations};

const HEAD: &str = "| operation | route | public | signed in | permission | `user` | `admin` |\n|---|---|---|---|---|---|---|\n";

/// The access matrix in Markdown, `openapi/access.md`: every operation by tag, and who may call it.
#[must_use]
pub fn render() -> String {
    let tags = document()["tags"].as_array().into_iter().flatten().filter_map(|tag| tag["name"].as_str());
    let mut matrix = String::from(include_str!("matrix.md"));
    for tag in tags {
        matrix.extend(["\n## ", tag, "\n\n", HEAD]);
        matrix.extend(operations(document()).filter(|(.., operation)| operation["tags"][0] == tag).map(row));
    }
    matrix
}

fn row((path, method, operation): (&str, &str, &Map<String, Value>)) -> String {
    let (public, signed, permission) = match access(operation) {
        Access::Public => ("yes", "yes", String::new()),
        Access::Signed => ("", "yes", String::new()),
        Access::Permission(name) => ("", "", format!("`{name}`")),
    };
    let user = if permission.is_empty() { "yes" } else { "" };
    let (id, method) = (operation["operationId"].as_str().unwrap_or_default(), method.to_uppercase());
    format!("| `{id}` | `{method} {path}` | {public} | {signed} | {permission} | {user} | yes |\n")
}
