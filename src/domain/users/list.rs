//! Lists of users: filtered, searched, in an order, a page at a time.

use sea_orm::{Condition, EntityTrait, Order, QueryFilter, QueryTrait, Select, Value};

use super::account::User;
use crate::{
    app::App,
    domain::paging::{Paging, Slice},
    entity::user::{self, ProfileWithRoles},
    error::Result,
    values::ids::UserId,
};

mod matching;
#[cfg(test)]
mod tests;

pub use matching::Filter;
use matching::{Window, matching};

/// The maximum number that [`count`] returns.
pub const MOST_COUNTED: u32 = 10_000;

/// The order of a list of users. An index serves each order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
    /// By e-mail address.
    Email,
    /// By e-mail address, descending.
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

/// Returns a page of the users whom the filter matches. A cursor of another list is a fault of `cursor`.
pub async fn list(app: &App, filter: &Filter, sort: Sort, paging: &Paging) -> Result<Slice<User>> {
    let db = app.db.read();
    let window = window(app, sort, paging)?;
    let rows = rows(matching(db, filter, &window).await?, &window);
    let rows: Vec<ProfileWithRoles> = rows.into_partial_model().all(db).await?;
    let page = match sort {
        Sort::Newest | Sort::Oldest => paging.slice(app, sort.list(), rows, |row| row.profile.id),
        Sort::Email | Sort::EmailDescending => paging.slice(app, sort.list(), rows, |row| row.profile.email.clone()),
    };
    Ok(page.map(User::from))
}

/// Returns the number of users whom the filter matches; `None` if there are more than [`MOST_COUNTED`].
pub async fn count(app: &App, filter: &Filter) -> Result<Option<u32>> {
    matching::count(app.db.read(), filter, MOST_COUNTED).await
}

/// Returns the part of the list that a page shows. An id begins with the time at which the account was created, so the order
/// of the primary key is the order of creation.
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
    window.cut(QueryTrait::query(&mut query), window.key());
    query
}
