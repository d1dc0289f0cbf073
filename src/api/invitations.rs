//! Invitations: administrators invite people, who create their account themselves.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Tag,
    guard::{Allowed, Fresh},
    http::{
        body::Body,
        codes::operation_codes,
        params::{Param, Path, paging},
        reply::{Issued, NoContent, Page, Queued, Reply},
        source,
        words::Time,
    },
    objects::{Language, User},
};
use crate::{
    app::App,
    domain::{
        invitations::{self, NewInvitation as New},
        sign_ups::Choice,
        source::Source,
        users,
    },
    values::{
        email::Email,
        ids::InvitationId,
        name::Name,
        password::NewPassword,
        permission::{ReadUsers, WriteUsers},
        query::{Cursor, Limit},
        role_name::RoleName,
        ticket_token::TicketToken,
        username::Username,
    },
};

operation_codes! {
    /// `createInvitation`.
    CreateInvitation: EscalationDenied MailUnavailable EmailTaken ValidationFailed, users::GIVING_ROLES;
    /// `listInvitations`.
    ListInvitations: ValidationFailed;
    /// `revokeInvitation`.
    RevokeInvitation: EscalationDenied NotFound AlreadyAccepted;
    /// `resendInvitation`.
    ResendInvitation: EscalationDenied MailUnavailable NotFound AlreadyAccepted;
    /// `acceptInvitation`.
    AcceptInvitation: EscalationDenied EmailTaken UsernameTaken ValidationFailed TooManyRequests Overloaded;
}

/// The person to invite.
#[derive(Object)]
#[oai(write_only_all)]
struct NewInvitation {
    /// The e-mail address, which will be that of the account.
    email: Email,
    /// The person's name, which they may change.
    name: Option<Name>,
    /// The account's roles.
    #[oai(validator(max_items = 100))]
    roles: Option<Vec<RoleName>>,
    /// The language of the mail and of the account. By default `mail.language`.
    language: Option<Language>,
}

/// The account to create with the link of an invitation.
#[derive(Object)]
#[oai(write_only_all)]
struct Acceptance {
    /// The token from the link.
    token: TicketToken,
    /// At least 8 characters of any kind. Common passwords and passwords that contain the account's names are rejected.
    password: NewPassword,
    /// The username, which the user can log in with as well. It is stored in lower case.
    username: Option<Username>,
    /// The person's name. By default that of the invitation.
    name: Option<Name>,
}

/// An invitation. Its link is shown to nobody.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Invitation {
    /// The invitation's id. Later invitations have greater ids.
    id: Uuid,
    /// The address in its canonical spelling.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The person's name.
    #[oai(validator(max_length = 100))]
    name: Option<String>,
    /// The names of the roles that the account will have, sorted.
    #[oai(validator(max_items = 100, max_length = 32))]
    roles: Vec<String>,
    /// The language of the mail and of the account.
    language: Option<Language>,
    /// The id of the administrator who created it.
    created_by: Uuid,
    /// When it was created.
    created_at: Time,
    /// When its link expires.
    expires_at: Time,
    /// When it was accepted.
    accepted_at: Option<Time>,
}

impl From<invitations::Invitation> for Invitation {
    fn from(invitations::Invitation { row, roles }: invitations::Invitation) -> Self {
        Self {
            id: row.id.into(),
            email: row.email,
            name: row.name,
            roles: roles.into_iter().map(String::from).collect(),
            language: row.language.map(Into::into),
            created_by: row.created_by.into(),
            created_at: Time(row.created_at),
            expires_at: Time(row.expires_at),
            accepted_at: row.accepted_at.map(Time),
        }
    }
}

/// One page of invitations.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct InvitationPage {
    /// The invitations, newest first.
    #[oai(validator(max_items = 100))]
    items: Vec<Invitation>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// The operations on invitations.
pub struct InvitationsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Invitations")]
impl InvitationsApi {
    /// List invitations.
    ///
    /// The newest invitation comes first. Invitations are listed for 30 days after they expired, whether or not they were
    /// accepted.
    #[oai(path = "/invitations", method = "get", operation_id = "listInvitations")]
    async fn list(
        &self,
        _caller: Allowed<ReadUsers>,
        app: Data<&App>,
        request: &Request,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<InvitationPage>, ListInvitations> {
        let paging = paging(request, cursor, limit)?;
        let page = invitations::list(&app, &paging).await?.map(Invitation::from);
        Ok(Page::new(request, page, |items, next_cursor| InvitationPage { items, next_cursor }))
    }

    /// Invite a person.
    ///
    /// Mails a link with which the person can create their account for seven days, in every `registration.mode`. Without `roles`,
    /// the account holds the role `user`. Another invitation of the address replaces the first, whose link stops working, if the
    /// caller holds every permission of both. The link also stops working if the administrator who created the invitation is
    /// disabled or can no longer give its roles.
    #[oai(path = "/invitations", method = "post", operation_id = "createInvitation")]
    async fn create(
        &self,
        caller: Fresh<Allowed<WriteUsers>>,
        app: Data<&App>,
        body: Body<NewInvitation>,
    ) -> Reply<Issued<Invitation>, CreateInvitation> {
        let NewInvitation { email, name, roles, language } = body.0;
        let roles = roles.unwrap_or_else(|| vec![RoleName::user()]);
        let new = New { email, name, roles, language: language.map(Into::into) };
        Ok(Issued(invitations::create(&app, &caller, new).await?.into()))
    }

    /// Revoke an invitation.
    ///
    /// The invitation is deleted, and its link stops working.
    #[oai(path = "/invitations/:id", method = "delete", operation_id = "revokeInvitation")]
    async fn revoke(
        &self,
        caller: Allowed<WriteUsers>,
        app: Data<&App>,
        id: Path<InvitationId>,
    ) -> Reply<NoContent, RevokeInvitation> {
        invitations::revoke(&app, &caller, id.0).await?;
        Ok(NoContent)
    }

    /// Send an invitation again.
    ///
    /// The link is the same, and is valid for another seven days, two weeks in all at most. An invitation that has expired gets
    /// another link. If the administrator who created the invitation can no longer give its roles, create another one.
    #[oai(path = "/invitations/:id/resend", method = "post", operation_id = "resendInvitation")]
    async fn resend(
        &self,
        caller: Fresh<Allowed<WriteUsers>>,
        app: Data<&App>,
        id: Path<InvitationId>,
    ) -> Reply<Queued, ResendInvitation> {
        invitations::resend(&app, &caller, id.0).await?;
        Ok(Queued)
    }

    /// Accept an invitation.
    ///
    /// Creates the account with the roles of the invitation. The address is verified, and nobody is logged in. A link that
    /// permits nothing any more is a fault of `/token` with the code `invalid_ticket`, `expired_ticket` or `spent_ticket`.
    #[oai(path = "/invitations/accept", method = "post", operation_id = "acceptInvitation")]
    async fn accept(
        &self,
        app: Data<&App>,
        source: Data<&Source>,
        request: &Request,
        body: Body<Acceptance>,
    ) -> Reply<Issued<User>, AcceptInvitation> {
        let Acceptance { token, password, username, name } = body.0;
        let choice = Choice { password, username, name };
        let user = invitations::accept(&app, &source, &token, choice, source::language(request)).await?;
        Ok(Issued(user.into()))
    }
}
