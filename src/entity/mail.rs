//! The outbox: mails that are to be sent, and those that were sent in the last weeks. A row holds no secret and no text; a mail
//! is rendered when it is sent.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set,
    ExprTrait, QueryOrder, QuerySelect, QueryTrait,
    entity::prelude::*,
    sea_query::{Expr, LockBehavior, LockType},
};

use super::json::JsonText;
use crate::values::{
    ids::{MailId, TicketId, UserId},
    language::Language,
    mail_kind::MailKind,
};

/// A mail.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "mails")]
pub struct Model {
    /// Ids sort by time. The `Message-ID` is made from it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MailId,
    pub kind: MailKind,
    /// The account that the mail is about, which may have been deleted since.
    pub user_id: Option<UserId>,
    /// The canonical address. Absent if the mail is a decoy, which is deleted instead of sent.
    pub to_address: Option<String>,
    pub language: Language,
    /// The ticket whose link and code the mail contains.
    pub ticket_id: Option<TicketId>,
    /// What else the text mentions, as a JSON object without secrets.
    pub params: JsonText,
    /// Which mails come first, and how much of `mail.max_per_hour` they may use.
    pub precedence: Precedence,
    pub state: MailState,
    /// How many times a server has tried to send the mail.
    pub attempts: i64,
    /// When the mail is to be sent; while a server sends it, when the others may assume that this server has died. Absent when
    /// the mail is done.
    pub next_at: Option<DateTime<Utc>>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub sent_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The state of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum MailState {
    /// The mail waits to be sent, for the first time or again.
    Queued,
    /// A server is sending the mail.
    Sending,
    /// The mail server has accepted the mail.
    Sent,
    /// The mail could not be sent.
    Failed,
    /// The mail became pointless before it was sent: its ticket is spent or has expired, or a backup was restored.
    Dropped,
}

impl MailState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Sending, Self::Sent, Self::Failed, Self::Dropped];

    /// Returns the name in rows, in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Which mails come first. Those that strangers can cause in any number leave a part of `mail.max_per_hour` to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Precedence {
    /// Mails that no stranger can cause: notices, invitations, those that an administrator sends, and those that a user requests
    /// from a network where the account has logged in.
    #[sea_orm(num_value = 0)]
    High,
    /// Other mails to accounts.
    #[sea_orm(num_value = 1)]
    Normal,
    /// Mails to anybody: sign-ups and verifications.
    #[sea_orm(num_value = 2)]
    Low,
}

impl Precedence {
    /// Every precedence, the highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Returns how many of `most` mails an hour may be of this precedence or a lower one.
    pub const fn share_of(self, most: u64) -> u64 {
        match self {
            Self::High => most,
            Self::Normal => most - most / 5,
            Self::Low => most - most * 2 / 5,
        }
    }
}

/// What became of an attempt to send a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub state: MailState,
    pub next_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
    pub sent_at: Option<DateTime<Utc>>,
}

impl Entity {
    /// Selects the mails that are due at `now`, those that have waited longest first.
    pub fn due(precedence: Precedence, now: DateTime<Utc>) -> Select<Self> {
        Self::find().filter(COLUMN.precedence.eq(precedence)).filter(COLUMN.next_at.lte(now)).order_by_asc(COLUMN.next_at)
    }

    /// Counts the mails without a link or code that were queued for an account after `since`, up to `most`.
    pub async fn count_notices(conn: &impl ConnectionTrait, user: UserId, since: DateTime<Utc>, most: u64) -> Result<u64, DbErr> {
        let notices =
            Self::find().select_only().column(Column::Id).filter(COLUMN.user_id.eq(user)).filter(COLUMN.ticket_id.is_null());
        let notices: Vec<MailId> = notices.filter(COLUMN.created_at.gt(since)).limit(most).into_tuple().all(conn).await?;
        Ok(notices.len() as u64)
    }

