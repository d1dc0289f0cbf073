//! Validation of a request object against the schema that the contract shows. It finds every fault at once, and no message
//! repeats a value. It knows what request objects use of JSON Schema; a test compares it with a validator that knows everything.

use std::{
    any::{TypeId, type_name},
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use poem_openapi::types::ParseFromJSON;
use serde_json::{Map, Value};

use super::{
    problem::Problem,
    schema::{optional_members, schema_of},
    words::{self, Check, one_of},
};
use crate::{
    error::{Error, Fault},
    values::Invalid,
};

/// The schema of a request object, ready for use.
pub struct Schema {
    shape: Shape,
    /// The names of all members.
    pub members: BTreeSet<String>,
    /// The names of the optional members.
    pub optional: BTreeSet<String>,
}

impl Schema {
    /// Returns the schema of `T`, which is compiled at its first use.
    pub fn of<T: ParseFromJSON + 'static>() -> Arc<Self> {
        static COMPILED: OnceLock<Mutex<HashMap<TypeId, Arc<Schema>>>> = OnceLock::new();
        let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        compiled.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(Self::compile::<T>())).clone()
    }

    fn compile<T: ParseFromJSON>() -> Self {
        let schema = schema_of::<T>();
        let schemas = &schema["components"]["schemas"];
        let object = &schemas[T::name().as_ref()];
        Self {
            shape: Shape::compile(object, schemas),
            members: object["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            optional: optional_members(object).map(str::to_owned).collect(),
        }
    }

    /// Returns the faults of `value`. The fault that a format's parser finds in a text comes before those of the text's length.
    pub fn faults(&self, value: &Value) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.shape.check(value, "", &mut faults);
        faults
    }
}

/// What a part of a request may be.
enum Shape {
    /// An object with these members and no others.
    Object {
        members: BTreeMap<String, Self>,
        required: Vec<String>,
    },
    /// An object with any members, which its parser checks.
    AnyObject,
    /// One of several objects, as its member `kind` says.
    Union(Vec<Self>),
    Array {
        items: Box<Self>,
        longest: u64,
    },
    /// A text of so many characters, in a format.
    Text {
        shortest: u64,
        longest: u64,
        format: Option<Check>,
    },
    /// One of these texts.
    Enum(Vec<Value>),
    Boolean,
    /// `null`, or this.
    Nullable(Box<Self>),
}

