//! Tickets: what the links and codes in mails permit. A row holds no secret; link and code are derived from its id.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{Condition, ExprTrait, QueryOrder, entity::prelude::*, sea_query::Expr};

use super::{json::JsonText, ticket_handle};
use crate::values::{
    ids::{TicketId, UserId},
    language::Language,
    ticket_handle::HandleDigest,
    ticket_purpose::TicketPurpose,
};

/// How long a factor is young: whoever has just got into an account could have added it.
pub const YOUNG: TimeDelta = TimeDelta::days(7);

/// A ticket. It is live until it is used, becomes void or expires.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tickets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TicketId,
    pub purpose: TicketPurpose,
    /// The account. Absent if there is none yet, and for a decoy. The account may have been deleted since.
    pub user_id: Option<UserId>,
    /// The canonical address whose mailbox the ticket is about. Absent for a decoy: the ticket of a request about an account
    /// that does not exist. A decoy permits nothing.
    pub address: Option<String>,
    /// A digest of the address, or of what the caller gave in its place. Limits count by it.
    pub recipient: Vec<u8>,
    /// The language of the mail, and of the page behind its link.
    pub language: Language,
    /// The wrong codes of the signed-in user, if their session is the authority. Otherwise each handle counts its own.
    pub attempts: i64,
    /// What the purpose needs, as a JSON object without secrets.
    pub context: JsonText,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    /// When another change made the ticket wrong.
    pub void_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns whether the ticket permits something at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.address.is_some() && self.used_at.is_none() && self.void_at.is_none() && self.expires_at > now
    }

    /// Returns since when the ticket undoes what was added to the account, if that is its purpose. The ticket was made with the change
    /// of the address; whoever takes an account over may add a factor first.
    pub fn undoes_since(&self) -> Option<DateTime<Utc>> {
        (self.purpose == TicketPurpose::Revert).then(|| self.created_at - YOUNG)
    }

    /// Returns the name of the person, if the context has one: whoever invited them stated it.
    pub fn name(&self) -> Option<String> {
        self.context.0["name"].as_str().map(str::to_owned)
    }
}

/// Neither used nor void.
fn unspent() -> Condition {
    Condition::all().add(COLUMN.used_at.is_null()).add(COLUMN.void_at.is_null())
}

impl Entity {
    /// Returns the newest ticket for this purpose, recipient and account that was made after `since` and is not spent.
    pub async fn newest(
        tx: &impl ConnectionTrait,
        purpose: TicketPurpose,
        user: Option<UserId>,
        recipient: &[u8],
        since: DateTime<Utc>,
    ) -> Result<Option<Model>, DbErr> {
        let owner = user.map_or_else(|| COLUMN.user_id.is_null(), |user| COLUMN.user_id.eq(user));
        let found = Self::find().filter(COLUMN.recipient.eq(recipient.to_vec())).filter(COLUMN.purpose.eq(purpose));
        found.filter(owner).filter(COLUMN.created_at.gt(since)).filter(unspent()).order_by_desc(COLUMN.created_at).one(tx).await
    }

    /// Returns the newest ticket of a user for this purpose that is not void.
    pub async fn newest_of(tx: &impl ConnectionTrait, user: UserId, purpose: TicketPurpose) -> Result<Option<Model>, DbErr> {
        let found = Self::find().filter(COLUMN.user_id.eq(user)).filter(COLUMN.purpose.eq(purpose));
        found.filter(COLUMN.void_at.is_null()).order_by_desc(COLUMN.created_at).one(tx).await
    }

    /// Renews a ticket: sets when it expires, and forgets its attempts. Returns false if it was spent meanwhile.
    pub async fn renew(tx: &impl ConnectionTrait, id: TicketId, expires_at: DateTime<Utc>) -> Result<bool, DbErr> {
        let renewed = Self::update_many()
            .col_expr(Column::ExpiresAt, Expr::value(expires_at))
            .col_expr(Column::Attempts, Expr::value(0))
            .filter(COLUMN.id.eq(id))
            .filter(unspent());
        Ok(renewed.exec(tx).await?.rows_affected == 1)
    }

