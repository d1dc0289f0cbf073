//! The errors of the service in the product's words, free of HTTP. Only `api::http::problem` translates them to responses.

use std::{borrow::Cow, time::Duration};

use sea_orm::DbErr;
use tokio::task::JoinError;

use crate::values::{
    Invalid, authentication::Acr, challenge::Challenged, passkeys_unavailable::PasskeysUnavailable, permission::OwnPermission,
    role_name::RoleName,
};

/// A result with an error of the service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A rejected request or a failure. `Display` returns the sentence that the caller reads; it never repeats a value that the
/// caller sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A guarded operation was called without an access token.
    #[error("This operation needs an access token.")]
    MissingToken,
    /// The token is not authentic: it is malformed or foreign, or its signature is wrong. The caller does not learn which.
    #[error("The access token is not valid.")]
    InvalidToken,
    /// An authentic token after its `exp`.
    #[error("The access token has expired.")]
    ExpiredToken,
    /// An authentic token of a session that has ended.
    #[error("The session of this access token has ended.")]
    SessionEnded,
    /// An authentic token that was issued before the user's roles changed.
    #[error("The roles or the second factors of this account have changed since the access token was issued. Refresh the token.")]
    StaleToken,
    /// The caller must be authenticated again, or with another factor (RFC 9470).
    #[error("{}", .0.sentence())]
    InsufficientAuthentication(Insufficient),
    /// More than one `Authorization` header, so the caller is ambiguous.
    #[error("Send exactly one Authorization header.")]
    AmbiguousCredentials,
    /// An unknown account or a wrong password. Both have the same response.
    #[error("The identifier or the password is wrong.")]
    InvalidCredentials,
    /// The factor is wrong, was used, or is not one of the account's.
    #[error("This does not prove that the account is yours. A code works once, and an account with a second factor needs one.")]
    WrongFactor,
    /// The password was right, but an administrator has disabled the account.
    #[error("This account is disabled.")]
    AccountDisabled,
    /// A second factor is needed as well. Nothing else was decided.
    #[error("Prove a second factor as well.")]
    SecondFactorRequired(Box<Challenged>),
    /// The challenge is unknown, was used, has expired or was tried too often, or the account has changed since. All have the same
    /// response.
    #[error("The challenge is not valid. Start again.")]
    InvalidChallenge,
    /// The refresh token is missing, not genuine, expired or spent, or its session has ended. All have the same response.
    #[error("The refresh token is not valid.")]
    InvalidRefreshToken,
    /// A refresh token in the body and another in a cookie, or two cookies.
    #[error("Send exactly one refresh token: in the body or in one cookie.")]
    AmbiguousRefreshToken,
    /// A request that sends or requests the refresh cookie, and that a page of another site may have sent.
    #[error("This request may come from another site. Send it from a page of this service or of an allowed origin.")]
    CsrfRejected,
    /// `registration.mode` does not allow this way to an account.
    #[error("This server does not let people create accounts in this way.")]
    RegistrationClosed,
    /// No mail can be sent: `mail.transport` is `none` or `log`.
    #[error("This server sends no mail.")]
    MailUnavailable,
    /// Passkeys cannot be used here, or not by this account.
    #[error("{0}")]
    PasskeysUnavailable(PasskeysUnavailable),
    /// No account has this passkey.
    #[error("No account has this passkey.")]
    UnknownPasskey,
    /// The proof is malformed or wrong, or the authenticator has not verified its user.
    #[error("The passkey was refused: this is no proof of it, or its device has not asked who you are.")]
    InvalidPasskey,
    /// The counter of a passkey did not advance.
    #[error(
        "The passkey was refused, because its counter went back: somebody may have a copy of it. Remove it and add a new one."
    )]
    PasskeyCopied,
    /// None of the caller's roles grants the permission that the operation needs.
    #[error("This operation needs a permission that none of your roles grants.")]
    InsufficientPermission {
        /// The missing permission.
        required: OwnPermission,
        /// The roles that grant it, sorted.
        granted_by: Vec<RoleName>,
    },
    /// The change concerns a permission that the caller does not hold.
    #[error("You cannot grant or remove permissions that you do not hold, or change an account or a role that has them.")]
    EscalationDenied,
    /// The administrator who created an invitation may no longer give its roles, was disabled or deleted, or a role was deleted.
    #[error("Whoever created this invitation may no longer give its roles. Another invitation is needed.")]
    InviterLacksPermission,
    /// The object does not exist, or belongs to another user.
    #[error("There is no such {}.", .0.name())]
    NotFound(Missing),
    /// Another account has this e-mail address.
    #[error("This e-mail address is taken.")]
    EmailTaken,
    /// Another account has this username.
    #[error("This username is taken.")]
    UsernameTaken,
    /// The change would leave no active administrator.
    #[error("This is the last active administrator. Appoint another one first.")]
    LastAdmin,
    /// An administrator tried to change their own account through an operation for other accounts.
    #[error("This is your own account: change it under /v1/me, or ask another administrator.")]
    OwnAccount,
    /// `If-Match` names a state of the resource that is not the present one.
    #[error("The resource has changed since you read it. Read it again.")]
    PreconditionFailed,
    /// Members or parameters are invalid. The list contains every fault.
    #[error("The request has invalid members or parameters.")]
    Invalid(Vec<Fault>),
    /// Too many attempts from one network or at one account. Nothing was attempted, or its outcome is withheld.
    #[error("There were too many attempts. Wait before the next one.")]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// The queue is too long to serve the request in time. Nothing was attempted.
    #[error("The server is busy. Try again shortly.")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The client disconnected before its work began, so nobody reads this.
    #[error("The client has disconnected.")]
    ClientDisconnected,
    /// The database cannot be reached or did not respond in time.
    #[error("The service is temporarily unavailable. Try again shortly.")]
    Unavailable(#[source] DbErr),
    /// The service is not ready, for these reasons.
    #[error("Not ready: {}.", .0.iter().map(|reason| reason.sentence()).collect::<Vec<_>>().join("; "))]
    NotReady(Vec<Unready>),
    /// This process has not read the revocation feed for too long, so it refuses to decide.
    #[error("The service cannot confirm at the moment that your access is still valid. Try again shortly.")]
    AuthorizationStale,
    /// Built-in roles are fixed.
    #[error("A built-in role cannot be changed or deleted.")]
    RoleBuiltIn,
    /// Another role has this name.
    #[error("There is already a role with this name.")]
    RoleExists,
    /// The limit on the number of roles is reached.
    #[error("There are already 1,000 roles, which is the limit.")]
    TooManyRoles,
    /// Accounts hold the role.
    #[error("Accounts still hold this role. Take it from them first.")]
    RoleInUse,
    /// The address of the account is verified.
    #[error("The address of your account is verified already.")]
    AlreadyVerified,
    /// The address must be verified before a second factor is added.
    #[error("Verify the address of your account first.")]
    EmailUnverified,
    /// The user has as many factors of this kind as one may have.
    #[error("You have as many factors of this kind as an account may have. Remove one first.")]
    TooManyFactors,
    /// The policy demands the last factor, or there is no factor to which recovery codes could belong.
    #[error("Your account needs a second factor for this. Add one first.")]
    FactorRequired,
    /// The invitation was accepted, or its address has an account for another reason.
    #[error("This invitation was accepted, or its address has an account already.")]
    AlreadyAccepted,
    /// The mail was sent, so it cannot be sent again.
    #[error("This mail was sent already.")]
    MailAlreadySent,
    /// The next signing key is already published.
    #[error("The next signing key is already published. It starts to sign when verifiers have had time to fetch it.")]
    RotationPending,
    /// Tokens are signed with an operator's secret (HS256).
    #[error("Tokens are signed with signing.secret. Only an operator can change it, in the settings.")]
    SharedSecretSigns,
    /// An unexpected failure. The log has the cause; the caller does not learn it.
    #[error("Something went wrong on our side.")]
    Internal(#[source] anyhow::Error),
}

/// Why an authentication does not suffice for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insufficient {
    /// The level that the operation requires.
    pub acr: Acr,
    /// Whether the caller must enrol a second factor to reach that level.
    pub enrol: bool,
}

