//! A strict JSON parser, which rejects documents with duplicate members. Other parsers disagree on such a document: most keep
//! the last of two members with the same name, some the first.

mod nul;

use std::{cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub use self::nul::nul_pointers;

/// The maximum depth of nested arrays and objects. It is less than the 128 of `serde_json`.
const DEEPEST: usize = 64;

/// Why a document is rejected. Nothing of the document is included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotJson {
    /// The document is not JSON (RFC 8259), has a number beyond 64-bit floating point, or goes on after its end.
    #[error("This is not valid JSON: see line {line}, column {column}.")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In bytes.
        column: usize,
    },
    /// RFC 8259 section 8.1.
    #[error("JSON must be encoded in UTF-8.")]
    NotUtf8,
    /// Two members of an object have the same name, possibly written with different escapes (RFC 8259 section 4).
    #[error("An object has two members with the same name.")]
    DuplicateMember,
    /// Arrays and objects are nested more than 64 levels deep.
    #[error("Arrays and objects must not be nested more than 64 levels deep.")]
    TooDeep,
}

/// Parses a whole document.
pub fn strict(bytes: &[u8]) -> Result<Value, NotJson> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotJson::NotUtf8)?;
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    Node { levels: DEEPEST, fault: &fault }
        .deserialize(&mut json)
        .and_then(|value| json.end().map(|()| value))
        .map_err(|err| fault.get().unwrap_or(NotJson::Syntax { line: err.line(), column: err.column() }))
}

/// Reads one value. `levels` is the number of levels that may still be opened. `fault` keeps a [`NotJson`], which serde's error
/// type cannot carry.
#[derive(Clone, Copy)]
struct Node<'a> {
    levels: usize,
    fault: &'a Cell<Option<NotJson>>,
}

impl Node<'_> {
    fn enter<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| self.reject(NotJson::TooDeep))?;
        Ok(Self { levels, ..self })
    }

    fn reject<E: serde::de::Error>(self, reason: NotJson) -> E {
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
        let item = self.enter()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(item)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let item = self.enter()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(self.reject(NotJson::DuplicateMember));
            }
            object.insert(name, members.next_value_seed(item)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(r#"{"a":1,"a":2}"#)]
    #[case(r#"{"a":1,"\u0061":2}"#)]
    #[case(r#"[{"b":{"":0,"x":[],"":0}}]"#)]
    fn p06_duplicate_members_are_rejected_at_any_depth(#[case] text: &str) {
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
    fn a_syntax_error_is_reported_with_its_position(#[case] text: &str) {
        assert!(matches!(strict(text.as_bytes()), Err(NotJson::Syntax { line: 1.., .. })), "{:?}", strict(text.as_bytes()));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_rejected() {
        assert_eq!(strict(b"\"\xff\""), Err(NotJson::NotUtf8));
    }

    #[test]
    fn h04_sixty_four_levels_are_accepted_and_no_more() {
        let arrays = |depth| "[".repeat(depth) + &"]".repeat(depth);
        let objects = |depth| r#"{"a":"#.repeat(depth) + "0" + &"}".repeat(depth);
        assert!(strict(arrays(64).as_bytes()).is_ok() && strict(objects(64).as_bytes()).is_ok());
        for deep in [arrays(65), objects(65), arrays(30_000), objects(10_000), "[".repeat(60_000)] {
            assert_eq!(strict(deep.as_bytes()), Err(NotJson::TooDeep));
        }
    }

    #[test]
    fn h02_an_error_repeats_nothing_of_the_document() {
        let messages =
            strict(br#"{"hunter2":1,"hunter2":2}"#).unwrap_err().to_string() + &strict(b"hunter2").unwrap_err().to_string();
        assert!(!messages.contains("hunter2"), "{messages}");
    }

    pub(super) fn document() -> impl Strategy<Value = Value> {
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
        fn rejects_everything_that_serde_json_rejects(text in "[\\[\\]{}\",:0-9eE.+truefalsn\\\\ -]{0,24}") {
            match (strict(text.as_bytes()), serde_json::from_str::<Value>(&text)) {
                (Ok(value), expected) => prop_assert_eq!(Some(value), expected.ok()),
                (Err(reason), expected) => prop_assert!(expected.is_err() || reason == NotJson::DuplicateMember),
            }
        }
    }
}