    /// Counts a wrong code of the signed-in user, whose row is locked.
    pub async fn count_attempt(tx: &impl ConnectionTrait, id: TicketId) -> Result<(), DbErr> {
        let counted = Self::update_many().col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1));
        counted.filter(COLUMN.id.eq(id)).exec(tx).await.map(drop)
    }

    /// Uses a ticket, in one statement. Returns false, and changes nothing, if it is not live, or if the code of this handle
    /// may not be tried any more.
    pub async fn redeem(
        tx: &impl ConnectionTrait,
        id: TicketId,
        handle: Option<&HandleDigest>,
        now: DateTime<Utc>,
    ) -> Result<bool, DbErr> {
        let mut redeemed = Self::update_many()
            .col_expr(Column::UsedAt, Expr::value(now))
            .filter(COLUMN.id.eq(id))
            .filter(COLUMN.address.is_not_null())
            .filter(COLUMN.expires_at.gt(now))
            .filter(unspent());
        if let Some(digest) = handle {
            redeemed = redeemed.filter(COLUMN.id.in_subquery(ticket_handle::usable(digest, now)));
        }
        Ok(redeemed.exec(tx).await?.rows_affected == 1)
    }

    /// Returns the live tickets for this purpose and recipient.
    pub async fn live(
        conn: &impl ConnectionTrait,
        purpose: TicketPurpose,
        recipient: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Vec<Model>, DbErr> {
        let found = Self::find().filter(COLUMN.recipient.eq(recipient.to_vec())).filter(COLUMN.purpose.eq(purpose));
        found.filter(COLUMN.expires_at.gt(now)).filter(unspent()).all(conn).await
    }

    /// Makes the tickets void that are not spent and were issued to the same user for the same purpose after this one.
    pub async fn void_later(tx: &impl ConnectionTrait, ticket: &Model, now: DateTime<Utc>) -> Result<(), DbErr> {
        let void = Self::update_many().col_expr(Column::VoidAt, Expr::value(now)).filter(COLUMN.user_id.eq(ticket.user_id));
        let void = void.filter(COLUMN.purpose.eq(ticket.purpose)).filter(COLUMN.created_at.gte(ticket.created_at));
        void.filter(unspent()).exec(tx).await.map(drop)
    }

    /// Makes the tickets of a user void that are not spent and serve one of these purposes.
    pub async fn void(
        tx: &impl ConnectionTrait,
        user: UserId,
        purposes: impl IntoIterator<Item = TicketPurpose>,
        now: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        let void = Self::update_many().col_expr(Column::VoidAt, Expr::value(now)).filter(COLUMN.user_id.eq(user));
        void.filter(COLUMN.purpose.is_in(purposes)).filter(unspent()).exec(tx).await.map(drop)
    }

    /// Makes every ticket void that is not spent.
    pub async fn void_all(tx: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), DbErr> {
        Self::update_many().col_expr(Column::VoidAt, Expr::value(now)).filter(unspent()).exec(tx).await.map(drop)
    }

    /// Makes the tickets of a recipient void that belong to no account and have these purposes.
    pub async fn void_of_recipient(
        tx: &impl ConnectionTrait,
        recipient: &[u8],
        purposes: impl IntoIterator<Item = TicketPurpose>,
        now: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        let void = Self::update_many().col_expr(Column::VoidAt, Expr::value(now)).filter(COLUMN.recipient.eq(recipient.to_vec()));
        let void = void.filter(COLUMN.purpose.is_in(purposes)).filter(COLUMN.user_id.is_null()).filter(unspent());
        void.exec(tx).await.map(drop)
    }

    /// Deletes the tickets of a user.
    pub async fn delete_of_user(tx: &impl ConnectionTrait, user: UserId) -> Result<(), DbErr> {
        Self::delete_many().filter(COLUMN.user_id.eq(user)).exec(tx).await.map(drop)
    }

    /// Deletes the tickets of these recipients that belong to no account and were made by this time.
    pub async fn delete_of_recipients(
        tx: &impl ConnectionTrait,
        recipients: Vec<Vec<u8>>,
        until: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        let deleted = Self::delete_many().filter(Column::Recipient.is_in(recipients)).filter(COLUMN.user_id.is_null());
        deleted.filter(COLUMN.created_at.lte(until)).exec(tx).await.map(drop)
    }
}