impl Insufficient {
    const fn sentence(self) -> &'static str {
        match self {
            Self { enrol: true, .. } => "This operation requires a second factor, and your account has none. Enrol one.",
            Self { acr: Acr::Two, .. } => "This operation requires a fresh proof with a second factor. Authenticate again.",
            Self { acr: Acr::One, .. } => "This operation requires a fresh proof that you are present. Authenticate again.",
        }
    }
}

/// An object that does not exist, or that the caller may not reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// A path of the service.
    Path,
    /// A user.
    User,
    /// A role.
    Role,
    /// A session.
    Session,
    /// A signing key.
    SigningKey,
    /// An invitation.
    Invitation,
    /// A mail.
    Mail,
    /// A change of address that waits for its confirmation.
    PendingEmail,
    /// A second factor, or one that waits to be confirmed.
    Factor,
}

impl Missing {
    const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::User => "user",
            Self::Role => "role",
            Self::Session => "session",
            Self::SigningKey => "signing key",
            Self::Invitation => "invitation",
            Self::Mail => "mail",
            Self::PendingEmail => "pending address",
            Self::Factor => "factor",
        }
    }
}

/// A reason why the service is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// The process has received a signal to stop.
    Stopping,
    /// The database does not respond.
    DatabaseUnreachable,
    /// The database responds but does not accept writes.
    DatabaseReadOnly,
    /// The last successful poll of the revocation feed is too old.
    RevocationsStale,
    /// The database holds an older state than this process has seen.
    HistoryLost,
    /// This machine's clock and the database's clock differ too much.
    ClockSkew,
    /// This machine's clock contradicts the newest time that the database has recorded.
    ClockInDoubt,
    /// No signing key is active, so nobody can log in.
    NoActiveKey,
}

