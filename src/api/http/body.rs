//! `Body<T>`: the JSON body of a request. It must be strict JSON, then satisfy the schema that the contract shows, then parse
//! as `T`. The response lists every fault at once and repeats no value.

use std::io;

use poem::{
    Request, RequestBody,
    error::ReadBodyError,
    http::{Method, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::{ParseFromJSON, Type},
};

use super::{
    codes::Code,
    problem::Problem,
    validation::{self, Schema},
};
use crate::{
    error::{Error, Fault},
    values::{Invalid, json},
};

const MEDIA_TYPE: &str = "application/json";
/// The maximum size of a body, in bytes.
const LIMIT: usize = 64 * 1024;

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
        Some(describe::<T>(MEDIA_TYPE, true))
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        let value = read(request, body).await?;
        Ok(Self(value.ok_or_else(|| Problem::malformed("This operation needs a JSON body."))?))
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
        Some(describe::<T>(MEDIA_TYPE, false))
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(read(request, body).await?))
    }
}

/// Returns what the contract says of a body of this media type.
pub(super) fn describe<T: Type>(media_type: &'static str, required: bool) -> MetaRequest {
    let content = vec![MetaMediaType { content_type: media_type, schema: T::schema_ref() }];
    MetaRequest { description: None, content, required }
}

/// Returns the request object, or `None` if there is no body.
async fn read<T: ParseFromJSON + 'static>(request: &Request, body: &mut RequestBody) -> Result<Option<T>, Problem> {
    let Some(bytes) = bytes(request, body, MEDIA_TYPE).await? else { return Ok(None) };
    let mut value = json::strict(&bytes).map_err(|error| Problem::malformed(error.to_string()))?;
    let schema = Schema::of::<T>();
    // In a PATCH, `null` clears a member. In other requests it means that an optional member is absent.
    if let Some(members) = value.as_object_mut().filter(|_| request.method() != Method::PATCH) {
        members.retain(|name, member| !member.is_null() || !schema.optional.contains(name));
    }
    let mut faults: Vec<Fault> = json::nul_pointers(&value)
        .into_iter()
        .map(|pointer| Fault::at(validation::named(&pointer), Invalid::new("not_allowed", "Must not contain the character NUL.")))
        .collect();
    if faults.is_empty() {
        faults = schema.faults(&value);
    }
    if !faults.is_empty() {
        // A limit of the schema and the parser of a format can find the same fault.
        faults.sort_by(|one, other| (&one.location, one.code).cmp(&(&other.location, other.code)));
        faults.dedup_by(|one, other| (&one.location, one.code) == (&other.location, other.code));
        return Err(Error::Invalid(faults).into());
    }
    // This parses values with a format a second time, which costs next to nothing. For a registration, which has four of
    // them, it takes 13 µs in an unoptimized build, beside 35 µs for the rest of the body, and 240 ms for the hash of the
    // password. No request with a body of this kind avoids a transaction, and a transaction takes longer than the body.
    validation::parse(value).map(Some)
}

/// The length of the body in bytes, if the client states it.
fn announced(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large() -> Problem {
    Problem::new(Code::PayloadTooLarge, "The body is larger than 64 KiB.")
}

/// Reads a body of this media type. Returns `None` if the request has no body.
pub(super) async fn bytes(request: &Request, body: &mut RequestBody, media_type: &str) -> Result<Option<Vec<u8>>, Problem> {
    if announced(request).is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large()); // before a client that waits for "100 Continue" is told to send the body
    }
    let body = body.take().map_err(|_| Problem::malformed("The body was read twice."))?;
    let bytes = body.into_bytes_limit(LIMIT).await.map_err(|error| unread(&error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "Send the body without a content encoding."));
    }
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (Some(given), None) if given.to_str().is_ok_and(|given| is(media_type, given)) => Ok(Some(bytes.into())),
        _ => Err(Problem::new(Code::UnsupportedMediaType, format!("Send the body as {media_type}."))),
    }
}

fn unread(error: &ReadBodyError) -> Problem {
    match error {
        ReadBodyError::PayloadTooLarge => too_large(),
        ReadBodyError::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => {
            Problem::new(Code::RequestTimeout, "The body did not arrive in time.")
        }
        _ => Problem::malformed("The body did not arrive completely."),
    }
}

/// Whether `media_type` is the wanted one, in no other charset than UTF-8 (RFC 8259 section 8.1).
fn is(wanted: &str, media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let foreign = |part: String| part.strip_prefix("charset=").is_some_and(|charset| charset.trim_matches('"') != "utf-8");
    parts.next().is_some_and(|name| name == wanted) && !parts.any(foreign)
}
