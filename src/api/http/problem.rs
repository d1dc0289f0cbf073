//! Problems: every refusal as RFC 9457 `application/problem+json`. This is the one place where the product's
//! errors, and the framework's own, become HTTP.

use std::{borrow::Cow, fmt, marker::PhantomData, sync::Arc, time::Duration};

use poem::{
    IntoResponse, Response,
    error::{MethodNotAllowedError, NotFoundError, ResponseError},
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    error::ParsePathError,
    registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};

use crate::{
    api::REALM,
    error::{Error, Fault, Location, Missing, Unready},
};

/// The media type of every problem (RFC 9457 section 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($variant:ident = $status:literal $name:literal,)*) => {
        /// What a program switches on: the stable word for one kind of refusal, and its HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $name] $variant,)* }

        impl Code {
            /// The code's name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

codes! {
    MalformedRequest = 400 "malformed_request",
    MissingToken = 401 "missing_token",
    InvalidToken = 401 "invalid_token",
    ExpiredToken = 401 "expired_token",
    SessionEnded = 401 "session_ended",
    StaleToken = 401 "stale_token",
    InvalidCredentials = 401 "invalid_credentials",
    InvalidRefreshToken = 401 "invalid_refresh_token",
    InsufficientPermission = 403 "insufficient_permission",
    EscalationDenied = 403 "escalation_denied",
    AccountDisabled = 403 "account_disabled",
    RegistrationClosed = 403 "registration_closed",
    CsrfRejected = 403 "csrf_rejected",
    NotFound = 404 "not_found",
    MethodNotAllowed = 405 "method_not_allowed",
    RequestTimeout = 408 "request_timeout",
    EmailTaken = 409 "email_taken",
    UsernameTaken = 409 "username_taken",
    LastAdmin = 409 "last_admin",
    OwnAccount = 409 "own_account",
    RoleExists = 409 "role_exists",
    TooManyRoles = 409 "too_many_roles",
    RoleBuiltIn = 409 "role_built_in",
    RoleInUse = 409 "role_in_use",
    RotationPending = 409 "rotation_pending",
    PreconditionFailed = 412 "precondition_failed",
    PayloadTooLarge = 413 "payload_too_large",
    UriTooLong = 414 "uri_too_long",
    UnsupportedMediaType = 415 "unsupported_media_type",
    ValidationFailed = 422 "validation_failed",
    TooManyRequests = 429 "too_many_requests",
    HeadersTooLarge = 431 "headers_too_large",
    Internal = 500 "internal",
    Overloaded = 503 "overloaded",
    Unavailable = 503 "unavailable",
    AuthorizationStale = 503 "authorization_stale",
}

/// What went wrong, for people and programs (RFC 9457).
#[derive(Debug, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
pub struct ProblemBody {
    /// Names the kind of problem: `urn:problem-type:vestibule:` and the code.
    #[oai(rename = "type", validator(max_length = 100))]
    pub kind: String,
    /// The HTTP status in words.
    #[oai(validator(max_length = 64))]
    pub title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// The stable word to switch on.
    #[oai(validator(max_length = 64))]
    pub code: String,
    /// A sentence for people.
    #[oai(validator(max_length = 500))]
    pub detail: Option<String>,
    /// Equals the `X-Request-Id` header and the log line's: quote it when asking for help.
    #[oai(validator(max_length = 36))]
    pub request_id: String,
    /// The bad members or parameters; the first 100 of them.
    #[oai(validator(max_items = 100))]
    pub errors: Option<Vec<FaultBody>>,
    /// The permission that is missing.
    #[oai(validator(max_length = 64))]
    pub required_permission: Option<String>,
    /// The roles that would grant it.
    #[oai(validator(max_items = 1000, max_length = 32))]
    pub granted_by: Option<Vec<String>>,
}

/// One bad member of the body, or one bad query parameter.
#[derive(Debug, Object)]
#[oai(rename = "Fault", skip_serializing_if_is_none)]
pub struct FaultBody {
    /// Where in the body: a JSON pointer (RFC 6901).
    #[oai(validator(max_length = 1000))]
    pub pointer: Option<String>,
    /// Which query parameter.
    #[oai(validator(max_length = 64))]
    pub parameter: Option<String>,
    /// The stable word to switch on: `required`, `type`, `too_short`, `unknown_member`, ….
    #[oai(validator(max_length = 64))]
    pub code: String,
    /// A sentence for people; it never repeats the value.
    #[oai(validator(max_length = 500))]
    pub detail: String,
}

/// A refusal on its way out. It becomes a response in [`Problem::render`], where the request id is known.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What programs switch on.
    pub code: Code,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    lacking: Option<Box<(&'static str, Vec<String>)>>,
    retry_after: Option<Duration>,
    allow: Option<String>,
    cause: Option<Arc<anyhow::Error>>,
}

/// The greatest number of faults that one problem lists.
const MOST_FAULTS: usize = 100;
/// How long a client should wait where nothing better is known.
const SHORTLY: Duration = Duration::from_secs(1);

impl Problem {
    /// A problem with a sentence for people that repeats nothing the caller sent.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self { code, detail, errors: Vec::new(), lacking: None, retry_after: None, allow: None, cause: None }
    }

    /// The path exists, but not with this method; `allow` lists those it has (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn method_not_allowed(allow: String) -> Self {
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, "This path does not have this method.") }
    }

    /// The permission whose lack is the problem.
    #[must_use]
    pub fn lacking(&self) -> Option<&'static str> {
        self.lacking.as_ref().map(|it| it.0)
    }

    /// The failure behind a 500 or a 503, for the log. No response repeats it.
    #[must_use]
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_deref()
    }

    /// What a failed request answers, whoever refused it: our handlers, or poem while it routed and parsed. `allow`
    /// tells which methods the path has.
    pub fn from_poem(err: &poem::Error, allow: impl FnOnce() -> Option<String>) -> Self {
        if let Some(problem) = err.downcast_ref::<Self>() {
            return problem.clone();
        }
        // poem's own `ParsePathError` means a path whose percents do not decode to UTF-8.
        if err.is::<NotFoundError>() || err.is::<ParsePathError>() || err.is::<poem::error::ParsePathError>() {
            return Error::NotFound(Missing::Path).into();
        }
        if err.is::<MethodNotAllowedError>() {
            return Self::method_not_allowed(allow().unwrap_or_default());
        }
        if err.status().is_client_error() {
            return Self::new(Code::MalformedRequest, "The request is malformed.");
        }
        // Not its `Debug`, which may quote the request.
        Error::internal(anyhow::anyhow!("{err}")).into()
    }

    /// The response, with every header its status calls for.
    #[must_use]
    pub fn render(self, request_id: &str) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::builder().status(status).content_type(MEDIA_TYPE).finish();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up, for whoever comes back a moment too early is refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        let (required_permission, granted_by) = self.lacking.map_or((None, None), |it| (Some(it.0.to_owned()), Some(it.1)));
        let body = ProblemBody {
            kind: format!("urn:problem-type:vestibule:{}", self.code.name()),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: self.code.name().to_owned(),
            detail: Some(self.detail.into_owned()),
            request_id: request_id.to_owned(),
            errors: Some(self.errors.into_iter().map(FaultBody::from).collect::<Vec<_>>()).filter(|it| !it.is_empty()),
            required_permission,
            granted_by,
        };
        response.set_body(poem_openapi::types::ToJSON::to_json_string(&body));
        response
    }

    /// `WWW-Authenticate`: on every 401 (RFC 9110 section 11.6.1), and on a 403 from a guard. Without
    /// credentials there is no error attribute (RFC 6750 section 3.1).
    fn challenge(&self) -> Option<HeaderValue> {
        let attributes = match self.code {
            Code::InvalidToken | Code::ExpiredToken | Code::SessionEnded | Code::StaleToken => {
                format!(r#", error="invalid_token", error_description="{}""#, self.detail)
            }
            Code::InsufficientPermission => {
                let scope = self.lacking.as_ref().map_or("", |it| it.0);
                format!(r#", error="insufficient_scope", scope="{scope}""#)
            }
            code if code.status() == 401 => String::new(),
            _ => return None,
        };
        HeaderValue::from_str(&format!(r#"Bearer realm="{REALM}"{attributes}"#)).ok()
    }
}

impl From<Error> for Problem {
    fn from(err: Error) -> Self {
        let code = match &err {
            Error::MissingToken => Code::MissingToken,
            Error::InvalidToken => Code::InvalidToken,
            Error::ExpiredToken => Code::ExpiredToken,
            Error::SessionEnded => Code::SessionEnded,
            Error::StaleToken => Code::StaleToken,
            Error::AmbiguousCredentials | Error::AmbiguousRefreshToken => Code::MalformedRequest,
            Error::InvalidCredentials => Code::InvalidCredentials,
            Error::InvalidRefreshToken => Code::InvalidRefreshToken,
            Error::CsrfRejected => Code::CsrfRejected,
            Error::AccountDisabled => Code::AccountDisabled,
            Error::RegistrationClosed => Code::RegistrationClosed,
            Error::InsufficientPermission { .. } => Code::InsufficientPermission,
            Error::EscalationDenied => Code::EscalationDenied,
            Error::NotFound(_) => Code::NotFound,
            Error::EmailTaken => Code::EmailTaken,
            Error::UsernameTaken => Code::UsernameTaken,
            Error::LastAdmin => Code::LastAdmin,
            Error::PreconditionFailed => Code::PreconditionFailed,
            Error::Invalid(_) => Code::ValidationFailed,
            Error::TooManyRequests { .. } => Code::TooManyRequests,
            Error::Overloaded { .. } => Code::Overloaded,
            Error::ClientDisconnected => Code::RequestTimeout,
            Error::Unavailable(_) => Code::Unavailable,
            Error::AuthorizationStale => Code::AuthorizationStale,
            Error::NotReady(why) => match why.first() {
                Some(Unready::Revocations | Unready::Clock) => Code::AuthorizationStale,
                _ => Code::Unavailable,
            },
            Error::OwnAccount => Code::OwnAccount,
            Error::RoleExists => Code::RoleExists,
            Error::TooManyRoles => Code::TooManyRoles,
            Error::RoleBuiltIn => Code::RoleBuiltIn,
            Error::RoleInUse => Code::RoleInUse,
            Error::RotationPending | Error::SharedSecretSigns => Code::RotationPending,
            Error::Internal(_) => Code::Internal,
        };
        let mut problem = Self::new(code, err.to_string());
        match err {
            Error::Invalid(mut faults) => {
                faults.truncate(MOST_FAULTS);
                problem.errors = faults;
            }
            Error::InsufficientPermission { required, granted_by } => problem.lacking = Some(Box::new((required, granted_by))),
            Error::TooManyRequests { retry_after } | Error::Overloaded { retry_after } => problem.retry_after = Some(retry_after),
            Error::AuthorizationStale | Error::NotReady(_) => problem.retry_after = Some(SHORTLY),
            Error::Unavailable(cause) => {
                problem.cause = Some(Arc::new(cause.into()));
                problem.retry_after = Some(SHORTLY);
            }
            Error::Internal(cause) => problem.cause = Some(Arc::new(cause)),
            _ => {}
        }
        problem
    }
}

impl From<Fault> for FaultBody {
    fn from(fault: Fault) -> Self {
        let (pointer, parameter) = match fault.location {
            Location::Pointer(pointer) => (Some(pointer.into_owned()), None),
            Location::Parameter(name) => (None, Some(name.into_owned())),
        };
        Self { pointer, parameter, code: fault.code.to_owned(), detail: fault.detail.into_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.name())
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The codes one operation can answer beyond those every operation can.
pub trait Codes: Send + Sync + 'static {
    /// Each code, in any order.
    const CODES: &'static [Code];
}

/// Declares the codes of operations: `operation_codes! { /// doc \n SetRoles: EscalationDenied NotFound; }`.
macro_rules! operation_codes {
    ($($(#[$meta:meta])* $name:ident: $($code:ident)*;)*) => {$(
        $(#[$meta])*
        pub struct $name;
        impl $crate::api::http::problem::Codes for $name {
            const CODES: &'static [$crate::api::http::problem::Code] = &[$($crate::api::http::problem::Code::$code),*];
        }
    )*};
}
pub(crate) use operation_codes;

/// The failing half of a [`super::reply::Reply`]: a problem, and in its type the codes it may have.
pub struct DeclaredProblem<E>(Problem, PhantomData<fn() -> E>);

impl<E> From<Error> for DeclaredProblem<E> {
    fn from(err: Error) -> Self {
        Self(err.into(), PhantomData)
    }
}

impl<E> From<DeclaredProblem<E>> for poem::Error {
    fn from(refusal: DeclaredProblem<E>) -> Self {
        refusal.0.into()
    }
}

impl<E> IntoResponse for DeclaredProblem<E> {
    fn into_response(self) -> Response {
        poem::Error::from(self).into_response()
    }
}

impl<E: Codes> ApiResponse for DeclaredProblem<E> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: E::CODES.iter().map(|code| documented(*code)).collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}

/// One code as the contract shows it. Responses of the same status are merged in `contract`.
#[must_use]
pub fn documented(code: Code) -> MetaResponse {
    let literal = MetaSchema { enum_items: vec![code.name().into()], ..MetaSchema::new("string") };
    let status = MetaSchema {
        enum_items: vec![code.status().into()],
        minimum: Some(code.status().into()),
        maximum: Some(code.status().into()),
        ..MetaSchema::new_with_format("integer", "int32")
    };
    let schema = MetaSchema {
        all_of: vec![
            ProblemBody::schema_ref(),
            MetaSchemaRef::Inline(Box::new(MetaSchema {
                properties: vec![
                    ("code", MetaSchemaRef::Inline(Box::new(literal))),
                    ("status", MetaSchemaRef::Inline(Box::new(status))),
                ],
                ..MetaSchema::new("object")
            })),
        ],
        ..MetaSchema::ANY
    };
    MetaResponse {
        description: "",
        status: Some(code.status()),
        status_range: None,
        content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }],
        headers: Vec::new(),
    }
}
