//! What can go wrong, in the product's words, free of HTTP. `api::http::problem` translates; nobody else does.

use std::{borrow::Cow, time::Duration};

use sea_orm::DbErr;
use tokio::task::JoinError;

use crate::values::Invalid;

/// A result whose error is one of the product's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A refusal or a failure. `Display` is the sentence the caller reads; it never holds what the caller sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No access token came with a guarded operation.
    #[error("This operation needs an access token.")]
    MissingToken,
    /// The token is not authentic: malformed, foreign, or its signature is wrong. Which of these is not told.
    #[error("The access token is not valid.")]
    InvalidToken,
    /// An authentic token past its `exp`.
    #[error("The access token has expired.")]
    ExpiredToken,
    /// An authentic token whose session ended.
    #[error("The session of this access token has ended.")]
    SessionEnded,
    /// An authentic token from before the user's roles were assigned anew.
    #[error("The roles of this account have changed since the access token was issued.")]
    StaleToken,
    /// More than one `Authorization` header, so that it is unclear who is calling.
    #[error("Send exactly one Authorization header.")]
    AmbiguousCredentials,
    /// Unknown account or wrong password: one answer for both.
    #[error("The identifier or the password is wrong.")]
    InvalidCredentials,
    /// The password was right, but an administrator has disabled the account.
    #[error("This account is disabled.")]
    AccountDisabled,
    /// No refresh token, or one that is not genuine, expired, spent, or of a session that has ended: one answer for all.
    #[error("The refresh token is not valid.")]
    InvalidRefreshToken,
    /// A refresh token in the body and one in a cookie, or two cookies, so that it is unclear which is meant.
    #[error("Send exactly one refresh token: in the body or in one cookie.")]
    AmbiguousRefreshToken,
    /// A request for or with a cookie that a page of another site may have sent.
    #[error("This request seems to come from another site.")]
    CsrfRejected,
    /// `registration.open` is off.
    #[error("Registration is closed.")]
    RegistrationClosed,
    /// None of the caller's roles grants what the operation needs.
    #[error("This operation needs a permission that none of your roles grants.")]
    InsufficientPermission {
        /// The permission that is missing.
        required: &'static str,
        /// The roles that would grant it, sorted.
        granted_by: Vec<String>,
    },
    /// The caller lacks something that the target, or the change, holds.
    #[error("You cannot grant, take or touch what you do not hold yourself.")]
    EscalationDenied,
    /// There is no such thing, or it is not the caller's.
    #[error("There is no such {}.", .0.name())]
    NotFound(Missing),
    /// Another account has this e-mail address.
    #[error("This e-mail address is taken.")]
    EmailTaken,
    /// Another account has this username.
    #[error("This username is taken.")]
    UsernameTaken,
    /// The change would leave no active administrator.
    #[error("This is the last active administrator.")]
    LastAdmin,
    /// An administrator tried to change their own account as if it were another user's.
    #[error("This is your own account: change it under /v1/me, or ask another administrator.")]
    OwnAccount,
    /// `If-Match` names another state than the present one.
    #[error("The resource has changed since you read it.")]
    PreconditionFailed,
    /// Members or parameters that are not acceptable, all of them.
    #[error("The request has invalid members.")]
    Invalid(Vec<Fault>),
    /// Too many tries came from there; nothing was attempted, or nobody is told what came of it.
    #[error("There were too many tries. Wait before the next one.")]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// More work is queued than can be done in time; nothing was attempted.
    #[error("The server is busy. Try again shortly.")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller hung up before the work was begun; nobody reads this.
    #[error("The caller has gone.")]
    ClientDisconnected,
    /// The database cannot be reached or did not answer in time.
    #[error("The service is temporarily unavailable. Try again shortly.")]
    Unavailable(#[source] DbErr),
    /// The service cannot serve at this moment; why, in words, the first reason first.
    #[error("Not ready: {}.", .0.iter().map(|it| it.sentence()).collect::<Vec<_>>().join("; "))]
    NotReady(Vec<Unready>),
    /// This process has not heard of revocations for too long, and refuses rather than guess.
    #[error("The service cannot tell at this moment whether your access still stands. Try again shortly.")]
    AuthorizationStale,
    /// A built-in role cannot be changed or deleted.
    #[error("A built-in role cannot be changed or deleted.")]
    RoleBuiltIn,
    /// There is a role of this name.
    #[error("There is a role of this name.")]
    RoleExists,
    /// The limit on the number of roles is reached.
    #[error("There are 1,000 roles, and there can be no more.")]
    TooManyRoles,
    /// Somebody holds the role.
    #[error("Somebody holds this role; take it from them first.")]
    RoleInUse,
    /// A new signing key is published already and waits for its time.
    #[error("The next signing key is published already; it signs once every verifier can know it.")]
    RotationPending,
    /// Tokens are signed with a secret of the operator's own (HS256).
    #[error("Tokens are signed with signing.secret, which only its owner can change.")]
    SharedSecretSigns,
    /// Anything unforeseen: logged whole, told as nothing.
    #[error("Something went wrong on our side.")]
    Internal(#[source] anyhow::Error),
}

/// What a request names and nobody has, or the caller may not reach.
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
    Key,
}

