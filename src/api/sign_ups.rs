//! Sign-ups: accounts for people who have proven that the address is theirs.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    http::{
        body::Body,
        codes::operation_codes,
        reply::{Accepted, Issued, Reply},
        source,
    },
    objects::{Language, Pending, Proof, User},
};
use crate::{
    app::App,
    domain::{
        sign_ups::{self, Choice},
        source::Source,
    },
    values::{email::Email, name::Name, password::NewPassword, username::Username},
};

operation_codes! {
    /// `startSignUp`.
    StartSignUp: RegistrationClosed MailUnavailable ValidationFailed TooManyRequests;
    /// `completeSignUp`.
    CompleteSignUp: EmailTaken UsernameTaken ValidationFailed TooManyRequests Overloaded;
}

/// The address with which to sign up.
#[derive(Object)]
#[oai(write_only_all)]
struct SignUp {
    /// The e-mail address, which the user can log in with.
    email: Email,
    /// The language of the mail and of the account. By default the one that `Accept-Language` prefers.
    language: Option<Language>,
}

/// The account to create with a mailed link or code.
#[derive(Object)]
#[oai(write_only_all)]
struct SignUpCompletion {
    /// The link or the code.
    proof: Proof,
    /// At least 8 characters of any kind. Common passwords and passwords that contain the account's names are rejected.
    password: NewPassword,
    /// The username, which the user can log in with as well. It is stored in lower case.
    username: Option<Username>,
    /// The person's name.
    name: Option<Name>,
}

/// The operations on sign-ups.
pub struct SignUpsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl SignUpsApi {
    /// Sign up.
    ///
    /// Mails a link and a code with which the account can be created. If the address has an account already, its owner is told by
    /// mail, and the response is the same. A repeated request sends the same link and code again; one address is sent one mail a
    /// minute, five an hour and ten a day. Works if `registration.mode` is `verified`.
    #[oai(path = "/sign-ups", method = "post", operation_id = "startSignUp")]
    async fn start(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<SignUp>,
    ) -> Reply<Accepted<Pending>, StartSignUp> {
        let SignUp { email, language } = body.0;
        let language = language.map(Into::into).or_else(|| source::language(request));
        Ok(Accepted(sign_ups::start(&app, &source, &email, language).await?.into()))
    }

    /// Complete a sign-up.
    ///
    /// Creates the account with the role `user`, with a link, or with a code and the handle of the request for it. The address is
    /// verified, and nobody is logged in. The member at fault has one of these codes: `invalid_ticket`, `expired_ticket` or
    /// `spent_ticket` for a link; `wrong_code` or `expired_ticket` for a code, which can be tried five times.
    #[oai(path = "/sign-ups/complete", method = "post", operation_id = "completeSignUp")]
    async fn complete(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        body: Body<SignUpCompletion>,
    ) -> Reply<Issued<User>, CompleteSignUp> {
        let SignUpCompletion { proof, password, username, name } = body.0;
        let choice = Choice { password, username, name };
        Ok(Issued(sign_ups::complete(&app, &source, &proof.into(), choice).await?.into()))
    }
}
