//! Parameters of the query, the path and the header. A bad query parameter does not stop the others from being read: [`Faults`]
//! collects them, so that the response names every fault at once.

use std::collections::BTreeSet;

use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, param,
    registry::{MetaParamIn, MetaSchemaRef, Registry},
    types::{ParseFromParameter, Type},
};

use super::{headers::lines, problem::Problem, validation::is_name, words::Parameter};
use crate::{
    domain::paging::Paging,
    error::{Error, Fault, Missing, Result},
    values::{
        Invalid,
        ids::{FactorId, InvitationId, MailId, SessionRef, UserId},
        key_id::KeyId,
        query::{Cursor, Limit},
        revision::IfMatch,
        role_name::RoleName,
    },
};

/// An optional query parameter: absent, valid, or a fault.
pub struct Param<T> {
    name: &'static str,
    value: Result<Option<T>, Invalid>,
}

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
        Ok(Self { name: options.name, value })
    }
}

/// The type of a segment of the path.
pub trait Segment: ParseFromParameter {
    /// What a 404 says is missing.
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

impl Segment for InvitationId {
    const MISSING: Missing = Missing::Invitation;
}

impl Segment for MailId {
    const MISSING: Missing = Missing::Mail;
}

impl Segment for FactorId {
    const MISSING: Missing = Missing::Factor;
}

impl Segment for KeyId {
    const MISSING: Missing = Missing::SigningKey;
}

/// A segment of the path. A malformed segment names nothing, so the response is 404.
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

    async fn from_request(request: &'a Request, _: &mut RequestBody, options: ExtractParamOptions<T>) -> poem::Result<Self> {
        let segment = request.raw_path_param(options.name).and_then(|raw| T::parse_from_parameter(raw).ok());
        Ok(Self(segment.ok_or_else(|| Problem::from(Error::NotFound(T::MISSING)))?))
    }
}

/// The optional header `If-Match`. A header that cannot be parsed is a condition that does not hold.
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
        let lines = lines(request, &header::IF_MATCH);
        Ok(Self(IfMatch::read(lines).map_err(|invalid| Problem::malformed(format!("If-Match: {invalid}")))?))
    }
}

/// Takes the values out of an operation's query parameters and collects their faults.
pub struct Faults<'a> {
    request: &'a Request,
    /// The parameters that the operation has.
    known: BTreeSet<&'static str>,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    /// No faults yet.
    pub fn of(request: &'a Request) -> Self {
        Self { request, known: BTreeSet::new(), found: Vec::new() }
    }

    /// Returns the parameter's value, or `None` if the parameter is absent or has a fault.
    pub fn take<T>(&mut self, Param { name, value }: Param<T>) -> Option<T> {
        self.known.insert(name);
        value.unwrap_or_else(|invalid| {
            self.found.push(Fault::parameter(name, invalid));
            None
        })
    }

    /// Returns the page that the two paging parameters select.
    pub fn paging(&mut self, cursor: Param<Cursor>, limit: Param<Limit>) -> Paging {
        Paging { cursor: self.take(cursor), limit: self.take(limit).unwrap_or_default().into() }
    }

    /// Fails with [`Error::Invalid`] if any parameter has a fault, or if the query has a parameter that was not taken: a
    /// misspelt filter would otherwise not filter.
    pub fn none(self) -> Result<()> {
        let query: Vec<(String, String)> = self.request.params().unwrap_or_default();
        let unknown = query.into_iter().map(|(name, _)| name).filter(|name| !self.known.contains(name.as_str()));
        let mut seen = BTreeSet::new();
        let names = unknown.map(|name| if is_name(&name) { name } else { String::new() });
        let fault = |name| Fault::parameter(name, Invalid::new("unknown_parameter", "This operation has no such parameter."));
        let mut faults: Vec<_> = names.filter(|name| seen.insert(name.clone())).map(fault).collect();
        faults.extend(self.found);
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }
}

/// Returns the page that the two paging parameters select, for a list without other parameters. Fails with
/// [`Error::Invalid`] as [`Faults::none`] does.
pub fn paging(request: &Request, cursor: Param<Cursor>, limit: Param<Limit>) -> Result<Paging> {
    let mut faults = Faults::of(request);
    let paging = faults.paging(cursor, limit);
    faults.none()?;
    Ok(paging)
}