impl Shape {
    /// Compiles a schema, whose references lead to `schemas`. `pattern` is left out: where there is one, a format's parser or the
    /// rule that no text has the character NUL is as strict. Panics at a type that no request object has; a test finds keywords that
    /// this does not know.
    fn compile(schema: &Value, schemas: &Value) -> Self {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.trim_start_matches("#/components/schemas/");
            return Self::compile(&schemas[name], schemas);
        }
        let variants = |keyword: &str| schema[keyword].as_array().map(|all| all.iter().map(|one| Self::compile(one, schemas)));
        if let Some(variants) = variants("oneOf") {
            return Self::Union(variants.collect());
        }
        let number = |keyword: &str| schema[keyword].as_u64();
        let own = |kind: &str| match kind {
            "object" => match schema["properties"].as_object() {
                Some(members) => Self::Object {
                    members: members.iter().map(|(name, member)| (name.clone(), Self::compile(member, schemas))).collect(),
                    required: texts(&schema["required"]).map(str::to_owned).collect(),
                },
                None => Self::AnyObject,
            },
            "array" => Self::Array {
                items: Box::new(Self::compile(&schema["items"], schemas)),
                longest: number("maxItems").unwrap_or(u64::MAX),
            },
            "string" => match schema["enum"].as_array() {
                Some(options) => Self::Enum(options.clone()),
                None => Self::Text {
                    shortest: number("minLength").unwrap_or(0),
                    longest: number("maxLength").unwrap_or(u64::MAX),
                    format: schema["format"].as_str().map(words::format),
                },
            },
            "boolean" => Self::Boolean,
            _ => panic!("requests are not validated against this schema: {schema}"),
        };
        match (&schema["type"], schema["anyOf"].as_array().map(Vec::as_slice)) {
            (Value::String(kind), None) => own(kind),
            (Value::Array(kinds), None) if kinds.len() == 2 && kinds[1] == "null" => {
                Self::Nullable(Box::new(own(kinds[0].as_str().unwrap_or_default())))
            }
            (Value::Null, Some([one, null])) if null["type"] == "null" => Self::Nullable(Box::new(Self::compile(one, schemas))),
            _ => panic!("requests are not validated against this schema: {schema}"),
        }
    }

    /// Adds the faults of the value at `pointer`.
    fn check(&self, value: &Value, pointer: &str, faults: &mut Vec<Fault>) {
        let mut add = |invalid| faults.push(Fault::at(pointer.to_owned(), invalid));
        match (self, value) {
            (Self::AnyObject, Value::Object(_)) | (Self::Boolean, Value::Bool(_)) | (Self::Nullable(_), Value::Null) => {}
            (Self::Nullable(shape), _) => shape.check(value, pointer, faults),
            (Self::Object { members, required }, Value::Object(object)) => {
                for name in required.iter().filter(|name| !object.contains_key(*name)) {
                    faults.push(missing(pointer, name));
                }
                for (name, member) in object {
                    match members.get(name) {
                        Some(shape) => shape.check(member, &format!("{pointer}/{name}"), faults),
                        None => faults.push(unknown(pointer, name)),
                    }
                }
            }
            (Self::Union(variants), Value::Object(object)) => match kind(variants, object, pointer) {
                Ok(variant) => variant.check(value, pointer, faults),
                Err(fault) => faults.push(fault),
            },
            (Self::Array { items, longest }, Value::Array(values)) => {
                if values.len() as u64 > *longest {
                    add(Invalid::new("too_long", format!("Must have at most {longest} items.")));
                }
                for (index, item) in values.iter().enumerate() {
                    items.check(item, &format!("{pointer}/{index}"), faults);
                }
            }
            (Self::Text { shortest, longest, format }, Value::String(text)) => {
                if let Some(Err(invalid)) = format.map(|check| check(text)) {
                    add(invalid);
                }
                let length = |text: &str| text.chars().count() as u64;
                if length(text) < *shortest {
                    add(Invalid::new("too_short", format!("Must have at least {shortest} characters.")));
                }
                // White space around a text in a format does not count, because the format's parser trims it. A password keeps
                // it, and its own parser knows the limit.
                let counted = if format.is_some() { text.trim() } else { text };
                if length(counted) > *longest {
                    add(Invalid::new("too_long", format!("Must have at most {longest} characters.")));
                }
            }
            (Self::Enum(options), Value::String(_)) if options.contains(value) => {}
            (Self::Enum(options), Value::String(_)) => add(one_of(options)),
            _ => add(mistyped()),
        }
    }

    /// The values that the member `kind` of this variant may have.
    fn kinds(&self) -> &[Value] {
        match self {
            Self::Object { members, .. } => match members.get("kind") {
                Some(Self::Enum(kinds)) => kinds,
                _ => &[],
            },
            _ => &[],
        }
    }
}

/// Returns the variant that an object's member `kind` names.
fn kind<'a>(variants: &'a [Shape], object: &Map<String, Value>, pointer: &str) -> Result<&'a Shape, Fault> {
    let kind = object.get("kind").ok_or_else(|| missing(pointer, "kind"))?;
    variants.iter().find(|variant| variant.kinds().contains(kind)).ok_or_else(|| {
        let options: Vec<_> = variants.iter().flat_map(Shape::kinds).cloned().collect();
        Fault::at(format!("{pointer}/kind"), if kind.is_string() { one_of(&options) } else { mistyped() })
    })
}

