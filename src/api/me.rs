//! The caller's own account, which every logged-in user may read and change.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    guard::{Enrolling, Signed},
    http::{
        body::Body,
        codes::operation_codes,
        cookie,
        params::{Condition, Faults, Param, Path, paging},
        reply::{Accepted, NoContent, Page, Reply, Tagged, WithCookies},
        source,
        words::Clearable,
    },
    objects::{Language, Pending, Session, SessionPage, User, tagged},
};
use crate::{
    app::App,
    domain::{
        accounts, email_changes, email_verification, mail::tickets::OwnProof, revocations::SessionSelection, sessions,
        users::Names,
    },
    values::{
        email::Email,
        ids::SessionRef,
        name::Name,
        password::{NewPassword, Password},
        query::{Cursor, Limit},
        ticket_code::TicketCode,
        ticket_token::TicketToken,
        username::Username,
    },
};

operation_codes! {
    /// `readMe`.
    ReadMe:;
    /// `updateMe`.
    UpdateMe: EmailTaken UsernameTaken PreconditionFailed ValidationFailed TooManyRequests Overloaded;
    /// `changePassword`.
    ChangePassword: ValidationFailed TooManyRequests Overloaded;
    /// `closeAccount`.
    CloseAccount: LastAdmin ValidationFailed TooManyRequests Overloaded;
    /// `requestEmailVerification`.
    RequestEmailVerification: MailUnavailable AlreadyVerified;
    /// `verifyEmail`.
    VerifyEmail: ValidationFailed;
    /// `confirmEmailChange`.
    ConfirmEmailChange: EmailTaken ValidationFailed;
    /// `cancelEmailChange`.
    CancelEmailChange: NotFound;
    /// `listMySessions`.
    ListMySessions: ValidationFailed;
    /// `endMySessions`.
    EndMySessions: ValidationFailed;
    /// `endMySession`.
    EndMySession: NotFound;
}

/// The members to change. An absent member stays as it is, and `null` clears a member.
#[derive(Object)]
#[oai(write_only_all)]
struct MyChange {
    /// The person's name.
    name: Clearable<Name>,
    /// The username.
    username: Clearable<Username>,
    /// The e-mail address.
    email: Option<Email>,
    /// The language in which the person wants to read mails.
    language: Clearable<Language>,
    /// The current password, which a change of the e-mail address requires.
    current_password: Option<Password>,
}

/// The request to change the caller's password.
#[derive(Object)]
#[oai(write_only_all)]
struct PasswordChange {
    /// The current password.
    current_password: Password,
    /// The new password.
    new_password: NewPassword,
}

/// The request to close the caller's account.
#[derive(Object)]
#[oai(write_only_all)]
struct Closing {
    /// The current password.
    current_password: Password,
}

/// What shows that the caller reads the mailbox: exactly one of the members.
#[derive(Object)]
#[oai(write_only_all)]
struct OwnMailProof {
    /// The token from the link.
    token: Option<TicketToken>,
    /// The code. Spaces and hyphens in it do not count.
    code: Option<TicketCode>,
}

/// The operations on the caller's own account.
pub struct MeApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Me")]
impl MeApi {
    /// See my account.
    #[oai(path = "/me", method = "get", operation_id = "readMe")]
    async fn read(&self, caller: Enrolling, app: Data<&App>) -> Reply<Tagged<User>, ReadMe> {
        Ok(tagged(accounts::read(&app, &caller).await?))
    }

