//! Accounts that were closed or deleted, until the person is erased. The row of the user is gone; this one remembers by which names
//! the person can still be found.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*, sea_query::OnConflict};

use super::user;
use crate::values::{identifier::Identifier, ids::UserId};

/// A closed account.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "closed_accounts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    /// The last address. Absent once the person is erased, and if the account was closed before the service recorded that.
    pub email: Option<String>,
    /// The last username.
    pub username: Option<String>,
    pub closed_at: DateTime<Utc>,
    /// When the person is to be erased. Absent if the settings decide that.
    pub due_at: Option<DateTime<Utc>>,
    /// Whether the person was erased. The row remains for a while, because a request that began before may still write an event.
    pub erased: bool,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the row of an account that is being closed.
    pub fn of(user: &user::Model, now: DateTime<Utc>) -> Self {
        Self {
            id: user.id,
            email: Some(user.email.clone()),
            username: user.username.clone(),
            closed_at: now,
            due_at: None,
            erased: false,
        }
    }
}

impl Entity {
    /// Returns the accounts with this last address or username, in the order in which the accounts were created.
    pub async fn named(conn: &impl ConnectionTrait, identifier: &Identifier) -> Result<Vec<Model>, DbErr> {
        let named = match identifier {
            Identifier::Email(email) => COLUMN.email.eq(email.as_str()),
            Identifier::Username(username) => COLUMN.username.eq(username.as_str()),
            Identifier::Malformed => return Ok(Vec::new()),
        };
        Self::find().filter(named).order_by_asc(COLUMN.id).all(conn).await
    }

    /// Returns a closed account, with the row locked until the transaction ends.
    pub async fn locked(tx: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>, DbErr> {
        Self::find_by_id(id).lock_exclusive().one(tx).await
    }

    /// Returns the accounts, at most `count`, whose own time has come.
    pub async fn due(conn: &impl ConnectionTrait, now: DateTime<Utc>, count: u64) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.due_at.lte(now)).order_by_asc(COLUMN.due_at).limit(count).all(conn).await
    }

    /// Returns the accounts, at most `count`, that were closed before a time and have no time of their own.
    pub async fn closed_before(conn: &impl ConnectionTrait, time: DateTime<Utc>, count: u64) -> Result<Vec<Model>, DbErr> {
        let closed = Self::find().filter(COLUMN.due_at.is_null()).filter(COLUMN.closed_at.lte(time));
        closed.order_by_asc(COLUMN.closed_at).limit(count).all(conn).await
    }

    /// Returns the first accounts after this one, at most `count`, in the order of their ids.
    pub async fn page_after(conn: &impl ConnectionTrait, last: Option<UserId>, count: u64) -> Result<Vec<Model>, DbErr> {
        let accounts = match last {
            Some(last) => Self::find().filter(COLUMN.id.gt(last)),
            None => Self::find(),
        };
        accounts.order_by_asc(COLUMN.id).limit(count).all(conn).await
    }

    /// Inserts accounts. Of one that is there already, sets only when it is to be erased and whether it was.
    pub async fn put(tx: &impl ConnectionTrait, accounts: impl IntoIterator<Item = Model>) -> Result<(), DbErr> {
        let over = OnConflict::column(Column::Id).update_columns([Column::DueAt, Column::Erased]).to_owned();
        let rows = accounts.into_iter().map(ActiveModel::from);
        Self::insert_many(rows).on_conflict(over).exec_without_returning(tx).await.map(drop)
    }
}
