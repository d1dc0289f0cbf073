//! Invitations: people whom an administrator has invited to create an account. The link in the mail is that of a ticket.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use super::json::JsonText;
use crate::values::{
    ids::{InvitationId, UserId},
    language::Language,
    role_name::RoleName,
};

/// An invitation. An address has one at most that was not accepted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invitations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    /// The canonical address.
    pub email: String,
    /// The person's name.
    pub name: Option<String>,
    /// The names of the account's first roles, as a JSON list. Some may have been deleted since.
    pub roles: JsonText,
    pub language: Option<Language>,
    /// The administrator, whose account may have been deleted since.
    pub created_by: UserId,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub accepted_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns the names of the account's first roles.
    pub fn roles(&self) -> Result<Vec<RoleName>, serde_json::Error> {
        serde_json::from_value(self.roles.0.clone())
    }
}

impl Entity {
    /// Returns the invitation of this address that was not accepted. It may have expired.
    pub async fn pending(tx: &impl ConnectionTrait, email: &str) -> Result<Option<Model>, DbErr> {
        Self::find().filter(COLUMN.email.eq(email)).filter(COLUMN.accepted_at.is_null()).one(tx).await
    }

    /// Deletes the invitations of these addresses that were made by this time.
    pub async fn delete_of(
        tx: &impl ConnectionTrait,
        addresses: impl IntoIterator<Item = String>,
        until: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        let deleted = Self::delete_many().filter(COLUMN.email.is_in(addresses));
        deleted.filter(COLUMN.created_at.lte(until)).exec(tx).await.map(drop)
    }
}
