//! Accounts: registration, and passwords that were forgotten.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{
    Tag,
    factors::FactorProof,
    http::{
        body::Body,
        codes::operation_codes,
        reply::{Accepted, Created, Json, NoContent, Reply},
        source,
        words::Time,
    },
    objects::{Language, Pending, Proof, User},
};
use crate::{
    app::App,
    domain::{
        accounts, email_changes,
        mail::reading::{self, ReadTicket as Readable},
        password_resets,
        source::Source,
        users::NewAccount,
    },
    values::{
        email::Email, factor_kind::FactorProofKind, identifier::Identifier, name::Name, password::NewPassword,
        role_name::RoleName, ticket_purpose::TicketPurpose, ticket_token::TicketToken, username::Username,
    },
};

operation_codes! {
    /// `registerAccount`.
    Register: RegistrationClosed EmailTaken UsernameTaken ValidationFailed TooManyRequests Overloaded;
    /// `requestPasswordReset`.
    RequestPasswordReset: MailUnavailable ValidationFailed TooManyRequests;
    /// `resetPassword`.
    ResetPassword: SecondFactorRequired WrongFactor ValidationFailed TooManyRequests Overloaded;
    /// `revertEmailChange`.
    RevertEmailChange: SecondFactorRequired WrongFactor ValidationFailed TooManyRequests Overloaded;
    /// `readTicket`.
    ReadTicket: ValidationFailed TooManyRequests;
}

/// The request of a registration.
#[derive(Object)]
#[oai(write_only_all)]
struct Registration {
    /// The e-mail address, which the user can log in with.
    email: Email,
    /// At least 8 characters of any kind. Common passwords and passwords that contain the account's names are rejected.
    password: NewPassword,
    /// The username, which the user can log in with as well. It is stored in lower case.
    username: Option<Username>,
    /// The person's name.
    name: Option<Name>,
    /// The language in which the person wants to read mails. By default the one that `Accept-Language` prefers.
    language: Option<Language>,
}

/// The account whose password was forgotten.
#[derive(Object)]
#[oai(write_only_all)]
struct ForgottenPassword {
    /// The e-mail address or the username.
    identifier: Identifier,
    /// The language of the mail, unless the account has one. By default the one that `Accept-Language` prefers.
    language: Option<Language>,
}

/// The password to set with a mailed link or code.
#[derive(Object)]
#[oai(write_only_all)]
struct PasswordReset {
    /// The link or the code.
    proof: Proof,
    /// The new password.
    new_password: NewPassword,
    /// The second factor, if the account has one.
    factor: Option<FactorProof>,
}

/// The undoing of a changed address.
#[derive(Object)]
#[oai(write_only_all)]
struct EmailRevert {
    /// The token from the link.
    token: TicketToken,
    /// The new password.
    new_password: NewPassword,
    /// The second factor, if the account still has one that it had a week before the change.
    factor: Option<FactorProof>,
}

/// The token to read.
#[derive(Object)]
#[oai(write_only_all)]
struct TicketReading {
    /// The token from the link.
    token: TicketToken,
}

/// What a link in a mail is for.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Ticket {
    /// What the link permits.
    purpose: TicketPurpose,
    /// The address to which the mail was sent.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The name of the account's owner.
    #[oai(validator(max_length = 100))]
    name: Option<String>,
    /// The language of the mail.
    language: Language,
    /// How the second factor can be proven that the link needs as well. Empty if it needs none.
    #[oai(validator(max_items = 3))]
    factors: Vec<FactorProofKind>,
    /// When the link expires.
    expires_at: Time,
}

impl From<Readable> for Ticket {
    fn from(Readable { purpose, email, name, language, factors, expires_at }: Readable) -> Self {
        Self { purpose, email, name, language: language.into(), factors, expires_at: Time(expires_at) }
    }
}

/// The operations on accounts.
pub struct AccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl AccountsApi {
    /// Register.
    ///
    /// Creates an account with the role `user`. The request cannot choose roles or a status.
    #[oai(path = "/accounts", method = "post", operation_id = "registerAccount")]
    async fn register(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<Registration>,
    ) -> Reply<Created<User>, Register> {
        let Registration { email, password, username, name, language } = body.0;
        let language = language.map(Into::into).or_else(|| source::language(request));
        let (password, roles) = (Some(password), vec![RoleName::user()]);
        let new = NewAccount { email, username, name, password, roles, language, email_verified: false };
        let user = accounts::register(&app, &source, new).await?;
        Ok(Created(user.into(), "/v1/me".into()))
    }

    /// Request a password reset.
    ///
    /// Mails a link and a code to the owner of the account. The response is the same whether or not the account exists. A
    /// repeated request sends the same link and code again; one address is sent one mail a minute, five an hour and ten a day.
    #[oai(path = "/password-resets", method = "post", operation_id = "requestPasswordReset")]
    async fn request_reset(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<ForgottenPassword>,
    ) -> Reply<Accepted<Pending>, RequestPasswordReset> {
        let language = body.0.language.map(Into::into).or_else(|| source::language(request));
        Ok(Accepted(password_resets::request(&app, &source, &body.0.identifier, language).await?.into()))
    }

    /// Reset a password.
    ///
    /// Sets the password with a link, or with a code and the handle of the request for it. An account that has a second factor
    /// needs it as well: without one, the response is 401 with the code `second_factor_required`. All sessions of the account end,
    /// its address is verified, and nobody is logged in. The member at fault has one of these codes: `invalid_ticket`,
    /// `expired_ticket` or `spent_ticket` for a link; `wrong_code` or `expired_ticket` for a code, which can be tried five times.
    #[oai(path = "/password-resets/complete", method = "post", operation_id = "resetPassword")]
    async fn reset(&self, app: Data<&App>, source: Data<&Source>, body: Body<PasswordReset>) -> Reply<NoContent, ResetPassword> {
        let PasswordReset { proof, new_password, factor } = body.0;
        let factor = factor.map(Into::into);
        password_resets::complete(&app, &source, &proof.into(), &new_password, factor.as_ref()).await?;
        Ok(NoContent)
    }

    /// Undo a change of address.
    ///
    /// Takes the token of the link that was mailed to the old address, which is valid for seven days. The account has its old
    /// address again and the new password. All its sessions end, and nobody is logged in. If the account still has a second factor
    /// that it had a week before the change, it is needed as well: without one, the response is 401 with the code
    /// `second_factor_required`. Factors and recovery codes that were added later are removed. A link that permits nothing any more
    /// is a fault of `/token` with the code `invalid_ticket`, `expired_ticket` or `spent_ticket`.
    #[oai(path = "/email-changes/revert", method = "post", operation_id = "revertEmailChange")]
    async fn revert_email(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        body: Body<EmailRevert>,
    ) -> Reply<NoContent, RevertEmailChange> {
        let EmailRevert { token, new_password, factor } = body.0;
        let factor = factor.map(Into::into);
        email_changes::revert(&app, &source, &token, &new_password, factor.as_ref()).await?;
        Ok(NoContent)
    }

    /// Read a link.
    ///
    /// Says what the link in a mail is for, and changes nothing. A link that permits nothing any more is a fault of `/token` with
    /// the code `invalid_ticket`, `expired_ticket` or `spent_ticket`.
    #[oai(path = "/tickets/read", method = "post", operation_id = "readTicket")]
    async fn read_ticket(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        body: Body<TicketReading>,
    ) -> Reply<Json<Ticket>, ReadTicket> {
        Ok(Json(reading::read(&app, &source, &body.0.token).await?.into()))
    }
}
