//! The schemas of response headers, which are the same for all operations.

use serde_json::{Value, json};

/// For each header its name, the pattern of its values, the maximum length in characters, and an example.
const HEADERS: &[(&str, &str, u32, &str)] = &[
    ("Cache-Control", "^public, max-age=[0-9]+$", 64, "public, max-age=300"),
    ("ETag", "^\"[A-Za-z0-9_-]+\"$", 64, "\"1\""),
    ("Link", "^<.+>; rel=\"next\"$", 10_000, "</v1/users?cursor=eyJhIjoxfQ>; rel=\"next\""),
    ("Location", "^(/[A-Za-z0-9._~-]+)*/v1/[a-z0-9/_-]+$", 192, "/v1/users/019b76da-a800-7000-8000-3f1e9c7a5d21"),
    (
        "Set-Cookie",
        "^(__Host-)?vestibule_(refresh|browser)=",
        4096,
        "__Host-vestibule_refresh=opaque; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict",
    ),
    ("WWW-Authenticate", "^Bearer realm=\"vestibule\"", 512, "Bearer realm=\"vestibule\""),
    ("X-Request-Id", "^[0-9a-f-]{36}$", 36, "019b76da-a800-7000-8000-5d2c8e6f1a3b"),
];

/// Returns the schema of a header, or `null` if the header is not in the list. The tests reject a document with `null`.
pub(super) fn schema(name: &str) -> Value {
    if name == "Retry-After" {
        return json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": i32::MAX, "examples": [1] });
    }
    HEADERS.iter().find(|(known, ..)| *known == name).map_or(Value::Null, |(_, pattern, longest, example)| {
        json!({ "type": "string", "maxLength": longest, "pattern": pattern, "examples": [example] })
    })
}
