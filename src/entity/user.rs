//! Users: the accounts, without their roles.

use chrono::{DateTime, Utc};
use sea_orm::{
    DerivePartialModel, QueryOrder, QuerySelect, Select, SqlErr, TryIntoModel,
    entity::prelude::*,
    sea_query::{Expr, Func},
};

use super::{user_role, user_word};
use crate::values::{
    authentication::Acr,
    counters::{Epoch, Revision},
    ids::UserId,
    language::Language,
    password_hash::PasswordHash,
    role_name::RoleName,
};

/// A user. `email` and `username` are canonical (`values/email`, `values/username`): equal ones have equal bytes.
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
    /// Absent if the user cannot log in with a password.
    pub password_hash: Option<PasswordHash>,
    /// The minimum epoch that the user's tokens must carry.
    pub epoch: Epoch,
    /// The number of changes that a reader can see. The ETag is made from it.
    pub revision: Revision,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
    /// Whether the user has proven that the address is theirs, or an administrator vouches for it.
    pub email_verified: bool,
    /// The language in which the user wants to read mails.
    pub language: Option<Language>,
    /// The address that the user wants, until its mailbox confirms it.
    pub pending_email: Option<String>,
    /// When the user was last told of a log-in with a new browser.
    pub sign_in_notice_at: Option<DateTime<Utc>>,
    /// Whether the user holds a second factor. Changes together with `epoch`.
    pub second_factor: bool,
    #[sea_orm(has_many)]
    pub sessions: HasMany<super::session::Entity>,
    #[sea_orm(has_many, via = "user_role")]
    pub roles: HasMany<super::role::Entity>,
}

impl Model {
    /// Returns the best level at which the user can be authenticated: the claim `acr_max` of their access tokens.
    pub fn best_acr(&self) -> Acr {
        if self.second_factor { Acr::Two } else { Acr::One }
    }
}

/// Every write of a user also writes the words under which a search finds the user.
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

/// The status of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    Active,
    Disabled,
}

/// The columns of a user that others may see. A query for a profile does not read the password hash:
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
    pub email_verified: bool,
    pub language: Option<Language>,
    pub pending_email: Option<String>,
    pub second_factor: bool,
}

/// A profile with the roles that the user holds.
#[derive(Clone, Debug, DerivePartialModel)]
#[sea_orm(entity = "Entity", from_query_result)]
pub struct ProfileWithRoles {
    #[sea_orm(nested)]
    pub profile: Profile,
    /// The names of the roles, separated by spaces, in no order.
    #[sea_orm(from_expr = "user_role::names()")]
    roles: Option<String>,
}

impl ProfileWithRoles {
    /// Returns the names of the roles, sorted by their bytes.
    pub fn roles(&self) -> Vec<RoleName> {
        let mut roles: Vec<_> = self.roles.iter().flat_map(|names| names.split(' ')).map(RoleName::stored).collect();
        roles.sort_unstable();
        roles
    }
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
            email_verified: user.email_verified,
            language: user.language,
            pending_email: user.pending_email,
            second_factor: user.second_factor,
        }
    }
}

impl Entity {
    /// Selects the user with this canonical e-mail address or username. Only an address contains an `@`.
    pub fn by_identifier(identifier: &str) -> Select<Self> {
        if identifier.contains('@') {
            Self::find().filter(COLUMN.email.eq(identifier))
        } else {
            Self::find().filter(COLUMN.username.eq(identifier))
        }
    }

    /// Returns the profiles of the users with these ids, in any order.
    pub async fn profiles(conn: &impl ConnectionTrait, ids: &[UserId]) -> Result<Vec<ProfileWithRoles>, DbErr> {
        Self::find().filter(COLUMN.id.is_in(ids.iter().copied())).into_partial_model().all(conn).await
    }

    /// Returns the users with these ids, in any order.
    pub async fn with_ids(conn: &impl ConnectionTrait, ids: &[UserId]) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.id.is_in(ids.iter().copied())).all(conn).await
    }

    /// Returns the first users whose ids come after `last`, in their order.
    pub async fn page_after(conn: &impl ConnectionTrait, last: Option<UserId>, limit: u64) -> Result<Vec<Model>, DbErr> {
        let mut query = Self::find();
        if let Some(last) = last {
            query = query.filter(COLUMN.id.gt(last));
        }
        query.order_by_asc(COLUMN.id).limit(limit).all(conn).await
    }

    /// Returns the prefixes of the stored password hashes, once each: enough to read the costs.
    pub async fn password_hash_prefixes<C: ConnectionTrait>(conn: &C) -> Result<Vec<String>, DbErr> {
        let beginning = Func::cust("substr").arg(Expr::col(Column::PasswordHash)).arg(1).arg(PasswordHash::PREFIX);
        let rows = Self::find().select_only().distinct().expr_as(beginning, "beginning");
        rows.filter(COLUMN.password_hash.is_not_null()).into_tuple().all(conn).await
    }

    /// Returns a user, with the row locked until the transaction ends. SQLite needs no lock, because it has only one writer.
    pub async fn locked(tx: &impl ConnectionTrait, id: UserId) -> Result<Option<Model>, DbErr> {
        Self::find_by_id(id).lock_exclusive().one(tx).await
    }
}

/// A name that another user already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameConflict {
    Email,
    Username,
}

impl NameConflict {
    /// Reads the conflict from the error of an insert or an update of a user; `None` for any other error.
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
