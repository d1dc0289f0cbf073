//! Validation of a request object against the schema that the contract shows. It finds every fault at once, and no message
//! repeats a value.

use std::{
    any::{TypeId, type_name},
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind as Kind};
use poem_openapi::types::ParseFromJSON;
use serde_json::Value;

use super::{
    problem::Problem,
    schema::{optional_members, schema_of},
    words::{self, one_of},
};
use crate::{
    error::{Error, Fault},
    values::Invalid,
};

/// The schema of a request object, ready for use.
pub struct Schema {
    validator: Validator,
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
        let mut options = jsonschema::options().should_validate_formats(true).should_ignore_unknown_formats(false);
        for (format, check) in words::FORMATS {
            options = options.with_format(*format, move |text: &str| check(text).is_ok());
        }
        let schema = schema_of::<T>();
        let object = &schema["components"]["schemas"][T::name().as_ref()];
        Self {
            validator: options.build(&schema).expect("the schema of a request object compiles"),
            members: object["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            optional: optional_members(object).map(str::to_owned).collect(),
        }
    }

    /// Returns the faults of `value`.
    pub fn faults(&self, value: &Value) -> Vec<Fault> {
        let errors: Vec<_> = self.validator.iter_errors(value).collect();
        faults_of_all(&errors)
    }
}

/// Translates the errors of one object. An error that only follows from another one is no fault.
fn faults_of_all(errors: &[ValidationError<'_>]) -> Vec<Fault> {
    let paths = |is_kind: fn(&Kind) -> bool| -> Vec<_> {
        errors.iter().filter(|error| is_kind(error.kind())).map(|error| error.instance_path().clone()).collect()
    };
    let mistyped = paths(|kind| matches!(kind, Kind::Type { .. }));
    let badly_formatted = paths(|kind| matches!(kind, Kind::Format { .. }));
    let is_fault = |error: &&ValidationError<'_>| {
        let text = error.instance().as_str().unwrap_or_default();
        match error.kind() {
            Kind::Type { .. } => true,
            // A value of the wrong type has no other fault.
            _ if mistyped.contains(error.instance_path()) => false,
            // Spaces around a text do not count, because its parser trims them. A password keeps them, and its own parser
            // knows the limit.
            Kind::MaxLength { limit } => text.trim().chars().count() as u64 > *limit,
            // The format's parser names the wrong character, or says that there are too few.
            Kind::Pattern { .. } => !badly_formatted.contains(error.instance_path()),
            _ => true,
        }
    };
    let mut faults: Vec<_> = errors.iter().filter(is_fault).collect();
    // A format's parser says what is wrong, so its sentence comes before those of the schema's limits.
    faults.sort_by_key(|error| !matches!(error.kind(), Kind::Format { .. }));
    faults.into_iter().flat_map(faults_of).collect()
}

/// Parses a value that satisfies the schema of `T`. A failure means that the schema and the type disagree, which is a bug. The
/// parser's message may repeat the value, so it is dropped.
pub fn parse<T: ParseFromJSON>(value: Value) -> Result<T, Problem> {
    T::parse_from_json(Some(value))
        .map_err(|_| Error::internal(anyhow::anyhow!("{} satisfied its schema and does not parse", type_name::<T>())).into())
}

/// Translates one error of the schema. The errors `required` and `additionalProperties` point at the parent, so the member's
/// name comes from the error's kind.
fn faults_of(error: &ValidationError<'_>) -> Vec<Fault> {
    let pointer = error.instance_path().to_string();
    let fault = |code, detail: String| vec![Fault::at(pointer.clone(), Invalid::new(code, detail))];
    match error.kind() {
        Kind::Required { property } => {
            let member = property.as_str().unwrap_or_default();
            vec![Fault::at(format!("{pointer}/{member}"), Invalid::new("required", "Is required."))]
        }
        Kind::AdditionalProperties { unexpected } => unexpected.iter().map(|member| unknown(&pointer, member)).collect(),
        Kind::Format { format } => {
            let check = words::FORMATS.iter().find(|(name, _)| name == format).map(|(_, check)| check);
            let invalid = error.instance().as_str().zip(check).and_then(|(text, check)| check(text).err());
            vec![Fault::at(pointer, invalid.unwrap_or(Invalid::new("format", "Has the wrong format.")))]
        }
        Kind::Type { .. } => fault("type", "Has the wrong JSON type.".into()),
        Kind::MinLength { limit } => fault("too_short", format!("Must have at least {limit} characters.")),
        Kind::MaxLength { limit } => fault("too_long", format!("Must have at most {limit} characters.")),
        Kind::MinItems { limit } => fault("too_short", format!("Must have at least {limit} items.")),
        Kind::MaxItems { limit } => fault("too_long", format!("Must have at most {limit} items.")),
        Kind::UniqueItems => fault("duplicate", "Must not repeat an item.".into()),
        Kind::Pattern { .. } => fault("pattern", "Has characters that are not allowed here.".into()),
        // A member that may be cleared: its own schema, or `null`.
        Kind::AnyOf { context } => context.first().map(|errors| faults_of_all(errors)).unwrap_or_default(),
        Kind::OneOfNotValid { context } => faults_of_variants(&pointer, context),
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            vec![Fault::at(pointer, one_of(options))]
        }
        _ => fault("not_allowed", "Is not allowed here.".into()),
    }
}

/// Returns the faults of an object that has several variants, as its member `kind` says: those of the variant that it names. If
/// it names none, the only fault is that of `kind`, or of a value that is no object.
fn faults_of_variants(pointer: &str, variants: &[Vec<ValidationError<'_>>]) -> Vec<Fault> {
    let kind = format!("{pointer}/kind");
    let is_other_kind = |error: &&ValidationError<'_>| {
        let path = error.instance_path().to_string();
        match error.kind() {
            Kind::Required { property } => path == pointer && property == "kind",
            Kind::Type { .. } => path == pointer || path == kind,
            Kind::Enum { .. } => path == kind,
            _ => false,
        }
    };
    let other_kinds: Vec<_> = variants.iter().map(|errors| errors.iter().find(is_other_kind)).collect();
    if let Some(named) = other_kinds.iter().position(Option::is_none) {
        return faults_of_all(&variants[named]);
    }
    let options = other_kinds.iter().flatten().filter_map(|error| match error.kind() {
        Kind::Enum { options } => options.as_array().cloned(),
        _ => None,
    });
    let options: Vec<_> = options.flatten().collect();
    match other_kinds.first() {
        Some(Some(error)) if options.is_empty() => faults_of(error),
        _ => vec![Fault::at(kind, one_of(&options))],
    }
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