impl Unready {
    /// Returns the name of the reason in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::DatabaseUnreachable => "database_unreachable",
            Self::DatabaseReadOnly => "database_read_only",
            Self::RevocationsStale => "revocations_stale",
            Self::HistoryLost => "history_lost",
            Self::ClockSkew => "clock_skew",
            Self::ClockInDoubt => "clock_in_doubt",
            Self::NoActiveKey => "no_active_key",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Stopping => "the service is stopping",
            Self::DatabaseUnreachable => "the database does not respond",
            Self::DatabaseReadOnly => "the database does not accept writes",
            Self::RevocationsStale => "the revocation data is too old",
            Self::HistoryLost => "the database was restored from a backup: run `vestibule restored`",
            Self::ClockSkew => "this machine's clock and the database's clock differ by more than 2 s",
            Self::ClockInDoubt => {
                "this machine's clock may be wrong (the log says why); if it is right, run `vestibule clock accept`"
            }
            Self::NoActiveKey => "there is no active signing key",
        }
    }
}

/// An invalid member or parameter of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Its location.
    pub location: Location,
    /// A stable code for programs, from the list in the contract (`too_short`, `unknown_member`, …).
    pub code: &'static str,
    /// A sentence for people. It never repeats the value.
    pub detail: Cow<'static, str>,
}

/// The location of a fault in a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A JSON pointer into the body (RFC 6901).
    Pointer(Cow<'static, str>),
    /// The name of a query parameter.
    Parameter(Cow<'static, str>),
}

impl Fault {
    /// Returns the fault of the member at `pointer`.
    pub fn at(pointer: impl Into<Cow<'static, str>>, invalid: Invalid) -> Self {
        Self { location: Location::Pointer(pointer.into()), code: invalid.code, detail: invalid.detail }
    }

    /// Returns the fault of the query parameter `name`.
    pub fn parameter(name: impl Into<Cow<'static, str>>, invalid: Invalid) -> Self {
        Self { location: Location::Parameter(name.into()), code: invalid.code, detail: invalid.detail }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Invalid(vec![fault])
    }
}

impl Error {
    /// Wraps an unexpected failure.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(source.into())
    }
}

/// A panic. The panic hook has already logged it with its location.
#[derive(Debug, thiserror::Error)]
#[error("a panic")]
pub struct Panicked;

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        if error.is_panic() { Self::internal(Panicked) } else { Self::internal(error) }
    }
}

/// Formats an error and its causes as one line. Omits a cause that the line already contains, because some libraries repeat
/// their causes.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let (mut line, mut source) = (error.to_string(), error.source());
    while let Some(error) = source {
        let cause = error.to_string();
        if !line.contains(&cause) {
            line = format!("{}: {cause}", line.trim_end_matches('.'));
        }
        source = error.source();
    }
    line
}