impl Missing {
    const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::User => "user",
            Self::Role => "role",
            Self::Session => "session",
            Self::Key => "signing key",
        }
    }
}

/// Why the service is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unready {
    /// It was told to stop.
    Stopping,
    /// The database does not answer.
    Database,
    /// The database answers, and refuses to write.
    ReadOnly,
    /// What is known of revocations is too old to let anybody in.
    Revocations,
    /// This machine's clock and the database's are too far apart.
    Clock,
    /// This machine's clock and the newest time that the database has seen do not fit together.
    ClockInDoubt,
    /// Nobody can log in: no key signs access tokens.
    Signer,
}

impl Unready {
    const fn sentence(self) -> &'static str {
        match self {
            Self::Stopping => "the service is stopping",
            Self::Database => "the database does not answer",
            Self::ReadOnly => "the database refuses to write",
            Self::Revocations => "what is known of revocations is too old",
            Self::Clock => "this machine's clock and the database's are over 2 s apart",
            Self::ClockInDoubt => {
                "this machine's clock may be wrong (the log says why); if it is right, run `vestibule clock accept`"
            }
            Self::Signer => "no key signs access tokens",
        }
    }
}

/// One bad member or parameter of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it is.
    pub location: Location,
    /// A stable word for programs, from the list in the contract (`too_short`, `unknown_member`, …).
    pub code: &'static str,
    /// A sentence for people; it never repeats the value.
    pub detail: Cow<'static, str>,
}

/// Where in a request a fault is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A JSON pointer into the body (RFC 6901).
    Pointer(Cow<'static, str>),
    /// The name of a query parameter.
    Parameter(Cow<'static, str>),
}

impl Fault {
    /// What is wrong with the member at `pointer`.
    pub fn at(pointer: impl Into<Cow<'static, str>>, invalid: Invalid) -> Self {
        Self { location: Location::Pointer(pointer.into()), code: invalid.code, detail: invalid.detail }
    }

    /// What is wrong with the query parameter `name`.
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
    /// An unexpected failure.
    pub fn internal(source: impl Into<anyhow::Error>) -> Self {
        Self::Internal(source.into())
    }
}

/// A panic. The panic hook has logged it where it happened.
#[derive(Debug, thiserror::Error)]
#[error("a panic")]
pub struct Panicked;

impl From<JoinError> for Error {
    fn from(err: JoinError) -> Self {
        if err.is_panic() { Self::internal(Panicked) } else { Self::internal(err) }
    }
}

/// An error with its causes in one line, each of them once: some libraries repeat theirs.
#[must_use]
pub fn with_causes(err: &(dyn std::error::Error + 'static)) -> String {
    let (mut told, mut source) = (err.to_string(), err.source());
    while let Some(err) = source {
        let cause = err.to_string();
        if !told.contains(&cause) {
            told = format!("{}: {cause}", told.trim_end_matches('.'));
        }
        source = err.source();
    }
    told
}
