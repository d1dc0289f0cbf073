//! Users, as an administrator sees them.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait, ExprTrait, Order, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait,
};

use super::paging::{Paging, Slice};
use crate::{
    app::App,
    entity::{
        user::{self, Profile, Status},
        user_role,
    },
    error::{Error, Result},
    values::{identifier::Identifier, ids::UserId, query::Search, role_name::RoleName},
};

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
}

/// One page of users.
///
/// # Errors
/// A fault of `cursor`; or when the database fails.
pub async fn list(app: &App, filter: &Filter, sort: Sort, paging: &Paging) -> Result<Slice<User>> {
    let db = app.db.read();
    let mut query = user::Entity::find().filter(matching(filter)).limit(paging.rows());
    query = match sort {
        Sort::Newest | Sort::Oldest => {
            let order = if sort == Sort::Newest { Order::Desc } else { Order::Asc };
            if let Some((at, id)) = paging.position::<(DateTime<Utc>, UserId)>(app, sort.list())? {
                let (beyond, tied) = match sort {
                    Sort::Newest => (user::COLUMN.created_at.lt(at), user::COLUMN.id.lt(id)),
                    _ => (user::COLUMN.created_at.gt(at), user::COLUMN.id.gt(id)),
                };
                query = query
                    .filter(Condition::any().add(beyond).add(Condition::all().add(user::COLUMN.created_at.eq(at)).add(tied)));
            }
            query.order_by(user::Column::CreatedAt, order.clone()).order_by(user::Column::Id, order)
        }
        Sort::Email | Sort::EmailDescending => {
            let order = if sort == Sort::Email { Order::Asc } else { Order::Desc };
            if let Some(email) = paging.position::<String>(app, sort.list())? {
                let beyond = if sort == Sort::Email { user::COLUMN.email.gt(email) } else { user::COLUMN.email.lt(email) };
                query = query.filter(beyond);
            }
            query.order_by(user::Column::Email, order)
        }
    };
    let rows: Vec<Profile> = query.into_partial_model().all(db).await?;
    let page = match sort {
        Sort::Newest | Sort::Oldest => paging.slice(app, sort.list(), rows, |it| (it.created_at, it.id)),
        Sort::Email | Sort::EmailDescending => paging.slice(app, sort.list(), rows, |it| it.email.clone()),
    };
    let mut roles = user_role::Entity::of_each(db, page.items.iter().map(|it| it.id)).await?;
    Ok(page.map(|profile| User { roles: roles.remove(&profile.id).unwrap_or_default(), profile }))
}

fn matching(filter: &Filter) -> Condition {
    let mut all = Condition::all();
    if let Some(status) = filter.status {
        all = all.add(user::COLUMN.status.eq(status));
    }
    if let Some(role) = &filter.role {
        let holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
        all = all.add(user::COLUMN.id.in_subquery(holders.filter(user_role::COLUMN.role.eq(role.as_str())).into_query()));
    }
    if let Some(search) = &filter.search {
        // A range, so that the unique indexes serve it; both columns are lower-case ASCII.
        let (from, to) = (search.as_str(), format!("{search}\u{7f}"));
        let email = user::COLUMN.email.gte(from).and(user::COLUMN.email.lt(to.as_str()));
        let username = user::COLUMN.username.gte(from).and(user::COLUMN.username.lt(to.as_str()));
        all = all.add(email.or(username));
    }
    all
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
pub async fn keep_an_administrator(tx: &DatabaseTransaction, lost: &[String]) -> Result<()> {
    // Where there never was an administrator, nobody else is the last one.
    let was_administrator = lost.iter().any(|role| role == RoleName::ADMIN);
    if was_administrator && !any_administrator(tx).await? { Err(Error::LastAdmin) } else { Ok(()) }
}

/// Whether there is an active administrator.
///
/// # Errors
/// When the database fails.
pub async fn any_administrator(db: &impl ConnectionTrait) -> Result<bool> {
    let administrators = Filter { role: Some(RoleName::admin()), status: Some(Status::Active), search: None };
    Ok(user::Entity::find().filter(matching(&administrators)).limit(1).count(db).await? > 0)
}
