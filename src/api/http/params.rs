//! Parameters. A bad one in a query does not stop the others from being read: [`Faults`] gathers them, so that the answer
//! names every one at once.

use std::collections::BTreeSet;

use poem::{
    Request, RequestBody,
    http::{HeaderValue, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    error::ParsePathError,
    param,
    registry::{MetaParamIn, MetaSchemaRef, Registry},
    types::{ParseFromParameter, Type},
};

use super::{
    body::{self, malformed},
    problem::Problem,
    words::one_of,
};
use crate::{
    api::contract,
    domain::paging::Paging,
    error::{Error, Fault, Missing, Result},
    values::{
        Invalid,
        ids::{SessionRef, UserId},
        key_id::KeyId,
        query::{Cursor, Limit},
        revision::IfMatch,
        role_name::RoleName,
    },
};

/// The type of a query parameter.
pub trait Parameter: Type + Sized + 'static {
    /// # Errors
    /// What is wrong with the value.
    fn read(raw: &str) -> Result<Self, Invalid>;
}

impl Parameter for bool {
    fn read(raw: &str) -> Result<Self, Invalid> {
        raw.parse().map_err(|_| Invalid::new("not_allowed", "Must be true or false."))
    }
}

/// Reads a value of an enum.
///
/// # Errors
/// `not_allowed`, with the values it has.
pub fn choose<T: ParseFromParameter>(raw: &str) -> Result<T, Invalid> {
    T::parse_from_parameter(raw).map_err(|_| {
        let mut registry = Registry::new();
        T::register(&mut registry);
        one_of(&registry.schemas.into_values().flat_map(|it| it.enum_items).collect::<Vec<_>>())
    })
}

/// An optional query parameter as it came: absent, good, or a fault.
pub struct Param<T>(Result<Option<T>, Fault>);

impl<'a, T: Parameter> ApiExtractor<'a> for Param<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = T;
    type ParamRawType = T::RawValueType;

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Query)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::schema_ref())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, options: ExtractParamOptions<T>) -> poem::Result<Self> {
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let mut given = query.iter().filter(|(name, _)| name == options.name);
        let (first, second) = (given.next(), given.next());
        let value = match (first, second) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Invalid::new("not_allowed", "Must be given once.")),
            (Some((_, raw)), None) => T::read(raw).map(Some),
        };
        Ok(Self(value.map_err(|invalid| Fault::parameter(options.name, invalid))))
    }
}

/// What a path can name.
pub trait Segment: ParseFromParameter {
    /// What is missing where the segment names nothing.
    const MISSING: Missing;
}

impl Segment for UserId {
    const MISSING: Missing = Missing::User;
}

impl Segment for SessionRef {
    const MISSING: Missing = Missing::Session;
}

impl Segment for RoleName {
    const MISSING: Missing = Missing::Role;
}

impl Segment for KeyId {
    const MISSING: Missing = Missing::Key;
}

/// A segment of the path. A malformed one names nothing, so it is not found.
pub struct Path<T>(pub T);

impl<'a, T: Segment> ApiExtractor<'a> for Path<T> {
    const TYPES: &'static [ApiExtractorType] = param::Path::<T>::TYPES;
    const PARAM_IS_REQUIRED: bool = true;
    type ParamType = T;
    type ParamRawType = T::RawValueType;

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Path)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(T::schema_ref())
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, options: ExtractParamOptions<T>) -> poem::Result<Self> {
        let segment = param::Path::<T>::from_request(request, body, options).await;
        segment.map(|it| Self(it.0)).map_err(|err| {
            // poem's own error means percents that do not decode to UTF-8.
            let is_malformed = err.is::<ParsePathError>() || err.is::<poem::error::ParsePathError>();
            if is_malformed { Problem::from(Error::NotFound(T::MISSING)).into() } else { err }
        })
    }
}

/// The optional header `If-Match`. One that cannot be understood is a condition that does not hold.
pub struct Condition(pub Option<IfMatch>);

impl<'a> ApiExtractor<'a> for Condition {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = IfMatch;
    type ParamRawType = IfMatch;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(IfMatch::schema_ref())
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<IfMatch>) -> poem::Result<Self> {
        let lines = request.headers().get_all(header::IF_MATCH).iter().map(HeaderValue::as_bytes);
        Ok(Self(IfMatch::read(lines).map_err(|invalid| malformed(format!("If-Match: {invalid}")))?))
    }
}

/// The faults of several parameters.
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Begins with those that the operation does not have: a misspelt filter would otherwise be no filter at all.
    pub fn of(request: &Request) -> Self {
        let known = contract::parameters(request.method(), request.uri().path());
        let query: Vec<(String, String)> = request.params().unwrap_or_default();
        let unknown = query.into_iter().map(|(name, _)| name).filter(|name| !known.contains(&name.as_str()));
        let mut seen = BTreeSet::new();
        let names = unknown.map(|name| if body::is_name(&name) { name } else { String::new() });
        let fault = |name| Fault::parameter(name, Invalid::new("unknown_parameter", "This operation has no such parameter."));
        Self(names.filter(|name| seen.insert(name.clone())).map(fault).collect())
    }

    /// The parameter's value, unless it is absent or bad.
    pub fn take<T>(&mut self, param: Param<T>) -> Option<T> {
        param.0.unwrap_or_else(|fault| {
            self.0.push(fault);
            None
        })
    }

    /// What the two paging parameters ask for.
    pub fn paging(&mut self, cursor: Param<Cursor>, limit: Param<Limit>) -> Paging {
        Paging { cursor: self.take(cursor), limit: self.take(limit).unwrap_or_default().into() }
    }

    /// Goes on only if there was none.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all of them.
    pub fn none(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

/// What the two paging parameters ask for, where a list has no others.
///
/// # Errors
/// [`Error::Invalid`] with what is wrong with them.
pub fn paging(request: &Request, cursor: Param<Cursor>, limit: Param<Limit>) -> Result<Paging> {
    let mut faults = Faults::of(request);
    let paging = faults.paging(cursor, limit);
    faults.none()?;
    Ok(paging)
}
