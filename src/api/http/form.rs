//! `Form<T>`: the body of a request as HTML forms send it. Each parameter that the contract names comes at most once and
//! satisfies its schema. Other parameters are ignored, as OAuth requires (RFC 6749 section 3.2). No message repeats a value.

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::{Map, Value};

use super::{
    body,
    problem::Problem,
    validation::{self, Schema},
};
use crate::error::{Fault, Location};

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters of a form that satisfied its schema. All members of `T` are strings.
pub struct Form<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Form<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(body::describe::<T>(MEDIA_TYPE, true))
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(read(request, body).await?))
    }
}

async fn read<T: ParseFromJSON + 'static>(request: &Request, body: &mut RequestBody) -> Result<T, Problem> {
    let bytes = body::bytes(request, body, MEDIA_TYPE).await?;
    let bytes = bytes.ok_or_else(|| Problem::malformed("The body must be a form (`application/x-www-form-urlencoded`)."))?;
    let schema = Schema::of::<T>();
    let mut form = Map::new();
    for (name, value) in form_urlencoded::parse(&bytes).filter(|(name, _)| schema.members.contains(name.as_ref())) {
        if form.insert(name.clone().into_owned(), value.as_ref().into()).is_some() {
            return Err(Problem::malformed(format!("Send {name} only once.")));
        }
    }
    let form = Value::Object(form);
    if let Some(Fault { location: Location::Pointer(pointer), detail, .. }) = schema.faults(&form).into_iter().next() {
        return Err(Problem::malformed(format!("{}: {detail}", pointer.trim_start_matches('/'))));
    }
    validation::parse(form)
}
