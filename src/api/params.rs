//! Query parameters. A bad one does not stop the others from being read: [`Faults`] gathers them, so that the answer
//! names every one at once.

use std::collections::BTreeSet;

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchemaRef, Registry},
    types::ParseFromParameter,
};

use super::{body, contract};
use crate::{
    domain::paging::Paging,
    error::{Error, Fault, Result},
    values::{
        Invalid,
        query::{Cursor, Limit},
    },
};

/// An optional query parameter as it came: absent, good, or a fault.
pub struct Param<T>(Result<Option<T>, Fault>);

impl<'a, T: ParseFromParameter + 'static> ApiExtractor<'a> for Param<T> {
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
        let fault = |detail| Fault::parameter(options.name, Invalid::new("not_allowed", detail));
        Ok(Self(match (first, second) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(fault("Must be given once.")),
            (Some((_, raw)), None) => T::parse_from_parameter(raw).map(Some).map_err(|_| fault("Is not allowed here.")),
        }))
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
