//! Problems: every error response has a body of media type `application/problem+json` (RFC 9457). The product's errors, and
//! poem's own, become HTTP here and nowhere else.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use poem::{
    Response,
    error::{MethodNotAllowedError, NotFoundError, ParsePathError, ResponseError},
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::Object;
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{codes::Code, json};
use crate::{
    domain::caller::MAX_AGE,
    error::{Error, Fault, Insufficient, Location, Missing, Unready},
    values::{
        authentication::Acr, challenge::Challenged, factor_kind::FactorProofKind, permission::OwnPermission, role_name::RoleName,
    },
};

/// The protection space that every challenge names (RFC 9110 section 11.5).
const REALM: &str = "vestibule";
/// The media type of every problem (RFC 9457 section 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of every error response (RFC 9457).
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Problem", skip_serializing_if_is_none)]
pub struct ProblemBody {
    /// The kind of problem: `urn:problem-type:vestibule:` and the code.
    #[oai(rename = "type", validator(max_length = 100))]
    #[serde(rename = "type")]
    pub kind: String,
    /// The reason phrase of the HTTP status.
    #[oai(validator(max_length = 64))]
    pub title: String,
    /// The HTTP status.
    #[oai(validator(minimum(value = "400"), maximum(value = "599")))]
    pub status: u16,
    /// The stable code that programs branch on.
    #[oai(validator(max_length = 64))]
    pub code: String,
    /// A sentence for people. Its wording may change.
    #[oai(validator(max_length = 500))]
    pub detail: Option<String>,
    /// The request's id, which the `X-Request-Id` header and the log repeat. Quote it when you ask for help.
    #[oai(validator(max_length = 36))]
    pub request_id: String,
    /// The invalid members or parameters, at most 100 of them.
    #[oai(validator(max_items = 100))]
    pub errors: Option<Vec<FaultBody>>,
    /// The missing permission.
    #[oai(validator(max_length = 64))]
    pub required_permission: Option<String>,
    /// The roles that grant the missing permission.
    #[oai(validator(max_items = 1000, max_length = 32))]
    pub granted_by: Option<Vec<String>>,
    /// The levels of authentication with which the operation would succeed.
    #[oai(validator(max_items = 2))]
    pub acr_values: Option<Vec<Acr>>,
    /// How long ago the authentication may be, in seconds.
    #[oai(validator(minimum(value = "0"), maximum(value = "86400")))]
    pub max_age: Option<i64>,
    /// Whether the account must enrol a second factor first, because it holds none. Absent otherwise.
    pub enrol: Option<bool>,
    /// What completes the log-in together with a second factor. Without one, it opens nothing.
    #[oai(validator(max_length = 64))]
    pub challenge: Option<String>,
    /// How a second factor can be proven.
    #[oai(validator(max_items = 3))]
    pub factors: Option<Vec<FactorProofKind>>,
    /// How long the challenge is valid, in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "600")))]
    pub expires_in: Option<i64>,
}

/// One invalid member of the body, or one invalid query parameter.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Fault", skip_serializing_if_is_none)]
pub struct FaultBody {
    /// The member of the body, as a JSON pointer (RFC 6901).
    #[oai(validator(max_length = 1000))]
    pub pointer: Option<String>,
    /// The name of the query parameter.
    #[oai(validator(max_length = 64))]
    pub parameter: Option<String>,
    /// The stable code that programs branch on: `required`, `type`, `too_short`, `unknown_member`, ….
    #[oai(validator(max_length = 64))]
    pub code: String,
    /// A sentence for people. It never repeats the value.
    #[oai(validator(max_length = 500))]
    pub detail: String,
}

/// An error that a caller will see. [`Problem::render`] makes the response when the request's id is known.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The code that programs branch on.
    pub code: Code,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    lacking: Option<Box<(OwnPermission, Vec<RoleName>)>>,
    insufficient: Option<Insufficient>,
    challenged: Option<Box<Challenged>>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    cause: Option<Arc<anyhow::Error>>,
}

/// The number of faults that one problem lists at most.
const MOST_FAULTS: usize = 100;
/// The time that a client should wait if the error names no other.
const SHORTLY: Duration = Duration::from_secs(1);

