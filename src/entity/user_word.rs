//! The words of users: the texts under which a search finds a user. The e-mail address and the username have indexes of their
//! own. Writing a user also writes the words (`entity/user`), and deleting the user deletes them.

use sea_orm::{ActiveValue::Set, FromQueryResult, QueryOrder, QuerySelect, entity::prelude::*};

use super::user;
use crate::values::{ids::UserId, search};

/// A text under which a search finds a user.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_words")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// The text as [`search::index_terms`] returns it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub word: String,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The maximum number of users or words in one statement.
const BATCH: usize = 1_000;

/// Replaces the words of a user with those of this address and name.
pub(super) async fn replace<C: ConnectionTrait>(conn: &C, user_id: UserId, email: &str, name: Option<&str>) -> Result<(), DbErr> {
    Entity::delete_many().filter(COLUMN.user_id.eq(user_id)).exec(conn).await?;
    insert(conn, rows(user_id, email, name)).await
}

/// Inserts the words of a user who has none.
pub(super) async fn add<C: ConnectionTrait>(conn: &C, user_id: UserId, email: &str, name: Option<&str>) -> Result<(), DbErr> {
    insert(conn, rows(user_id, email, name)).await
}

/// Inserts the words of every user into an empty table.
pub async fn fill<C: ConnectionTrait>(conn: &C) -> Result<(), DbErr> {
    let mut last = None;
    loop {
        let users = user::Entity::find().select_only();
        let mut users = users.columns([user::Column::Id, user::Column::Email, user::Column::Name]);
        if let Some(last) = last {
            users = users.filter(user::COLUMN.id.gt(last));
        }
        let users = users.order_by_asc(user::COLUMN.id).limit(BATCH as u64);
        let users: Vec<Named> = users.into_model().all(conn).await?;
        insert(conn, users.iter().flat_map(|user| rows(user.id, &user.email, user.name.as_deref())).collect()).await?;
        match users.last() {
            Some(user) => last = Some(user.id),
            None => return Ok(()),
        }
    }
}

#[derive(FromQueryResult)]
struct Named {
    id: UserId,
    email: String,
    name: Option<String>,
}

fn rows(user_id: UserId, email: &str, name: Option<&str>) -> Vec<ActiveModel> {
    let words = search::index_terms(email, name).into_iter();
    words.map(|word| ActiveModel { user_id: Set(user_id), word: Set(word) }).collect()
}

async fn insert<C: ConnectionTrait>(conn: &C, rows: Vec<ActiveModel>) -> Result<(), DbErr> {
    for batch in rows.chunks(BATCH) {
        Entity::insert_many(batch.to_vec()).exec_without_returning(conn).await?;
    }
    Ok(())
}
