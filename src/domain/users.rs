//! Users, as an administrator sees them.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, Order, PaginatorTrait, QueryFilter, QuerySelect, QueryTrait,
    Select, Value, sea_query::Expr,
};

use super::paging::{Paging, Slice};
use crate::{
    app::App,
    entity::{
        user::{self, Profile, Status},
        user_role,
    },
    error::{Error, Missing, Result},
    live::database::Transaction,
    values::{identifier::Identifier, ids::UserId, role_name::RoleName, search::Search},
};

mod matching;
#[cfg(test)]
mod tests;

use matching::{Window, matching};

/// The largest number that [`count`] returns.
pub const MOST_COUNTED: u32 = 10_000;

/// A user with the names of their roles, sorted.
#[derive(Debug, Clone)]
pub struct User {
    /// What the row says, without the password hash.
    pub profile: Profile,
    /// The names of the roles.
    pub roles: Vec<String>,
}

/// Which users to list. An absent member does not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The beginning of the e-mail address, the username or a word of the name.
    pub search: Option<Search>,
    /// A role they hold.
    pub role: Option<RoleName>,
    /// Their status.
    pub status: Option<Status>,
}

/// The order of a list of users. Each has an index behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
    /// By e-mail address.
    Email,
    /// By e-mail address, from the end.
    EmailDescending,
}

impl Sort {
    const fn list(self) -> &'static str {
        match self {
            Self::Newest => "users newest",
            Self::Oldest => "users oldest",
            Self::Email => "users email",
            Self::EmailDescending => "users email descending",
        }
    }

    const fn order(self) -> (user::Column, Order) {
        match self {
            Self::Newest => (user::Column::Id, Order::Desc),
            Self::Oldest => (user::Column::Id, Order::Asc),
            Self::Email => (user::Column::Email, Order::Asc),
            Self::EmailDescending => (user::Column::Email, Order::Desc),
        }
    }
}

/// One page of users.
///
/// # Errors
/// A fault of `cursor`; or when the database fails.
pub async fn list(app: &App, filter: &Filter, sort: Sort, paging: &Paging) -> Result<Slice<User>> {
    let db = app.db.read();
    let window = window(app, sort, paging)?;
    let rows = rows(matching(db, filter, &window).await?, &window);
    let rows: Vec<Profile> = rows.into_partial_model().all(db).await?;
    let page = match sort {
        Sort::Newest | Sort::Oldest => paging.slice(app, sort.list(), rows, |it| it.id),
        Sort::Email | Sort::EmailDescending => paging.slice(app, sort.list(), rows, |it| it.email.clone()),
    };
    let mut roles = user_role::Entity::of_each(db, page.items.iter().map(|it| it.id)).await?;
    Ok(page.map(|profile| User { roles: roles.remove(&profile.id).unwrap_or_default(), profile }))
}

/// The number of users whom the filter matches; `None` if there are more than [`MOST_COUNTED`].
///
/// # Errors
/// When the database fails.
pub async fn count(app: &App, filter: &Filter) -> Result<Option<u32>> {
    matching::count(app.db.read(), filter, MOST_COUNTED).await
}

/// The part of the list that a page shows. An id begins with the time at which the account was created, so the primary key
/// is in the order of creation.
fn window(app: &App, sort: Sort, paging: &Paging) -> Result<Window> {
    let (column, order) = sort.order();
    let position = match sort {
        Sort::Newest | Sort::Oldest => paging.position::<UserId>(app, sort.list())?.map(Value::from),
        Sort::Email | Sort::EmailDescending => paging.position::<String>(app, sort.list())?.map(Value::from),
    };
    Ok(Window { column, order, position, rows: paging.rows() })
}

fn rows(matching: Condition, window: &Window) -> Select<user::Entity> {
    let mut query = user::Entity::find().filter(matching);
    window.cut(QueryTrait::query(&mut query), Expr::col((user::Entity, window.column)));
    query
}

/// One user.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn read(app: &App, id: UserId) -> Result<User> {
    let db = app.db.read();
    let profile: Option<Profile> = user::Entity::find_by_id(id).into_partial_model().one(db).await?;
    let profile = profile.ok_or(Error::NotFound(Missing::User))?;
    Ok(User { roles: user_role::Entity::of(db, id).await?, profile })
}

/// The account somebody means at log-in or at the command line, with its password hash.
///
/// # Errors
/// When the database fails.
pub async fn by_identifier(app: &App, identifier: &Identifier) -> Result<Option<user::Model>> {
    let name = match identifier {
        Identifier::Email(email) => email.as_str(),
        Identifier::Username(username) => username.as_str(),
        Identifier::Unknown => return Ok(None),
    };
    Ok(user::Entity::by_identifier(name).one(app.db.read()).await?)
}

/// Goes on only if an active administrator is left after this transaction took an account away that held the roles
/// `lost`. It must hold [`super::caller::lock_administration`], or two administrators could remove each other at once.
///
/// # Errors
/// [`Error::LastAdmin`].
pub async fn keep_an_administrator(tx: &Transaction, lost: &[String]) -> Result<()> {
    // Where there never was an administrator, nobody else is the last one.
    let was_administrator = lost.iter().any(|role| role == RoleName::ADMIN);
    if was_administrator && !any_administrator(tx).await? { Err(Error::LastAdmin) } else { Ok(()) }
}

/// Whether there is an active administrator.
///
/// # Errors
/// When the database fails.
pub async fn any_administrator(db: &impl ConnectionTrait) -> Result<bool> {
    let holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
    let holders = holders.filter(user_role::COLUMN.role.eq(RoleName::ADMIN)).into_query();
    let active = user::COLUMN.status.eq(Status::Active).and(user::COLUMN.id.in_subquery(holders));
    Ok(user::Entity::find().filter(active).limit(1).count(db).await? > 0)
}
