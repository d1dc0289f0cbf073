//! Guards: the type in a handler's signature is the only statement of who may call the operation. [`Signed`] accepts any valid
//! access token (else 401). [`Allowed`] also requires a permission that one of the caller's roles grants (else 403).

use std::{marker::PhantomData, ops::Deref};

use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, SecurityScheme, auth::Bearer, error::AuthorizationError,
    registry::Registry,
};

use super::http::{
    problem::Problem,
    source::{self, SignedIn},
};
use crate::{
    app::App,
    domain::{authority::By, caller::Caller, tokens},
    error::Error,
    values::permission::{OwnPermission, Permission},
};

/// An access token from `logIn`: a JWT (RFC 9068), verified by the rules of RFC8725. The name beside the scheme is
/// the permission that an operation requires.
// Without a space in RFC8725, as the linter of the contract expects it.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT", checker = "verify")]
struct BearerAuth(Caller);

/// The name of the one security scheme: what the derive makes of `BearerAuth`.
pub const SCHEME: &str = "BearerAuth";

/// The marker in the contract of a guard without a permission. The marker of [`Allowed`] is the name of its permission.
pub(super) const SIGNED: &str = "signed";

/// Any caller with a valid access token.
pub struct Signed(Caller);

/// A caller one of whose roles grants `P`.
pub struct Allowed<P>(Caller, PhantomData<P>);

/// Verifies the token that poem-openapi found in the request.
async fn verify(request: &Request, Bearer { token }: Bearer) -> poem::Result<Caller> {
    let app: &App = request.data().ok_or_else(|| Problem::from(Error::internal(anyhow::anyhow!("the endpoint has no App"))))?;
    let caller = tokens::verify(app, &token, source::of(request)).await.map_err(Problem::from)?;
    SignedIn::note(request, caller.user());
    Ok(caller)
}

/// Returns the caller to whom the request's access token was issued (RFC 6750 section 2.1).
async fn caller(request: &Request, body: &mut RequestBody, options: ExtractParamOptions<()>) -> poem::Result<Caller> {
    // poem-openapi reads the first of several headers.
    if request.headers().get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Problem::from(Error::AmbiguousCredentials).into());
    }
    match BearerAuth::from_request(request, body, options).await {
        Ok(BearerAuth(caller)) => Ok(caller),
        Err(error) if error.is::<AuthorizationError>() => Err(Problem::from(no_bearer(request)).into()),
        Err(error) => Err(error),
    }
}

/// Why poem-openapi found no bearer token: there is none, or its header is not well formed.
fn no_bearer(request: &Request) -> Error {
    let Some(credentials) = request.headers().get(header::AUTHORIZATION) else { return Error::MissingToken };
    let scheme = credentials.to_str().map(|credentials| credentials.split(' ').next().unwrap_or_default());
    match scheme {
        Ok(scheme) if !scheme.eq_ignore_ascii_case("bearer") => Error::MissingToken,
        _ => Error::InvalidToken,
    }
}

impl<P: Permission> Allowed<P> {
    /// The authority on which the domain acts: the caller and the permission. The domain checks both again in its transaction.
    pub fn authority(&self) -> By<'_> {
        By::Caller(&self.0, OwnPermission::of::<P>())
    }
}

impl<'a> ApiExtractor<'a> for Signed {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        BearerAuth::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SIGNED]
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, options: ExtractParamOptions<()>) -> poem::Result<Self> {
        Ok(Self(caller(request, body, options).await?))
    }
}

impl<'a, P: Permission> ApiExtractor<'a> for Allowed<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        BearerAuth::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![P::NAME]
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, options: ExtractParamOptions<()>) -> poem::Result<Self> {
        let caller = caller(request, body, options).await?;
        caller.require(OwnPermission::of::<P>()).map_err(Problem::from)?;
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