    /// Change my account.
    ///
    /// A new e-mail address requires the current password. Where mail can be sent, the account keeps its address, and the new one
    /// becomes its `pending_email` until `confirmEmailChange`: a link and a code are mailed to it, whether or not another account
    /// has it. A repeated request sends the same link and code again; one address is sent one mail a minute, five an hour and ten
    /// a day. Where no mail can be sent, the address changes at once.
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        /// The `ETag` of the state to change. Without this header, any state is changed.
        #[oai(name = "If-Match")]
        if_match: Condition,
        request: &Request,
        body: Body<MyChange>,
    ) -> Reply<Tagged<User>, UpdateMe> {
        let MyChange { name, username, email, language, current_password } = body.0;
        let language = language.0.map(|language| language.map(Into::into));
        let names = Names { email, username: username.0, name: name.0, language };
        let (condition, spoken) = (if_match.0.as_ref(), source::language(request));
        Ok(tagged(accounts::update(&app, &caller, names, current_password.as_ref(), condition, spoken).await?))
    }

    /// Confirm my new address.
    ///
    /// Takes the token of the link or the code from the mail to the pending address, which becomes the address of the account.
    /// The same request succeeds again. The old address, if it was verified, is mailed a link that undoes the change for seven
    /// days; until then no other account can have it. The member at fault has the same codes as in `verifyEmail`.
    #[oai(path = "/me/pending-email/complete", method = "post", operation_id = "confirmEmailChange")]
    async fn confirm_email(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        body: Body<OwnMailProof>,
    ) -> Reply<NoContent, ConfirmEmailChange> {
        let proof = OwnProof::either(body.0.token, body.0.code)?;
        email_changes::complete(&app, &caller, &proof).await?;
        Ok(NoContent)
    }

    /// Cancel the change of my address.
    ///
    /// The account keeps its address. The link and the code that were mailed to the pending one become void.
    #[oai(path = "/me/pending-email", method = "delete", operation_id = "cancelEmailChange")]
    async fn cancel_email(&self, caller: Enrolling, app: Data<&App>) -> Reply<NoContent, CancelEmailChange> {
        email_changes::cancel(&app, &caller).await?;
        Ok(NoContent)
    }

    /// Close my account.
    ///
    /// Deletes the account and ends its sessions. A cookie with the refresh token of one of them is cleared. The e-mail address
    /// and the username become free. A new account with them inherits nothing.
    #[oai(path = "/me", method = "delete", operation_id = "closeAccount")]
    async fn close(
        &self,
        caller: Signed,
        app: Data<&App>,
        request: &Request,
        body: Body<Closing>,
    ) -> Reply<WithCookies<NoContent>, CloseAccount> {
        let ended = accounts::close(&app, &caller, &body.0.current_password).await?;
        Ok(WithCookies(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }

    /// Request a mail that verifies my address.
    ///
    /// Mails a link and a code to the address of the account. A repeated request sends the same link and code again; one address
    /// is sent one mail a minute, five an hour and ten a day.
    #[oai(path = "/me/email/verification", method = "post", operation_id = "requestEmailVerification")]
    async fn request_verification(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        request: &Request,
    ) -> Reply<Accepted<Pending>, RequestEmailVerification> {
        Ok(Accepted(email_verification::request(&app, &caller, source::language(request)).await?.into()))
    }

    /// Verify my address.
    ///
    /// Takes the token of the link or the code from the mail. The same request succeeds again. Otherwise the member at fault has
    /// one of these codes: `invalid_ticket`, `expired_ticket` or `spent_ticket` for a link; `wrong_code` or `expired_ticket` for a
    /// code, which can be tried five times after each request.
    #[oai(path = "/me/email/verification/complete", method = "post", operation_id = "verifyEmail")]
    async fn verify_email(&self, caller: Enrolling, app: Data<&App>, body: Body<OwnMailProof>) -> Reply<NoContent, VerifyEmail> {
        let proof = OwnProof::either(body.0.token, body.0.code)?;
        email_verification::complete(&app, &caller, &proof).await?;
        Ok(NoContent)
    }

    /// Change my password.
    ///
    /// The session of this request continues. All other sessions end.
    #[oai(path = "/me/password", method = "put", operation_id = "changePassword")]
    async fn change_password(
        &self,
        caller: Signed,
        app: Data<&App>,
        body: Body<PasswordChange>,
    ) -> Reply<NoContent, ChangePassword> {
        accounts::change_password(&app, &caller, &body.0.current_password, &body.0.new_password).await?;
        Ok(NoContent)
    }

    /// List my sessions.
    ///
    /// The newest session comes first.
    #[oai(path = "/me/sessions", method = "get", operation_id = "listMySessions")]
    async fn list_sessions(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        request: &Request,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<SessionPage>, ListMySessions> {
        let paging = paging(request, cursor, limit)?;
        let page =
            sessions::list(&app, caller.user(), &paging).await?.map(|session| Session::seen_from(caller.session(), session));
        Ok(Page::new(request, page, |items, next_cursor| SessionPage { items, next_cursor }))
    }

    /// End my sessions.
    ///
    /// Logs out everywhere, or everywhere else. A cookie with the refresh token of a session that has ended is cleared.
    #[oai(path = "/me/sessions", method = "delete", operation_id = "endMySessions")]
    async fn end_sessions(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        request: &Request,
        /// Whether the session of this request continues.
        except_current: Param<bool>,
    ) -> Reply<WithCookies<NoContent>, EndMySessions> {
        let mut faults = Faults::of(request);
        let except_current = faults.take(except_current).unwrap_or_default();
        faults.none()?;
        let selection = if except_current { SessionSelection::AllExcept(caller.session()) } else { SessionSelection::All };
        let ended = sessions::end(&app, &caller, selection).await?;
        Ok(WithCookies(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }

    /// End one of my sessions.
    ///
    /// The id `current` means the session of this request, so `DELETE /v1/me/sessions/current` logs out. A cookie with the
    /// refresh token of the session is cleared.
    #[oai(path = "/me/sessions/:id", method = "delete", operation_id = "endMySession")]
    async fn end_session(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        request: &Request,
        id: Path<SessionRef>,
    ) -> Reply<WithCookies<NoContent>, EndMySession> {
        let session = match id.0 {
            SessionRef::Current => caller.session(),
            SessionRef::Id(session) => session,
        };
        let ended = sessions::end(&app, &caller, SessionSelection::One(session)).await?;
        Ok(WithCookies(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }
}
