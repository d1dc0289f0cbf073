//! Guards: the type in a handler's signature is the only statement of who may call it. [`Signed`] is any valid
//! caller (else 401), [`Allowed`] one whose roles grant a permission (else 403).

use std::{marker::PhantomData, ops::Deref};

use poem::{Request, RequestBody, http::header};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::http::{
    problem::Problem,
    source::{self, SignedIn},
};
use crate::{
    app::App,
    domain::{authority::By, caller::Caller, tokens},
    error::{Error, Result},
    values::permission::Permission,
};

/// The marker a guard without permission leaves for `contract`. With one, the permission's name is the marker.
pub(super) const SIGNED: &str = "signed";

/// Any caller with a valid access token.
pub struct Signed(Caller);

/// A caller one of whose roles grants `P`.
pub struct Allowed<P>(Caller, PhantomData<P>);

/// Reads the one bearer token of a request (RFC 6750 section 2.1), and who it speaks for.
async fn caller(request: &Request) -> Result<Caller> {
    let app: &App = request.data().ok_or_else(|| Error::internal(anyhow::anyhow!("the endpoint has no App")))?;
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let header = headers.next().ok_or(Error::MissingToken)?;
    if headers.next().is_some() {
        return Err(Error::AmbiguousCredentials);
    }
    let header = header.to_str().map_err(|_| Error::InvalidToken)?;
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::MissingToken);
    }
    let caller = tokens::verify(app, token.trim_start_matches(' '), source::of(request)).await?;
    SignedIn::note(request, caller.user());
    Ok(caller)
}

impl<P: Permission> Allowed<P> {
    /// On whose authority, and by virtue of which permission, the domain acts. It asks for both again in its transaction.
    pub fn authority(&self) -> By<'_> {
        By::Caller(&self.0, P::NAME)
    }
}

impl<'a> ApiExtractor<'a> for Signed {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn security_schemes() -> Vec<&'static str> {
        vec![SIGNED]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(caller(request).await.map_err(Problem::from)?))
    }
}

impl<'a, P: Permission> ApiExtractor<'a> for Allowed<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn security_schemes() -> Vec<&'static str> {
        vec![P::NAME]
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> poem::Result<Self> {
        let caller = caller(request).await.map_err(Problem::from)?;
        caller.require(P::NAME).map_err(Problem::from)?;
        Ok(Self(caller, PhantomData))
    }
}

impl Deref for Signed {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl<P> Deref for Allowed<P> {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
    }
}
