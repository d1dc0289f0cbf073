//! Codes: the stable words by which programs recognise problems, and the codes that each operation declares.

use crate::domain::authority::ExtraPermission;

macro_rules! codes {
    ($($variant:ident = $status:literal $name:literal,)*) => {
        /// The code of a problem: one stable word for each kind of failure, with its HTTP status. Programs branch on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $name] $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code's name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status of a response with this code.
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
    InsufficientUserAuthentication = 401 "insufficient_user_authentication",
    InvalidCredentials = 401 "invalid_credentials",
    SecondFactorRequired = 401 "second_factor_required",
    WrongFactor = 401 "wrong_factor",
    InvalidRefreshToken = 401 "invalid_refresh_token",
    InvalidChallenge = 401 "invalid_challenge",
    UnknownPasskey = 401 "unknown_passkey",
    InvalidPasskey = 401 "invalid_passkey",
    InsufficientPermission = 403 "insufficient_permission",
    EscalationDenied = 403 "escalation_denied",
    AccountDisabled = 403 "account_disabled",
    RegistrationClosed = 403 "registration_closed",
    CsrfRejected = 403 "csrf_rejected",
    MailUnavailable = 403 "mail_unavailable",
    PasskeysUnavailable = 403 "passkeys_unavailable",
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
    AlreadyVerified = 409 "already_verified",
    EmailUnverified = 409 "email_unverified",
    TooManyFactors = 409 "too_many_factors",
    FactorRequired = 409 "factor_required",
    AlreadyAccepted = 409 "already_accepted",
    AlreadySent = 409 "already_sent",
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

/// The codes that an operation can return beyond those that every operation can return.
pub trait Codes: Send + Sync + 'static {
    /// The codes, in any order.
    const CODES: &'static [Code];
    /// The permissions that the operation requires in some cases, beside the permission of its guard.
    const EXTRA_PERMISSIONS: &'static [ExtraPermission];
}

/// Declares the codes of operations, each as a type: `operation_codes! { SetUserRoles: EscalationDenied NotFound; }`. An extra
/// permission follows the codes: `CreateUser: EscalationDenied, users::GIVING_ROLES;`.
macro_rules! operation_codes {
    ($($(#[$meta:meta])* $name:ident: $($code:ident)* $(, $extra:path)*;)*) => {$(
        $(#[$meta])*
        pub struct $name;
        impl $crate::api::http::codes::Codes for $name {
            const CODES: &'static [$crate::api::http::codes::Code] = &[$($crate::api::http::codes::Code::$code),*];
            const EXTRA_PERMISSIONS: &'static [$crate::domain::authority::ExtraPermission] = &[$($extra),*];
        }
    )*};
}
pub(crate) use operation_codes;
