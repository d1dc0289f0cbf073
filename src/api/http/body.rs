//! `Body<T>`: a request's JSON body, refused with every fault at once: strict JSON, then the schema the contract
//! shows, then the type. No message repeats a value.

use std::{
    any::{TypeId, type_name},
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::{Validator, error::ValidationErrorKind as Kind};
use poem::{
    Request, RequestBody,
    error::ReadBodyError,
    http::{Method, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::Value;

use super::{
    problem::{Code, Problem},
    words,
};
use crate::{
    api::contract,
    error::{Error, Fault},
    values::{Invalid, json},
};

const MEDIA_TYPE: &str = "application/json";
/// The largest body that is read, in bytes.
pub const LIMIT: usize = 64 * 1024;

/// A request object that satisfied its schema.
pub struct Body<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Body<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: MEDIA_TYPE, schema: T::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        let value = read(request, body).await?;
        Ok(Self(value.ok_or_else(|| malformed("This operation needs a JSON body."))?))
    }
}

/// A request object that may be left out together with the whole body.
pub struct OptionalBody<T>(pub Option<T>);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for OptionalBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Body::<T>::request_meta().map(|meta| MetaRequest { required: false, ..meta })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(read(request, body).await?))
    }
}

/// What the body holds; `None` where there is no body.
async fn read<T: ParseFromJSON + 'static>(request: &Request, body: &mut RequestBody) -> Result<Option<T>, Problem> {
    let Some(bytes) = bytes(request, body, MEDIA_TYPE).await? else { return Ok(None) };
    let mut value = json::strict(&bytes).map_err(|err| malformed(err.to_string()))?;
    // In a PATCH, `null` clears a member; elsewhere it means that an optional member is absent.
    if let Some(members) = value.as_object_mut().filter(|_| request.method() != Method::PATCH) {
        let optional = &compiled::<T>().optional;
        members.retain(|name, member| !member.is_null() || !optional.contains(name));
    }
    let mut faults: Vec<Fault> = json::nul_pointers(&value)
        .into_iter()
        .map(|it| Fault::at(named(&it), Invalid::new("not_allowed", "Must not hold the character NUL.")))
        .collect();
    if faults.is_empty() {
        faults = self::faults::<T>(&value);
    }
    if !faults.is_empty() {
        // The schema's limits and a format's parser can find the same fault.
        faults.sort_by(|one, other| (&one.location, one.code).cmp(&(&other.location, other.code)));
        faults.dedup_by(|one, other| (&one.location, one.code) == (&other.location, other.code));
        return Err(Error::Invalid(faults).into());
    }
    // What satisfies the schema parses, unless the two disagree: then the fault is ours, and its text stays here.
    T::parse_from_json(Some(value))
        .map(Some)
        .map_err(|_| Error::internal(anyhow::anyhow!("{} satisfied its schema and does not parse", type_name::<T>())).into())
}

/// How long the body will be, if the client says so.
fn announced(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, "The body is larger than 64 KiB.")
}

/// The body, if it is of this media type and not too large; `None` where there is none.
pub(super) async fn bytes(request: &Request, body: &mut RequestBody, media_type: &str) -> Result<Option<Vec<u8>>, Problem> {
    if announced(request).is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large()); // before a client that waits for "100 Continue" is told to go on
    }
    let body = body.take().map_err(|_| malformed("The body was read twice."))?;
    let bytes = body.into_bytes_limit(LIMIT).await.map_err(|err| unread(&err))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if encodings.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "Send the body as it is, without a content encoding."));
    }
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(given), None) if given.to_str().is_ok_and(|it| is(media_type, it)) => Ok(Some(bytes.into())),
        _ => Err(Problem::new(Code::UnsupportedMediaType, format!("Send the body as {media_type}."))),
    }
}

/// What keeps a value from satisfying the schema of `T`.
pub(super) fn faults<T: ParseFromJSON + 'static>(value: &Value) -> Vec<Fault> {
    let compiled = compiled::<T>();
    let mut errors: Vec<_> = compiled.validator.iter_errors(value).collect();
    let places = |is: fn(&Kind) -> bool| -> Vec<_> {
        errors.iter().filter(|err| is(err.kind())).map(|err| err.instance_path().clone()).collect()
    };
    let mistyped = places(|kind| matches!(kind, Kind::Type { .. }));
    let malformed = places(|kind| matches!(kind, Kind::Format { .. }));
    errors.retain(|err| {
        let text = err.instance().as_str().unwrap_or_default();
        match err.kind() {
            Kind::Type { .. } => true,
            // A value of the wrong type has no other fault.
            _ if mistyped.contains(err.instance_path()) => false,
            // White space around a text is trimmed. A password, where it is not, has a parser that knows the limit.
            Kind::MaxLength { limit } => text.trim().chars().count() as u64 > *limit,
            // The format's parser says which character is wrong, or that there are too few.
            Kind::Pattern { .. } => !malformed.contains(err.instance_path()),
            _ => true,
        }
    });
    // A format's parser names what is wrong, so its sentence comes before those of the schema's limits.
    errors.sort_by_key(|err| !matches!(err.kind(), Kind::Format { .. }));
    errors.iter().flat_map(faults_of).collect()
}

