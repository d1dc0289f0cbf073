//! Users, as an administrator sees them.

use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, ConnectionTrait, EntityTrait, ExprTrait, Order, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, Value,
    sea_query::{Expr, Func},
};

use super::paging::{Paging, Slice};
use crate::{
    app::App,
    entity::{
        user::{self, Profile, Status},
        user_role,
    },
    error::{Error, Result},
    live::database::Transaction,
    values::{identifier::Identifier, ids::UserId, query::Search, role_name::RoleName},
};

#[cfg(test)]
mod tests;

/// So many matches of a search are few.
const FEW: u64 = 1_000;

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
    /// The beginning of the e-mail address or the username, in any letter case.
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
    let matching = matching(db, filter).await?;
    let rows: Vec<Profile> = rows(app, matching, sort, paging)?.into_partial_model().all(db).await?;
    let page = match sort {
        Sort::Newest | Sort::Oldest => paging.slice(app, sort.list(), rows, |it| it.id),
        Sort::Email | Sort::EmailDescending => paging.slice(app, sort.list(), rows, |it| it.email.clone()),
    };
    let mut roles = user_role::Entity::of_each(db, page.items.iter().map(|it| it.id)).await?;
    Ok(page.map(|profile| User { roles: roles.remove(&profile.id).unwrap_or_default(), profile }))
}

/// The rows of a page, and the one that tells of another. An id begins with the moment the account was made, so
/// the primary key is in the order of creation.
fn rows(app: &App, matching: Condition, sort: Sort, paging: &Paging) -> Result<Select<user::Entity>> {
    let (column, order) = sort.order();
    let position: Option<Value> = match sort {
        Sort::Newest | Sort::Oldest => paging.position::<UserId>(app, sort.list())?.map(Value::from),
        Sort::Email | Sort::EmailDescending => paging.position::<String>(app, sort.list())?.map(Value::from),
    };
    let mut query = user::Entity::find().filter(matching).limit(paging.rows());
    if let Some(position) = position {
        query = query.filter(if order == Order::Asc { column.gt(position) } else { column.lt(position) });
    }
    Ok(query.order_by(column, order))
}

/// Whom a filter lets through. What few match is looked up first, by the index for it, and those are named one by one;
/// what many match is asked of each user on a walk along the list's own index, which soon meets a page of them. Either way
/// alone would read all of a big table for some questions.
async fn matching(db: &impl ConnectionTrait, filter: &Filter) -> Result<Condition> {
    let id = || Expr::col((user::Entity, user::Column::Id));
    let (email, username) = (Expr::col(user::Column::Email), Expr::col(user::Column::Username));
    let (mut all, mut is_narrow) = (Condition::all(), false);
    if let Some(search) = &filter.search {
        let names = user::Entity::find().filter(begins(search, email.clone(), username.clone()));
        let few: Vec<UserId> = names.select_only().column(user::Column::Id).limit(FEW + 1).into_tuple().all(db).await?;
        is_narrow |= few.len() as u64 <= FEW;
        // `lower` changes nothing, but keeps the indexes of the names out of it.
        let each = || begins(search, Func::lower(email).into(), Func::lower(username).into());
        all = if few.len() as u64 <= FEW { all.add(id().is_in(few)) } else { all.add(each()) };
    }
    if let Some(role) = &filter.role {
        let holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
        let holders = holders.filter(user_role::COLUMN.role.eq(role.as_str()));
        let few: Vec<UserId> = holders.clone().limit(FEW + 1).into_tuple().all(db).await?;
        is_narrow |= few.len() as u64 <= FEW;
        let holds = || holders.filter(Expr::col((user_role::Entity, user_role::Column::UserId)).eq(id())).into_query();
        all = if few.len() as u64 <= FEW { all.add(id().is_in(few)) } else { all.add(Expr::exists(holds())) };
    }
    if let Some(status) = filter.status {
        let column = Expr::col(user::Column::Status);
        let column = if is_narrow { Func::lower(column).into() } else { column };
        all = all.add(column.eq(status.to_value()));
    }
    Ok(all)
}

/// Whether one of two names begins with this. A range, so that indexes serve it; both are lower-case ASCII.
fn begins(search: &Search, email: Expr, username: Expr) -> Condition {
    let (from, to) = (search.as_str(), format!("{search}\u{7f}"));
    let within = |name: Expr| name.clone().gte(from).and(name.lt(to.as_str()));
    Condition::any().add(within(email)).add(within(username))
}

/// One user.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn read(app: &App, id: UserId) -> Result<User> {
    let db = app.db.read();
    let profile: Option<Profile> = user::Entity::find_by_id(id).into_partial_model().one(db).await?;
    let profile = profile.ok_or(Error::NotFound)?;
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
