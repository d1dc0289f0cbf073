//! JSON, strictly: a document means one thing or it is refused. Most parsers keep the last of two equal members, some the first.

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How many arrays and objects may stand inside one another; under the 128 of `serde_json`.
const DEEPEST: usize = 64;
/// How many pointers are worth listing: each may be as long as the document.
const MOST_POINTERS: usize = 32;

/// Why bytes are not the JSON we take. Holds nothing of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// Not JSON at all (RFC 8259), a number beyond 64-bit floating point, or something after the end.
    #[error("This is not JSON: see line {line}, column {column}.")]
    Syntax {
        /// From 1.
        line: usize,
        /// In bytes.
        column: usize,
    },
    /// RFC 8259 section 8.1.
    #[error("JSON is UTF-8; this is not.")]
    NotUtf8,
    /// Two members of one object have the same name, perhaps spelled with different escapes (RFC 8259 section 4).
    #[error("An object has two members of the same name.")]
    DuplicateMember,
    /// Arrays and objects nested deeper than 64.
    #[error("Arrays and objects are nested deeper than 64.")]
    TooDeep,
}

/// Parses a whole document.
///
/// # Errors
/// The first reason to refuse it.
pub fn strict(bytes: &[u8]) -> Result<Value, NotJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotJson::NotUtf8)?;
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    Node { room: DEEPEST, fault: &fault }
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|err| fault.get().unwrap_or(NotJson::Syntax { line: err.line(), column: err.column() }))
}

/// JSON pointers (RFC 6901) to strings that hold NUL, which `PostgreSQL` cannot store and C code cuts at. When a member's
/// name holds it, the pointer is the object's, and the member is not looked into. At most the first 32.
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
    let here = path.len();
    match value {
        Value::String(text) if text.contains('\0') => found.push(path.clone()),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                find_nul(item, path, found);
                path.truncate(here);
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
                path.truncate(here);
            }
        }
        _ => {}
    }
}

/// Reads one value: `room` is how many levels may still open; `fault` carries our own reasons past serde's error type.
#[derive(Clone, Copy)]
struct Node<'a> {
    room: usize,
    fault: &'a Cell<Option<NotJson>>,
}

impl Node<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let room = self.room.checked_sub(1).ok_or_else(|| self.refuse(NotJson::TooDeep))?;
        Ok(Self { room, ..self })
    }

    fn refuse<E: serde::de::Error>(self, reason: NotJson) -> E {
        self.fault.set(Some(reason));
        E::custom(reason)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number beyond 64 bits"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.refuse(NotJson::DuplicateMember));
            }
            object.insert(name, members.next_value_seed(inside)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(r#"{"a":1,"a":2}"#)]
    #[case(r#"{"a":1,"\u0061":2}"#)]
    #[case(r#"[{"b":{"":0,"x":[],"":0}}]"#)]
    fn p06_equal_members_are_refused_at_any_depth(#[case] text: &str) {
        assert_eq!(strict(text.as_bytes()), Err(NotJson::DuplicateMember));
    }

    #[rstest]
    #[case::empty("")]
    #[case::white("  ")]
    #[case::cut(r#"{"a":"#)]
    #[case::trailing("{} {}")]
    #[case::trailing_comma("[1,]")]
    #[case::comment("[1] // one")]
    #[case::byte_order_mark("\u{FEFF}{}")]
    #[case::lone_surrogate(r#""\ud800""#)]
    #[case::raw_control("\"\n\"")]
    #[case::nan("NaN")]
    #[case::huge("1e999")]
    #[case::huge_negative("[-1e999]")]
    #[case::huge_exponent("1e99999999999999999999")]
    #[case::leading_zero("01")]
    fn what_is_not_json_is_refused_with_its_place(#[case] text: &str) {
        assert!(matches!(strict(text.as_bytes()), Err(NotJson::Syntax { line: 1.., .. })), "{:?}", strict(text.as_bytes()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(strict(b"\"\xff\""), Err(NotJson::NotUtf8));
    }

    #[test]
    fn h04_sixty_four_levels_are_enough() {
        let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth| r#"{"a":"#.repeat(depth) + "0" + &"}".repeat(depth);
        assert!(strict(arrays(64).as_bytes()).is_ok() && strict(objects(64).as_bytes()).is_ok());
        for deep in [arrays(65), objects(65), arrays(30_000), objects(10_000), "[".repeat(60_000)] {
            assert_eq!(strict(deep.as_bytes()), Err(NotJson::TooDeep));
        }
    }

    #[test]
    fn h02_an_error_repeats_nothing() {
        let told =
            strict(br#"{"hunter2":1,"hunter2":2}"#).unwrap_err().to_string() + &strict(b"hunter2").unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn h04_every_string_with_nul_is_pointed_at() {
        let value = strict(br#"{"a/b":{"~":["ok","\u0000"]},"name":"A\u0000da","x":{"\u0000":"\u0000","y":"z"},"n":0}"#).unwrap();
        assert_eq!(nul_pointers(&value), ["/a~1b/~0/1", "/name", "/x"]);
        assert_eq!(nul_pointers(&json!("\0")), [""]);
        assert_eq!(nul_pointers(&json!({"\0": 1, "a\0": 2})), [""]);
        assert!(nul_pointers(&json!({"a": ["b", {"c": null}]})).is_empty());
        assert_eq!(nul_pointers(&json!(vec!["\0"; 1_000])).len(), MOST_POINTERS);
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 48, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_documents_without_duplicates(document in document()) {
            let text = document.to_string();
            prop_assert_eq!(strict(text.as_bytes()).ok(), serde_json::from_str(&text).ok());
        }

        #[test]
        fn takes_nothing_that_serde_json_refuses(text in "[\\[\\]{}\",:0-9eE.+truefalsn\\\\ -]{0,24}") {
            match (strict(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(ours), theirs) => prop_assert_eq!(Some(ours), theirs.ok()),
                (Err(reason), theirs) => prop_assert!(theirs.is_err() || reason == NotJson::DuplicateMember),
            }
        }

        #[test]
        fn a_pointer_points_at_a_string_with_nul(document in document()) {
            for pointer in nul_pointers(&document) {
                let holds_nul = match document.pointer(&pointer) {
                    Some(Value::String(text)) => text.contains('\0'),
                    Some(Value::Object(members)) => members.keys().any(|name| name.contains('\0')),
                    _ => false,
                };
                prop_assert!(holds_nul);
            }
        }
    }
}
