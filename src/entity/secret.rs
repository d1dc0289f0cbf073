//! Secrets that all replicas share, such as the password pepper. They are sealed under the master key.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

/// A sealed secret.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// Bound to `name`, so that two rows cannot be swapped.
    pub sealed: Vec<u8>,
    pub created_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}
