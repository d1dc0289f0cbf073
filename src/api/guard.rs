//! Guards: the type in a handler's signature is the only statement of who may call the operation. [`Enrolling`] accepts any
//! valid access token (else 401). [`Signed`] also requires a second factor if `second_factor.require` demands it of everyone
//! (else 401). [`Allowed`] requires a permission that one of the caller's roles grants (else 403), and a second factor if the
//! setting demands it of administrators (else 401). [`Fresh`] adds to one of them that the caller was authenticated a moment
//! ago (else 401). All this is known from the claims of the token, without the database.

use std::{collections::HashMap, marker::PhantomData, ops::Deref};

use poem::{Request, RequestBody, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions, SecurityScheme,
    auth::Bearer,
    registry::{MetaOperation, Registry},
};

use super::http::{
    problem::Problem,
    source::{self, SignedIn},
};
use crate::{
    app::App,
    domain::{authority::By, caller::Caller, tokens},
    error::{Error, Result},
    values::{
        permission::{OwnPermission, Permission},
        second_factor_policy::SecondFactorPolicy,
    },
};

/// An access token from `logIn`: a JWT (RFC 9068), verified by the rules of RFC8725. The name beside the scheme is
/// the permission that an operation requires.
// Without a space in RFC8725, as the linter of the contract expects it.
#[derive(SecurityScheme)]
#[oai(ty = "bearer", bearer_format = "JWT")]
struct BearerAuth(#[expect(dead_code, reason = "only states the scheme")] Bearer);

/// The name of the one security scheme: what the derive makes of `BearerAuth`.
pub const SCHEME: &str = "BearerAuth";

/// The marker in the contract of a guard.
const GUARDED: &str = "guarded";
/// The marker in the contract of [`Fresh`].
const FRESH: &str = "fresh";

/// A guard.
pub trait Guard: Sized {
    /// What it requires beside a valid access token.
    const REQUIREMENTS: Requirements;

    /// Makes the guard of a caller who meets the requirements.
    fn of(caller: Caller) -> Self;
}

/// What a guard requires beside a valid access token. Both its checks and the contract are made from this.
#[derive(Debug, Clone, Copy)]
pub struct Requirements {
    /// The permission that one of the caller's roles must grant.
    pub permission: Option<OwnPermission>,
    /// The weakest policy that demands a second factor of the caller; `None` if no policy does.
    pub second_factor: Option<SecondFactorPolicy>,
    /// Whether the caller must have proven their presence within the last [`MAX_AGE`](crate::domain::caller::MAX_AGE) seconds.
    pub is_fresh: bool,
}

/// Any caller with a valid access token, whatever the policy: for what a user needs before they can meet the policy.
pub struct Enrolling(Caller);

/// Any caller with a valid access token.
pub struct Signed(Caller);

/// A caller one of whose roles grants `P`.
pub struct Allowed<P>(Caller, PhantomData<P>);

/// A caller whom `G` accepts and who has just proven their presence.
pub struct Fresh<G>(G);

impl Guard for Enrolling {
    const REQUIREMENTS: Requirements = Requirements { permission: None, second_factor: None, is_fresh: false };

    fn of(caller: Caller) -> Self {
        Self(caller)
    }
}

impl Guard for Signed {
    const REQUIREMENTS: Requirements =
        Requirements { second_factor: Some(SecondFactorPolicy::Everyone), ..Enrolling::REQUIREMENTS };

    fn of(caller: Caller) -> Self {
        Self(caller)
    }
}

impl<P: Permission> Guard for Allowed<P> {
    const REQUIREMENTS: Requirements = Requirements {
        permission: Some(OwnPermission::of::<P>()),
        second_factor: Some(SecondFactorPolicy::Administrators),
        is_fresh: false,
    };

    fn of(caller: Caller) -> Self {
        Self(caller, PhantomData)
    }
}

impl<G: Guard> Guard for Fresh<G> {
    const REQUIREMENTS: Requirements = Requirements { is_fresh: true, ..G::REQUIREMENTS };

    fn of(caller: Caller) -> Self {
        Self(G::of(caller))
    }
}

impl Requirements {
    /// Checks a caller.
    ///
    /// # Errors
    /// In this order: [`Error::InsufficientPermission`], [`Error::InsufficientAuthentication`].
    fn check(self, app: &App, caller: &Caller) -> Result<()> {
        if let Some(permission) = self.permission {
            caller.require(permission)?;
        }
        if self.second_factor.is_some_and(|weakest| app.settings.second_factor.require >= weakest) {
            caller.require_second_factor()?;
        }
        if self.is_fresh {
            caller.require_fresh_proof(app.clock.now())?;
        }
        Ok(())
    }

    /// The requirements as texts, because that is what poem-openapi passes from a handler's argument to its operation.
    fn markers(self) -> Vec<&'static str> {
        let permission = self.permission.map(OwnPermission::as_str);
        let second_factor = self.second_factor.map(SecondFactorPolicy::as_str);
        [Some(GUARDED), permission, second_factor, self.is_fresh.then_some(FRESH)].into_iter().flatten().collect()
    }

    /// Returns what the guard of an operation requires; `None` if the operation has no guard.
    pub(super) fn of(operation: &MetaOperation) -> Option<Self> {
        let markers = || operation.security.iter().flat_map(HashMap::keys).copied();
        markers().any(|marker| marker == GUARDED).then(|| Self {
            permission: OwnPermission::all().find(|permission| markers().any(|marker| marker == permission.as_str())),
            second_factor: markers().find_map(|marker| marker.parse().ok()),
            is_fresh: markers().any(|marker| marker == FRESH),
        })
    }
}

