//! The access matrix, `openapi/access.md`: the contract's guards as a table that people review.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Access, access, document, operations};

const HEAD: &str = "| operation | route | public | signed in | permission | `user` | `admin` |\n|---|---|---|---|---|---|---|\n";

/// The access matrix in Markdown, `openapi/access.md`: every operation by tag, and who may call it.
#[must_use]
pub fn render() -> String {
    let mut by_tag: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, method, operation) in operations(document()) {
        let text = |member: &str| operation.get(member).and_then(Value::as_str).unwrap_or_default();
        let (public, signed, permission) = match access(operation) {
            Access::Public => ("yes", "yes", String::new()),
            Access::Signed => ("", "yes", String::new()),
            Access::Permission(name) => ("", "", format!("`{name}`")),
        };
        let (user, admin) = if permission.is_empty() { ("yes", "yes") } else { ("", "yes") };
        let row = format!(
            "| `{}` | `{} {path}` | {public} | {signed} | {permission} | {user} | {admin} |\n",
            text("operationId"),
            method.to_uppercase()
        );
        by_tag.entry(operation["tags"][0].as_str().unwrap_or_default()).or_default().push(row);
    }
    let mut matrix = String::from(include_str!("access.md"));
    for (tag, rows) in by_tag {
        matrix.extend(["\n## ", tag, "\n\n", HEAD]);
        matrix.extend(rows);
    }
    matrix
}