pub(super) fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Code::MalformedRequest, detail)
}

fn unread(err: &ReadBodyError) -> Problem {
    match err {
        ReadBodyError::PayloadTooLarge => too_large(),
        ReadBodyError::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => {
            Problem::new(Code::RequestTimeout, "The body did not arrive in time.")
        }
        _ => malformed("The body did not arrive whole."),
    }
}

/// Whether this is the media type wanted, in no other charset than UTF-8 (RFC 8259 section 8.1).
fn is(wanted: &str, media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(|it| it.trim().to_ascii_lowercase());
    let foreign = |it: String| it.strip_prefix("charset=").is_some_and(|charset| charset.trim_matches('"') != "utf-8");
    parts.next().is_some_and(|it| it == wanted) && !parts.any(foreign)
}

/// The schema of a request object, ready for use.
struct Compiled {
    validator: Validator,
    /// The names of the members that may be absent.
    optional: BTreeSet<String>,
}

/// The compiled schema of `T`, made at its first use.
fn compiled<T: ParseFromJSON + 'static>() -> Arc<Compiled> {
    static COMPILED: OnceLock<Mutex<HashMap<TypeId, Arc<Compiled>>>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        let mut options = jsonschema::options().should_validate_formats(true).should_ignore_unknown_formats(false);
        for (format, check) in words::FORMATS {
            options = options.with_format(*format, move |it: &str| check(it).is_ok());
        }
        let schema = contract::schema_of::<T>();
        let optional = contract::optional_members(&schema["components"]["schemas"][T::name().as_ref()]);
        let validator = options.build(&schema).expect("the contract's schemas compile");
        Arc::new(Compiled { validator, optional: optional.map(str::to_owned).collect() })
    };
    compiled.entry(TypeId::of::<T>()).or_insert_with(compile).clone()
}

/// What one schema error means to the caller. `required` and `additionalProperties` point at the parent, so
/// the member's name comes from the error's kind.
fn faults_of(err: &jsonschema::ValidationError<'_>) -> Vec<Fault> {
    let pointer = err.instance_path().to_string();
    let fault = |code, detail: String| vec![Fault::at(pointer.clone(), Invalid::new(code, detail))];
    match err.kind() {
        Kind::Required { property } => {
            let member = property.as_str().unwrap_or_default();
            vec![Fault::at(format!("{pointer}/{member}"), Invalid::new("required", "Is required."))]
        }
        Kind::AdditionalProperties { unexpected } => unexpected.iter().map(|member| unknown(&pointer, member)).collect(),
        Kind::Format { format } => {
            let check = words::FORMATS.iter().find(|(name, _)| name == format).map(|(_, check)| check);
            let invalid = err.instance().as_str().zip(check).and_then(|(it, check)| check(it).err());
            vec![Fault::at(pointer, invalid.unwrap_or(Invalid::new("format", "Has not the right form.")))]
        }
        Kind::Type { .. } => fault("type", "Has the wrong JSON type.".into()),
        Kind::MinLength { limit } => fault("too_short", format!("Must have at least {limit} characters.")),
        Kind::MaxLength { limit } => fault("too_long", format!("Must have at most {limit} characters.")),
        Kind::MinItems { limit } => fault("too_short", format!("Must have at least {limit} items.")),
        Kind::MaxItems { limit } => fault("too_long", format!("Must have at most {limit} items.")),
        Kind::UniqueItems => fault("duplicate", "Must not repeat an item.".into()),
        Kind::Pattern { .. } => fault("pattern", "Has characters that are not allowed here.".into()),
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            vec![Fault::at(pointer, words::one_of(options))]
        }
        _ => fault("not_allowed", "Is not allowed here.".into()),
    }
}

/// An unknown member is named, so that a typo is found, unless what was sent does not look like a name at all.
fn unknown(parent: &str, member: &str) -> Fault {
    let pointer = if is_name(member) { format!("{parent}/{member}") } else { parent.to_owned() };
    Fault::at(pointer, Invalid::new("unknown_member", "This operation has no such member."))
}

/// The beginning of a pointer, up to what does not look like a name; no request object is eight levels deep.
fn named(pointer: &str) -> String {
    let names: Vec<_> = pointer.split('/').take_while(|it| is_name(it)).take(8).collect();
    names.join("/")
}

/// Whether a text looks like a member's or a parameter's name, so that repeating it tells nothing.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
}
