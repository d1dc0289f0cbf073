//! The state of the installation: one row.

use chrono::{DateTime, Utc};
use sea_orm::{IntoActiveModel, QuerySelect, entity::prelude::*};

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
}

fn missing() -> DbErr {
    DbErr::RecordNotFound("the table `installation` has lost its row".into())
}

impl Model {
    /// Writes every column.
    pub async fn write<C: ConnectionTrait>(self, tx: &C) -> Result<(), DbErr> {
        self.into_active_model().reset_all().update(tx).await.map(drop)
    }
}