impl Problem {
    /// Makes a problem. `detail` must not repeat anything that the caller sent.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self {
            code,
            detail,
            errors: Vec::new(),
            lacking: None,
            insufficient: None,
            challenged: None,
            retry_after: None,
            allow: None,
            cause: None,
        }
    }

    /// A request that is not well formed.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::MalformedRequest, detail)
    }

    /// The path exists, but not with this method. `allow` lists the methods of the path (RFC 9110 section 15.5.6).
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, "This path does not have this method.") }
    }

    /// The missing permission, if that is the problem.
    pub fn lacking(&self) -> Option<OwnPermission> {
        self.lacking.as_ref().map(|lacking| lacking.0)
    }

    /// The cause of a 500 or a 503, for the log. No response repeats it.
    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.cause.as_deref()
    }

    /// The problem to return for `err`, which comes from a handler, from a guard, or from poem. `allow` lists the methods of the
    /// path.
    pub fn from_poem(err: &poem::Error, allow: &'static str) -> Self {
        if let Some(problem) = err.downcast_ref::<Self>() {
            return problem.clone();
        }
        // poem reports a path whose percent-encoding is not UTF-8 as a `ParsePathError`.
        if err.is::<NotFoundError>() || err.is::<ParsePathError>() {
            return Error::NotFound(Missing::Path).into();
        }
        if err.is::<MethodNotAllowedError>() {
            return Self::method_not_allowed(allow);
        }
        if err.status().is_client_error() {
            return Self::malformed("The request is malformed.");
        }
        // Not the error's `Debug`, which may quote the request.
        Error::internal(anyhow::anyhow!("{err}")).into()
    }

    /// Makes the response, with every header that its status requires.
    pub fn render(self, request_id: &str) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::builder().status(status).content_type(MEDIA_TYPE).finish();
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up, because a client that comes back a moment too early is rejected again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        let (required_permission, granted_by) = self.lacking.map_or((None, None), |lacking| {
            let (permission, roles) = *lacking;
            (Some(permission.as_str().to_owned()), Some(roles.into_iter().map(String::from).collect()))
        });
        let (challenge, factors, expires_in) = self.challenged.map_or((None, None, None), |challenged| {
            let Challenged { challenge, factors, expires_in } = *challenged;
            (Some(challenge.expose()), Some(factors), Some(expires_in))
        });
        let body = ProblemBody {
            kind: format!("urn:problem-type:vestibule:{}", self.code.name()),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            code: self.code.name().to_owned(),
            detail: Some(self.detail.into_owned()),
            request_id: request_id.to_owned(),
            errors: Some(self.errors.into_iter().map(FaultBody::from).collect::<Vec<_>>()).filter(|faults| !faults.is_empty()),
            required_permission,
            granted_by,
            acr_values: self.insufficient.map(|Insufficient { acr, .. }| vec![acr]),
            max_age: self.insufficient.map(|_| MAX_AGE),
            enrol: self.insufficient.and_then(|Insufficient { enrol, .. }| enrol.then_some(true)),
            challenge,
            factors,
            expires_in,
        };
        response.set_body(json::written(&body));
        response
    }

    /// The header `WWW-Authenticate` of a 401 (RFC 9110 section 11.6.1) and of a guard's 403. If the request has no
    /// credentials, the challenge has no error attribute (RFC 6750 section 3.1).
    fn challenge(&self) -> Option<HeaderValue> {
        let attributes = match self.code {
            Code::InvalidToken | Code::ExpiredToken | Code::SessionEnded | Code::StaleToken => {
                format!(r#", error="invalid_token", error_description="{}""#, self.detail)
            }
            Code::InsufficientPermission => {
                let scope = self.lacking().map_or("", |permission| permission.as_str());
                format!(r#", error="insufficient_scope", scope="{scope}""#)
            }
            // RFC 9470 section 3.
            Code::InsufficientUserAuthentication => {
                let acr = self.insufficient.map_or("", |insufficient| insufficient.acr.as_str());
                format!(r#", error="insufficient_user_authentication", acr_values="{acr}", max_age={MAX_AGE}"#)
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
            Error::InsufficientAuthentication(_) => Code::InsufficientUserAuthentication,
            Error::InvalidCredentials => Code::InvalidCredentials,
            Error::SecondFactorRequired(_) => Code::SecondFactorRequired,
            Error::WrongFactor => Code::WrongFactor,
            Error::InvalidChallenge => Code::InvalidChallenge,
            Error::InvalidRefreshToken => Code::InvalidRefreshToken,
            Error::CsrfRejected => Code::CsrfRejected,
            Error::AccountDisabled => Code::AccountDisabled,
            Error::RegistrationClosed => Code::RegistrationClosed,
            Error::MailUnavailable => Code::MailUnavailable,
            Error::PasskeysUnavailable(_) => Code::PasskeysUnavailable,
            Error::UnknownPasskey => Code::UnknownPasskey,
            Error::InvalidPasskey | Error::PasskeyCopied => Code::InvalidPasskey,
            Error::InsufficientPermission { .. } => Code::InsufficientPermission,
            Error::EscalationDenied | Error::InviterLacksPermission => Code::EscalationDenied,
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
                Some(Unready::RevocationsStale | Unready::ClockSkew) => Code::AuthorizationStale,
                _ => Code::Unavailable,
            },
            Error::OwnAccount => Code::OwnAccount,
            Error::RoleExists => Code::RoleExists,
            Error::TooManyRoles => Code::TooManyRoles,
            Error::RoleBuiltIn => Code::RoleBuiltIn,
            Error::RoleInUse => Code::RoleInUse,
            Error::AlreadyVerified => Code::AlreadyVerified,
            Error::EmailUnverified => Code::EmailUnverified,
            Error::TooManyFactors => Code::TooManyFactors,
            Error::FactorRequired => Code::FactorRequired,
            Error::AlreadyAccepted => Code::AlreadyAccepted,
            Error::MailAlreadySent => Code::AlreadySent,
            Error::RotationPending | Error::SharedSecretSigns => Code::RotationPending,
            Error::Internal(_) => Code::Internal,
        };
        let mut problem = Self::new(code, err.to_string());
        match err {
            Error::Invalid(mut faults) => {
                faults.truncate(MOST_FAULTS);
                problem.errors = faults;
            }
            Error::SecondFactorRequired(challenged) => problem.challenged = Some(challenged),
            Error::InsufficientPermission { required, granted_by } => problem.lacking = Some(Box::new((required, granted_by))),
            Error::InsufficientAuthentication(insufficient) => problem.insufficient = Some(insufficient),
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