    /// Returns whether any mail is due at `now`.
    pub async fn is_any_due(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool, DbErr> {
        let due = Self::find().select_only().column(Column::Id).filter(Column::Precedence.is_in(Precedence::ALL));
        let due: Option<MailId> = due.filter(COLUMN.next_at.lte(now)).limit(1).into_tuple().one(conn).await?;
        Ok(due.is_some())
    }

    /// Makes the mails due that wait after a failed attempt.
    pub async fn hasten(tx: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), DbErr> {
        let waiting = Self::update_many().col_expr(Column::NextAt, Expr::value(now)).filter(COLUMN.state.eq(MailState::Queued));
        waiting.filter(COLUMN.next_at.gt(now)).exec(tx).await.map(drop)
    }

    /// Drops the mails that are not done.
    pub async fn drop_waiting(tx: &impl ConnectionTrait) -> Result<(), DbErr> {
        let row = ActiveModel { state: Set(MailState::Dropped), next_at: Set(None), ..Default::default() };
        let waiting = Column::State.is_in([MailState::Queued, MailState::Sending]);
        Self::update_many().set(row).filter(waiting).exec(tx).await.map(drop)
    }

    /// Leases at most `count` due mails to this server until `until`. Mails that another server is leasing are skipped.
    pub async fn lease(
        tx: &impl ConnectionTrait,
        precedence: Precedence,
        count: u64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Model>, DbErr> {
        let mut due = Self::due(precedence, now).select_only().column(Column::Id).limit(count).into_query();
        // SQLite has only one writer, and ignores this.
        due.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        Self::update_many()
            .col_expr(Column::State, Expr::value(MailState::Sending.to_value()))
            .col_expr(Column::NextAt, Expr::value(until))
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .filter(COLUMN.id.in_subquery(due))
            .exec_with_returning(tx)
            .await
    }

    /// Returns a mail, with the row locked until the transaction ends.
    pub async fn locked(tx: &impl ConnectionTrait, id: MailId) -> Result<Option<Model>, DbErr> {
        Self::find_by_id(id).lock_exclusive().one(tx).await
    }

    /// Makes a mail due, whose row is locked and which is not being sent.
    pub async fn requeue(tx: &impl ConnectionTrait, id: MailId, now: DateTime<Utc>) -> Result<(), DbErr> {
        let row = ActiveModel { state: Set(MailState::Queued), next_at: Set(Some(now)), ..Default::default() };
        Self::update_many().set(row).filter(COLUMN.id.eq(id)).exec(tx).await.map(drop)
    }

    /// Records what became of an attempt, unless the lease has passed to another server.
    pub async fn finish(tx: &impl ConnectionTrait, leased: &Model, outcome: Outcome) -> Result<bool, DbErr> {
        let row = ActiveModel {
            state: Set(outcome.state),
            next_at: Set(outcome.next_at),
            last_error: Set(outcome.last_error),
            sent_at: Set(outcome.sent_at),
            ..Default::default()
        };
        let finished = Self::update_many().set(row).filter(COLUMN.id.eq(leased.id)).filter(Column::NextAt.eq(leased.next_at));
        Ok(finished.exec(tx).await?.rows_affected == 1)
    }

    /// Deletes the mails about an account, whatever their state.
    pub async fn delete_of_user(tx: &impl ConnectionTrait, user: UserId) -> Result<(), DbErr> {
        Self::delete_many().filter(COLUMN.user_id.eq(user)).exec(tx).await.map(drop)
    }

    /// Deletes the mails to these addresses that are about no account and were queued by this time.
    pub async fn delete_to(
        tx: &impl ConnectionTrait,
        addresses: impl IntoIterator<Item = String>,
        until: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        let deleted = Self::delete_many().filter(COLUMN.user_id.is_null()).filter(COLUMN.to_address.is_in(addresses));
        deleted.filter(COLUMN.created_at.lte(until)).exec(tx).await.map(drop)
    }
}