fn texts(array: &Value) -> impl Iterator<Item = &str> {
    array.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn mistyped() -> Invalid {
    Invalid::new("type", "Has the wrong JSON type.")
}

fn missing(parent: &str, member: &str) -> Fault {
    Fault::at(format!("{parent}/{member}"), Invalid::new("required", "Is required."))
}

/// Parses a value that satisfies the schema of `T`. A failure means that the schema and the type disagree, which is a bug. The
/// parser's message may repeat the value, so it is dropped.
pub fn parse<T: ParseFromJSON>(value: Value) -> Result<T, Problem> {
    T::parse_from_json(Some(value))
        .map_err(|_| Error::internal(anyhow::anyhow!("{} satisfied its schema and does not parse", type_name::<T>())).into())
}

/// The fault of an unknown member. The pointer names the member, so that a typo is found, unless the name does not look like
/// one.
fn unknown(parent: &str, member: &str) -> Fault {
    let pointer = if is_name(member) { format!("{parent}/{member}") } else { parent.to_owned() };
    Fault::at(pointer, Invalid::new("unknown_member", "This operation has no such member."))
}

/// The beginning of a pointer, up to the first part that does not look like a name. No request object is eight levels deep.
pub fn named(pointer: &str) -> String {
    let names: Vec<_> = pointer.split('/').take_while(|name| is_name(name)).take(8).collect();
    names.join("/")
}

/// Whether a text looks like the name of a member or of a parameter, so that repeating it discloses nothing.
pub fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::TestRunner};
    use serde_json::json;

    use super::*;
    use crate::api::{contract, http::schema::close};

    /// Values that are like those of a schema, valid or not.
    fn near(schema: &Value, schemas: &Value) -> BoxedStrategy<Value> {
        if let Some(reference) = schema["$ref"].as_str() {
            return near(&schemas[reference.trim_start_matches("#/components/schemas/")], schemas);
        }
        let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
        let own = match (variants, schema["properties"].as_object()) {
            (Some(variants), _) => {
                let all: Vec<_> = variants.iter().map(|one| near(one, schemas)).collect();
                select(all).prop_flat_map(|one| one).boxed()
            }
            (None, Some(members)) => {
                let members =
                    members.iter().map(|(name, member)| (Just(name.clone()), option::weighted(0.9, near(member, schemas))));
                let unknown = option::weighted(0.1, Just(("unknown".to_owned(), Value::Null)));
                (members.collect::<Vec<_>>(), unknown)
                    .prop_map(|(members, unknown)| {
                        members.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(unknown).collect()
                    })
                    .boxed()
            }
            _ if schema["items"].is_object() => {
                let longest = usize::try_from(schema["maxItems"].as_u64().unwrap_or(3)).unwrap();
                let items = vec(near(&schema["items"], schemas), 0..3);
                (items, prop_oneof![9 => Just(1), 1 => Just(longest + 1)])
                    .prop_map(|(items, times)| json!(items.iter().cycle().take(items.len().max(times)).collect::<Vec<_>>()))
                    .boxed()
            }
            _ => {
                let listed = ["enum", "examples"].into_iter().flat_map(|name| schema[name].as_array().into_iter().flatten());
                let listed: Vec<_> = listed.cloned().chain([json!(""), json!({})]).collect();
                let (shortest, longest) = (schema["minLength"].as_u64().unwrap_or(0), schema["maxLength"].as_u64().unwrap_or(99));
                let lengths = select(vec![shortest.saturating_sub(1), shortest, longest, longest + 1]);
                let sized = ("[a-z1.é]", lengths)
                    .prop_map(|(character, length)| json!(character.repeat(usize::try_from(length).unwrap())));
                // White space around a text in a format does not count towards its length.
                let padding = usize::try_from(if schema["format"].is_null() { longest } else { 1 }).unwrap();
                let padded = (select(listed.clone()), "[ \t\u{85}\u{a0}\u{feff}]").prop_map(move |(text, space)| {
                    let around = space.repeat(padding);
                    json!(format!("{around}{}{around}", text.as_str().unwrap_or_default()))
                });
                let random = "[ a-z@.:_\u{e9}-]{0,12}".prop_map(Value::from);
                prop_oneof![4 => select(listed), 1 => random, 2 => sized, 1 => padded].boxed()
            }
        };
        let others = [json!(null), json!(true), json!(7), json!("text"), json!([]), json!({}), json!({ "kind": "other" })];
        prop_oneof![12 => own, 1 => select(others.to_vec())].boxed()
    }

    /// The object of each request, as the contract shows it, and all schemas.
    fn request_objects() -> (Vec<&'static Value>, &'static Value) {
        let document = contract::document();
        let schemas = &document["components"]["schemas"];
        let bodies = contract::operations(document).filter_map(|(.., operation)| operation.get("requestBody"));
        let contents = bodies.flat_map(|body| body["content"].as_object().into_iter().flat_map(Map::values));
        let names = contents.filter_map(|content| content["schema"]["$ref"].as_str()?.rsplit('/').next());
        (names.map(|name| &schemas[name]).collect(), schemas)
    }

    /// The keywords that [`Shape::compile`] reads, and those that say nothing about a value.
    const KNOWN: [&str; 19] = [
        "$ref",
        "additionalProperties",
        "anyOf",
        "description",
        "discriminator",
        "enum",
        "example",
        "examples",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "minLength",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ];

    fn unknown_keywords(schema: &Value, schemas: &Value) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            return unknown_keywords(&schemas[reference.trim_start_matches("#/components/schemas/")], schemas);
        }
        let own = schema.as_object().into_iter().flat_map(Map::keys).filter(|name| !KNOWN.contains(&name.as_str())).cloned();
        let variants = ["oneOf", "anyOf"].into_iter().flat_map(|name| schema[name].as_array().into_iter().flatten());
        let parts = variants.chain(schema.get("items")).chain(schema["properties"].as_object().into_iter().flat_map(Map::values));
        own.chain(parts.flat_map(|part| unknown_keywords(part, schemas))).collect()
    }

    #[test]
    fn h02_request_objects_use_only_keywords_that_the_validator_knows() {
        let (objects, schemas) = request_objects();
        let unknown: BTreeSet<_> = objects.iter().flat_map(|object| unknown_keywords(object, schemas)).collect();
        assert_eq!(unknown, BTreeSet::new());
        assert_eq!(unknown_keywords(&json!({ "items": { "type": "string", "minimum": 1 } }), schemas), ["minimum"]);
    }

    fn reference(schema: &Value, schemas: &Value) -> Validator {
        let mut options = jsonschema::options().should_validate_formats(true).should_ignore_unknown_formats(false);
        for (format, check) in words::FORMATS {
            options = options.with_format(*format, move |text: &str| check(text).is_ok());
        }
        options.build(&json!({ "allOf": [schema], "components": { "schemas": schemas } })).unwrap()
    }

    #[test]
    fn h02_a_body_is_valid_if_a_validator_of_json_schema_says_so() {
        let (objects, schemas) = request_objects();
        assert!(objects.len() > 30, "{}", objects.len());
        for object in objects {
            let mut object = object.clone();
            close(&mut object);
            let (shape, reference) = (Shape::compile(&object, schemas), reference(&object, schemas));
            let check = |value: Value| {
                let mut faults = Vec::new();
                shape.check(&value, "", &mut faults);
                let ours: BTreeSet<_> = faults.iter().map(|fault| format!("{:?}", fault.location)).collect();
                let theirs: Vec<_> = reference.iter_errors(&value).map(|error| error.instance_path().to_string()).collect();
                prop_assert_eq!(ours.is_empty(), theirs.is_empty(), "{}: {:?} {:?}", value, ours, theirs);
                // Each fault is where the other validator finds one, or below.
                for fault in &ours {
                    prop_assert!(theirs.iter().any(|pointer| fault.contains(pointer)), "{}: {} {:?}", value, fault, theirs);
                }
                for pointer in &theirs {
                    prop_assert!(ours.iter().any(|fault| fault.contains(pointer)), "{}: {} {:?}", value, pointer, ours);
                }
                Ok(())
            };
            TestRunner::default().run(&near(&object, schemas), check).unwrap();
        }
    }
}
