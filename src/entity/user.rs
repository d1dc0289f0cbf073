//! Users: who has an account, and all that is known of them but their roles.

use chrono::{DateTime, Utc};
use sea_orm::{
    DerivePartialModel, QuerySelect, Select, SqlErr, TryIntoModel,
    entity::prelude::*,
    sea_query::{Expr, Func},
};

use super::user_word;
use crate::values::{
    counters::{Epoch, Revision},
    ids::UserId,
    password_hash::PasswordHash,
};

/// A user. `email` and `username` are canonical (`values/email`, `values/username`): equal ones are equal bytes.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    #[sea_orm(unique)]
    pub email: String,
    #[sea_orm(unique)]
    pub username: Option<String>,
    pub name: Option<String>,
    pub status: Status,
    /// Absent: nobody can log in with a password.
    pub password_hash: Option<PasswordHash>,
    /// The least `epoch` a token of this user must carry.
    pub epoch: Epoch,
    /// Counts the changes of what a reader sees of this user; the source of the ETag.
    pub revision: Revision,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
    #[sea_orm(has_many)]
    pub sessions: HasMany<super::session::Entity>,
    #[sea_orm(has_many, via = "user_role")]
    pub roles: HasMany<super::role::Entity>,
}

/// A user and the words under which a search finds them are written together, whoever writes the user.
#[async_trait::async_trait]
impl ActiveModelBehavior for ActiveModel {
    async fn before_save<C: ConnectionTrait>(self, conn: &C, insert: bool) -> Result<Self, DbErr> {
        let are_words_new = self.email.is_set() || self.name.is_set();
        if are_words_new && !insert {
            let user = self.clone().try_into_model()?;
            user_word::replace(conn, user.id, &user.email, user.name.as_deref()).await?;
        }
        Ok(self)
    }

    async fn after_save<C: ConnectionTrait>(user: Model, conn: &C, insert: bool) -> Result<Model, DbErr> {
        if insert {
            user_word::add(conn, user.id, &user.email, user.name.as_deref()).await?;
        }
        Ok(user)
    }
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    Active,
    Disabled,
}

/// What others may see of a user. A query for it leaves the password hash in the database:
/// `user::Entity::find().into_partial_model::<user::Profile>()`.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity", from_query_result)]
pub struct Profile {
    pub id: UserId,
    pub email: String,
    pub username: Option<String>,
    pub name: Option<String>,
    pub status: Status,
    pub revision: Revision,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
}

impl From<Model> for Profile {
    fn from(user: Model) -> Self {
        Self {
            id: user.id,
            email: user.email,
            username: user.username,
            name: user.name,
            status: user.status,
            revision: user.revision,
            created_at: user.created_at,
            updated_at: user.updated_at,
            last_login_at: user.last_login_at,
        }
    }
}

impl Entity {
    /// The user with this canonical email or username. An email has an `@`, a username never.
    #[must_use]
    pub fn by_identifier(identifier: &str) -> Select<Self> {
        if identifier.contains('@') {
            Self::find().filter(COLUMN.email.eq(identifier))
        } else {
            Self::find().filter(COLUMN.username.eq(identifier))
        }
    }

    /// The beginning of every stored password hash, once each: enough to read its cost.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn password_hash_prefixes<C: ConnectionTrait>(conn: &C) -> Result<Vec<String>, DbErr> {
        let beginning = Func::cust("substr").arg(Expr::col(Column::PasswordHash)).arg(1).arg(PasswordHash::PREFIX);
        let rows = Self::find().select_only().distinct().expr_as(beginning, "beginning");
        rows.filter(COLUMN.password_hash.is_not_null()).into_tuple().all(conn).await
    }

    /// Reads a user and keeps others from changing the row until the transaction ends.
    /// On SQLite the transaction itself does: there is one writer.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn locked(tx: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>, DbErr> {
        Self::find_by_id(id).lock_exclusive().one(tx).await
    }
}

/// What another user has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameConflict {
    Email,
    Username,
}

impl NameConflict {
    /// Reads it from the error that an insert or an update of a user gave; `None` for any other error.
    #[must_use]
    pub fn from_error(error: &DbErr) -> Option<Self> {
        let Some(SqlErr::UniqueConstraintViolation(message)) = error.sql_err() else {
            return None;
        };
        // SQLite names the column, PostgreSQL the index.
        let names = |column: &str, index: &str| message.contains(column) || message.contains(index);
        if names("users.email", "\"users_email\"") {
            Some(Self::Email)
        } else if names("users.username", "\"users_username\"") {
            Some(Self::Username)
        } else {
            None
        }
    }
}