/// Implements the extraction of a guard from a request.
macro_rules! extracted {
    ($($Guard:ty $(, $Parameter:ident: $Bound:path)?;)*) => {$(
        impl<'a $(, $Parameter: $Bound)?> ApiExtractor<'a> for $Guard {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                BearerAuth::register(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                Self::REQUIREMENTS.markers()
            }

            async fn from_request(
                request: &'a Request,
                _body: &mut RequestBody,
                _options: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                let caller = caller(request).await?;
                Self::REQUIREMENTS.check(app(request)?, &caller).map_err(Problem::from)?;
                Ok(Self::of(caller))
            }
        }
    )*};
}

extracted! {
    Enrolling;
    Signed;
    Allowed<P>, P: Permission;
    Fresh<G>, G: Guard;
}

fn app(request: &Request) -> Result<&App, Problem> {
    request.data().ok_or_else(|| Error::internal(anyhow::anyhow!("the endpoint has no App")).into())
}

/// Returns the caller to whom the request's access token was issued.
async fn caller(request: &Request) -> Result<Caller, Problem> {
    let caller = tokens::verify(app(request)?, bearer_token(request)?, source::of(request)).await?;
    SignedIn::note(request, caller.user());
    Ok(caller)
}

/// Returns the access token of a request (RFC 6750 section 2.1). poem-openapi would take the first of several headers, and check
/// each byte of it.
fn bearer_token(request: &Request) -> Result<&str> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let credentials = headers.next().ok_or(Error::MissingToken)?;
    if headers.next().is_some() {
        return Err(Error::AmbiguousCredentials);
    }
    let credentials = str::from_utf8(credentials.as_bytes()).map_err(|_| Error::InvalidToken)?;
    let (scheme, token) = credentials.split_once(' ').unwrap_or((credentials, ""));
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim_start_matches(' ')) } else { Err(Error::MissingToken) }
}

impl<P: Permission> Allowed<P> {
    /// The authority on which the domain acts: the caller and the permission. The domain checks both again in its transaction.
    pub fn authority(&self) -> By<'_> {
        By::Caller(&self.0, OwnPermission::of::<P>())
    }
}

impl Deref for Enrolling {
    type Target = Caller;
    fn deref(&self) -> &Caller {
        &self.0
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

impl<G> Deref for Fresh<G> {
    type Target = G;
    fn deref(&self) -> &G {
        &self.0
    }
}
