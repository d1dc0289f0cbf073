//! The state of the installation: one row.

use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, IntoActiveModel, QuerySelect, entity::prelude::*, sea_query::Expr};

use crate::values::counters::FeedPosition;

/// The installation.
#[sea_orm::model]
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    /// Always `1`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    /// The `iss` claim of its tokens, if the settings name it.
    pub issuer: Option<String>,
    /// The newest time that a server trusted. Absent until the first server runs.
    pub newest_at: Option<DateTime<Utc>>,
    /// The time of a clock in doubt at the last check.
    pub doubted_at: Option<DateTime<Utc>>,
    /// The number of seconds for which that clock has kept pace with uptime.
    pub watched_for: i64,
    /// How many times an operator has confirmed that the clock is right.
    pub accepted: i64,
    /// Audit events before this time may carry a date that is far too old.
    pub behind_at: Option<DateTime<Utc>>,
    /// Revocations that expired before this time were deleted, by the clock of any server.
    pub purged_before: Option<DateTime<Utc>>,
    /// Which restore the data comes from; absent if they were never restored. Whatever a process remembers of another generation
    /// is wrong.
    pub generation: Option<Uuid>,
    /// When the generation began: a whole second. Whatever was issued earlier is no longer valid.
    pub not_before: Option<DateTime<Utc>>,
    /// In a backup, when it was made. Absent elsewhere.
    pub backed_up_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The id of the one row.
const ID: i64 = 1;

impl Entity {
    /// Returns the row; `RecordNotFound` if it was deleted.
    pub async fn row<C: ConnectionTrait>(conn: &C) -> Result<Model, DbErr> {
        Self::find_by_id(ID).one(conn).await?.ok_or_else(missing)
    }

    /// Returns the row, locked until the transaction ends.
    pub async fn locked<C: ConnectionTrait>(tx: &C) -> Result<Model, DbErr> {
        Self::find_by_id(ID).lock_exclusive().one(tx).await?.ok_or_else(missing)
    }

    /// Returns what the follower of the revocation feed compares with its memory, in one statement.
    pub async fn feed_state<C: ConnectionTrait>(conn: &C) -> Result<FeedState, DbErr> {
        let (is_standby, last, tables) = match conn.get_database_backend() {
            // Before the first number is drawn, `last_value` is 1 all the same.
            DbBackend::Postgres => (
                "pg_is_in_recovery()",
                "(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM revocations_seq_seq)",
                "'revocations'::regclass::oid::bigint",
            ),
            // An open file is never replaced.
            _ => ("FALSE", "COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'revocations'), 0)", "0"),
        };
        let state = Self::find_by_id(ID).select_only().columns([Column::Generation, Column::NotBefore]);
        let state = state.expr_as(Expr::cust(last), "last_position").expr_as(Expr::cust(is_standby), "is_standby");
        let state = state.expr_as(Expr::cust(tables), "tables");
        let (id, not_before, last_position, is_standby, tables) = state.into_tuple().one(conn).await?.ok_or_else(missing)?;
        Ok(FeedState { generation: Generation { id, not_before }, last_position, is_standby, tables })
    }
}

/// What the follower of the revocation feed compares with its memory.
#[derive(Clone, Copy, Debug)]
pub struct FeedState {
    /// The generation of the data, and when it began.
    pub generation: Generation,
    /// The last number of the feed that the database has drawn.
    pub last_position: FeedPosition,
    /// Whether the database is a standby, which may lag behind.
    pub is_standby: bool,
    /// Identifies the tables on PostgreSQL: `pg_restore` creates them anew, and they get another number.
    pub tables: i64,
}

/// A generation of the data: what lies between two restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Its id; absent before the first restore.
    pub id: Option<Uuid>,
    /// When it began; absent before the first restore.
    pub not_before: Option<DateTime<Utc>>,
}

impl Generation {
    /// Returns whether something that was issued at this Unix time was issued before the generation began.
    pub fn is_later_than(&self, issued_at: i64) -> bool {
        self.not_before.is_some_and(|begins| issued_at < begins.timestamp())
    }
}

fn missing() -> DbErr {
    DbErr::RecordNotFound("the table `installation` has lost its row".into())
}

impl Model {
    /// Returns the generation of the data.
    pub fn generation(&self) -> Generation {
        Generation { id: self.generation, not_before: self.not_before }
    }

    /// Writes every column.
    pub async fn write<C: ConnectionTrait>(self, tx: &C) -> Result<(), DbErr> {
        self.into_active_model().reset_all().update(tx).await.map(drop)
    }
}
