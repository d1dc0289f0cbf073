//! `Form<T>`: a request's body as HTML forms send it. Each parameter that the contract names comes once, and fits its
//! schema; others are ignored, as OAuth demands (RFC 6749 section 3.2). No message repeats a value.

use std::any::type_name;

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::{Map, Value};

use super::{
    body::{self, malformed},
    problem::Problem,
};
use crate::{
    api::contract,
    error::{Error, Fault, Location},
};

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A request's parameters, which satisfied their schema. All members of `T` are strings.
pub struct Form<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Form<T> {
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
        Ok(Self(read(request, body).await?))
    }
}

async fn read<T: ParseFromJSON + 'static>(request: &Request, body: &mut RequestBody) -> Result<T, Problem> {
    let bytes = body::bytes(request, body, MEDIA_TYPE).await?.ok_or_else(|| malformed("This operation needs a form."))?;
    let schema = contract::schema_of::<T>();
    let known = &schema["components"]["schemas"][T::name().as_ref()]["properties"];
    let mut form = Map::new();
    for (name, value) in form_urlencoded::parse(&bytes).filter(|(name, _)| known.get(name.as_ref()).is_some()) {
        if form.insert(name.clone().into_owned(), value.as_ref().into()).is_some() {
            return Err(malformed(format!("Give {name} once.")));
        }
    }
    let form = Value::Object(form);
    if let Some(Fault { location: Location::Pointer(pointer), detail, .. }) = body::faults::<T>(&form).into_iter().next() {
        return Err(malformed(format!("{}: {detail}", pointer.trim_start_matches('/'))));
    }
    T::parse_from_json(Some(form))
        .map_err(|_| Error::internal(anyhow::anyhow!("{} satisfied its schema and does not parse", type_name::<T>())).into())
}
