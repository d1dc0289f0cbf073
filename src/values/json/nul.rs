//! Strings that contain NUL, which PostgreSQL cannot store and at which C code truncates.

use serde_json::Value;

/// The maximum number of pointers that are returned: each may be as long as the document.
const MOST_POINTERS: usize = 32;

/// Returns JSON pointers (RFC 6901) to the first 32 strings that contain NUL. If the name of a member contains NUL, the pointer
/// leads to the object, and the member is not searched.
pub fn nul_pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find_nul(value, &mut String::new(), &mut found);
    found.truncate(MOST_POINTERS);
    found
}

fn find_nul(value: &Value, path: &mut String, found: &mut Vec<String>) {
    if found.len() >= MOST_POINTERS {
        return;
    }
    let length = path.len();
    match value {
        Value::String(text) if text.contains('\0') => found.push(path.clone()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                find_nul(item, path, found);
                path.truncate(length);
            }
        }
        Value::Object(members) => {
            if members.keys().any(|name| name.contains('\0')) {
                found.push(path.clone());
            }
            for (name, member) in members.iter().filter(|(name, _)| !name.contains('\0')) {
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                find_nul(member, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{super::tests::document, *};
    use crate::values::json::strict;

    #[test]
    fn h04_every_string_with_nul_is_found() {
        let value = strict(br#"{"a/b":{"~":["ok","\u0000"]},"name":"A\u0000da","x":{"\u0000":"\u0000","y":"z"},"n":0}"#).unwrap();
        assert_eq!(nul_pointers(&value), ["/a~1b/~0/1", "/name", "/x"]);
        assert_eq!(nul_pointers(&json!("\0")), [""]);
        assert_eq!(nul_pointers(&json!({"\0": 1, "a\0": 2})), [""]);
        assert!(nul_pointers(&json!({"a": ["b", {"c": null}]})).is_empty());
        assert_eq!(nul_pointers(&json!(vec!["\0"; 1_000])).len(), MOST_POINTERS);
    }

    proptest! {
        #[test]
        fn a_pointer_leads_to_a_string_with_nul(document in document()) {
            for pointer in nul_pointers(&document) {
                let contains_nul = match document.pointer(&pointer) {
                    Some(Value::String(text)) => text.contains('\0'),
                    Some(Value::Object(members)) => members.keys().any(|name| name.contains('\0')),
                    _ => false,
                };
                prop_assert!(contains_nul);
            }
        }
    }
}
