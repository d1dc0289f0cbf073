//! Mails: what the service has sent and is about to send.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Tag,
    guard::Allowed,
    http::{
        body::Body,
        codes::operation_codes,
        params::{Faults, Param, Path},
        reply::{Page, Queued, Reply},
        words::Time,
    },
    objects::Language,
};
use crate::{
    app::App,
    domain::mail::administration::{self as mails, Filter, Listed},
    entity::mail::MailState,
    values::{
        email::Email,
        ids::MailId,
        mail_kind::MailKind,
        permission::{ReadMails, WriteMails},
        query::{Cursor, Limit},
    },
};

operation_codes! {
    /// `listMails`.
    ListMails: ValidationFailed;
    /// `retryMail`.
    RetryMail: NotFound AlreadySent;
    /// `sendTestMail`.
    SendTestMail: MailUnavailable ValidationFailed;
}

/// A mail. It is shown without its text, because links and codes are secret.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Mail {
    /// The mail's id. Its `Message-ID` begins with it. Later mails have greater ids.
    id: Uuid,
    /// What the mail is about.
    kind: MailKind,
    /// The recipient.
    #[oai(validator(max_length = 254))]
    to: String,
    /// The state of the mail.
    state: MailState,
    /// How many times a server has tried to send the mail.
    #[oai(validator(minimum(value = "0"), maximum(value = "1000000")))]
    attempts: i64,
    /// When the mail was queued.
    created_at: Time,
    /// When a server will try to send the mail. Only a queued mail has this member.
    next_at: Option<Time>,
    /// When the mail server accepted the mail.
    sent_at: Option<Time>,
    /// Why the last attempt failed, or why the mail was dropped.
    #[oai(validator(max_length = 500))]
    last_error: Option<String>,
}

impl From<Listed> for Mail {
    fn from(Listed { row, to }: Listed) -> Self {
        Self {
            id: row.id.into(),
            kind: row.kind,
            to,
            state: row.state,
            attempts: row.attempts,
            created_at: Time(row.created_at),
            next_at: row.next_at.filter(|_| row.state == MailState::Queued).map(Time),
            sent_at: row.sent_at.map(Time),
            last_error: row.last_error,
        }
    }
}

/// One page of mails.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct MailPage {
    /// The mails, newest first.
    #[oai(validator(max_items = 100))]
    items: Vec<Mail>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// The test mail to send.
#[derive(Object)]
#[oai(write_only_all)]
struct TestMail {
    /// The recipient.
    to: Email,
    /// The language of the mail. By default that of `mail.language`.
    language: Option<Language>,
}

/// The operations on mails.
pub struct MailsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Mails")]
impl MailsApi {
    /// List mails.
    ///
    /// The newest mail comes first. Mails are listed for 30 days. Texts, links and codes are shown to nobody.
    #[oai(path = "/mails", method = "get", operation_id = "listMails")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        _caller: Allowed<ReadMails>,
        app: Data<&App>,
        request: &Request,
        /// Only mails in this state.
        state: Param<MailState>,
        /// Only mails of this kind.
        kind: Param<MailKind>,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<MailPage>, ListMails> {
        let mut faults = Faults::of(request);
        let filter = Filter { state: faults.take(state), kind: faults.take(kind) };
        let paging = faults.paging(cursor, limit);
        faults.none()?;
        let page = mails::list(&app, &filter, &paging).await?.map(Mail::from);
        Ok(Page::new(request, page, |items, next_cursor| MailPage { items, next_cursor }))
    }

    /// Send a mail again.
    ///
    /// A mail that waits, has failed or was dropped becomes due at once. A mail whose link is no longer valid is dropped again.
    #[oai(path = "/mails/:id/retry", method = "post", operation_id = "retryMail")]
    async fn retry(&self, caller: Allowed<WriteMails>, app: Data<&App>, id: Path<MailId>) -> Reply<Queued, RetryMail> {
        mails::retry(&app, caller.authority(), id.0).await?;
        Ok(Queued)
    }

    /// Send a test mail.
    ///
    /// The mail is sent in the background. Its state in the list of mails says whether the mail server accepted it.
    #[oai(path = "/mails/test", method = "post", operation_id = "sendTestMail")]
    async fn send_test(&self, caller: Allowed<WriteMails>, app: Data<&App>, body: Body<TestMail>) -> Reply<Queued, SendTestMail> {
        mails::send_test(&app, caller.authority(), &body.0.to, body.0.language.map(Into::into)).await?;
        Ok(Queued)
    }
}
