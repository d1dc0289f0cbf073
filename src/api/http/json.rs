//! How the body of a response is written.

use poem_openapi::types::ToJSON;
use serde::Serialize;
use serde_json::Value;

/// The capacity of a new body in bytes. Most bodies are shorter.
const CAPACITY: usize = 512;

/// Writes a body as JSON. serde writes it, because poem-openapi would build a tree of values first, and a body is a large part
/// of the work of a request. With debug assertions, each body is compared with that tree, whose members the contract names.
pub fn written<T: ToJSON + Serialize>(body: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CAPACITY);
    serde_json::to_writer(&mut bytes, body).expect("an object whose keys are texts can be written as JSON");
    debug_assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), body.to_json());
    bytes
}
