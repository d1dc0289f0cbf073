//! Finds the users that a filter matches, in a table of any size. A search reads ranges of indexes, and a filter by role
//! reads the holders of the role; the page is chosen from their ids. No query examines each user in turn, because that would
//! read the whole table if the matching users come last.

use std::collections::HashSet;

use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, Iterable, JoinType, Order,
    QueryFilter, QuerySelect, QueryTrait, RelationTrait, Value,
    sea_query::{Expr, Func, SelectStatement},
};

use crate::{
    entity::{
        user::{self, Status},
        user_role, user_word,
    },
    error::Result,
    values::{ids::UserId, role_name::RoleName, search::SearchTerm},
};

/// The users to list. An absent member does not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The beginning of the e-mail address, of the username or of a word of the name.
    pub search: Option<SearchTerm>,
    /// A role that the user holds.
    pub role: Option<RoleName>,
    /// The user's status.
    pub status: Option<Status>,
}

/// Up to this number, users are looked up by their ids.
pub(super) const FEW: u64 = 1_000;

/// A part of an ordered list of users: the rows of a page, and one more if there is another page.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) column: user::Column,
    pub(super) order: Order,
    /// The end of the page before.
    pub(super) position: Option<Value>,
    pub(super) rows: u64,
}

impl Window {
    /// Restricts a query to this part. `key` is the column of the order.
    pub(super) fn cut(&self, query: &mut SelectStatement, key: Expr) {
        if let Some(position) = self.position.clone() {
            query.and_where(if self.order == Order::Asc { key.clone().gt(position) } else { key.clone().lt(position) });
        }
        query.order_by_expr(key, self.order.clone()).limit(self.rows);
    }

    fn is_by_id(&self) -> bool {
        matches!(self.column, user::Column::Id)
    }
}

/// Returns the condition for the users in this part of the list.
pub(super) async fn matching(db: &impl ConnectionTrait, filter: &Filter, window: &Window) -> Result<Condition> {
    let mut shown = HashSet::new();
    match (&filter.search, &filter.role) {
        (Some(_), _) => {
            for query in queries(db, filter, Some(window)).await? {
                shown.extend(ids(db, &query).await?);
            }
        }
        (None, Some(role)) if window.is_by_id() => {
            let mut query = holders(db, role, filter.status);
            window.cut(&mut query, holder());
            shown.extend(ids(db, &query).await?);
        }
        (None, Some(role)) => {
            let mut found = ids(db, holders(db, role, filter.status).limit(FEW + 1)).await?;
            if found.len() as u64 > FEW {
                let mut query = user::Entity::find().select_only().column(user::Column::Id).filter(is_one_of(filter.status));
                query = query.filter(plain(id()).in_subquery(holders(db, role, None)));
                window.cut(QueryTrait::query(&mut query), Expr::col((user::Entity, window.column)));
                found = ids(db, &query.into_query()).await?;
            }
            shown.extend(found);
        }
        (None, None) => return Ok(Condition::all().add_option(filter.status.map(has))),
    }
    Ok(Condition::all().add(id().is_in(shown)))
}

/// Returns the number of users whom the filter matches; `None` if there are more than `most`.
pub(super) async fn count(db: &impl ConnectionTrait, filter: &Filter, most: u32) -> Result<Option<u32>> {
    let mut found = HashSet::new();
    for mut query in queries(db, filter, None).await? {
        found.extend(ids(db, query.limit(u64::from(most) + 1)).await?);
        if found.len() > most as usize {
            return Ok(None);
        }
    }
    Ok(u32::try_from(found.len()).ok())
}

async fn ids(db: &impl ConnectionTrait, query: &SelectStatement) -> Result<Vec<UserId>> {
    let rows = db.query_all(query).await?;
    Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?)
}

/// Returns queries for the ids of all users whom the filter matches, or of those in the window. Several queries may return
/// the same user.
pub(super) async fn queries(db: &impl ConnectionTrait, filter: &Filter, window: Option<&Window>) -> Result<Vec<SelectStatement>> {
    let users = || user::Entity::find().select_only().column(user::Column::Id);
    let Some(search) = &filter.search else {
        let users = || users().filter(Condition::all().add_option(filter.status.map(has))).into_query();
        return Ok(vec![filter.role.as_ref().map_or_else(users, |role| holders(db, role, filter.status))]);
    };
    let mut queries = Vec::new();
    for (mut query, mut user) in ranges(db, search, filter.status, window) {
        if let Some(role) = &filter.role {
            let few = ids(db, query.clone().limit(FEW + 1)).await?;
            if few.len() as u64 <= FEW {
                (query, user) = (users().filter(id().is_in(few)).filter(holds(db, role)).into_query(), id());
            } else {
                // Not `holds`: the set of the holders is faster than a subquery for each of many users.
                query.and_where(user.clone().in_subquery(holders(db, role, None)));
            }
        }
        if let Some(window) = window {
            // Without an index on the order: the database would read that index from end to end.
            let key = if window.is_by_id() { user } else { Expr::col((user::Entity, window.column)) };
            window.cut(&mut query, plain(key));
        }
        queries.push(query);
    }
    Ok(queries)
}

/// Returns queries for the ranges of indexes in which a search finds users, each with its column of the user's id.
fn ranges(
    db: &impl ConnectionTrait,
    search: &SearchTerm,
    status: Option<Status>,
    window: Option<&Window>,
) -> Vec<(SelectStatement, Expr)> {
    let named = |column, beginning: &str| {
        let query = user::Entity::find().select_only().column(user::Column::Id);
        (query.filter(is_one_of(status)).filter(begins(Expr::col((user::Entity, column)), beginning)).into_query(), id())
    };
    let mut ranges = vec![named(user::Column::Username, search.text())];
    ranges.extend(search.address_prefix().map(|beginning| named(user::Column::Email, beginning)));

    let mut words = user_word::Entity::find().select_only().column(user_word::Column::UserId);
    words = words.filter(begins(Expr::col((user_word::Entity, user_word::Column::Word)), search.text()));
    if status.is_some() || window.is_some_and(|window| !window.is_by_id()) {
        words = words.join(JoinType::InnerJoin, user_word::Relation::User.def());
    }
    if let Some(status) = status {
        words = words.filter(of_those_has(db, status));
    }
    ranges.push((words.into_query(), Expr::col((user_word::Entity, user_word::Column::UserId))));
    ranges
}

/// Returns a query for the ids of the users who hold a role, and have this status if one is given.
fn holders(db: &impl ConnectionTrait, role: &RoleName, status: Option<Status>) -> SelectStatement {
    let mut holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
    if let Some(status) = status {
        holders = holders.join(JoinType::InnerJoin, user_role::Relation::User.def()).filter(of_those_has(db, status));
    }
    holders.filter(user_role::COLUMN.role.eq(role.as_str())).into_query()
}

/// The condition that a user holds the role.
fn holds(db: &impl ConnectionTrait, role: &RoleName) -> Expr {
    Expr::exists(holders(db, role, None).and_where(holder().eq(id())).to_owned())
}

/// The condition that a user has this status.
fn has(status: Status) -> Expr {
    Expr::col((user::Entity, user::Column::Status)).eq(status.to_value())
}

/// The condition that a user whom another condition has found has this status. SQLite must not look for all users with the
/// status instead. PostgreSQL knows how many there are, but only of the column itself.
fn of_those_has(db: &impl ConnectionTrait, status: Status) -> Expr {
    let column = Expr::col((user::Entity, user::Column::Status));
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    if is_sqlite { plain(column).eq(status.to_value()) } else { column.eq(status.to_value()) }
}

/// The condition that a user has this status, or any. It always lists statuses, because the indexes on names begin with the
/// status.
fn is_one_of(status: Option<Status>) -> Expr {
    let statuses = status.map_or_else(|| Status::iter().collect(), |status| vec![status]);
    Expr::col((user::Entity, user::Column::Status)).is_in(statuses.iter().map(Status::to_value))
}

fn id() -> Expr {
    Expr::col((user::Entity, user::Column::Id))
}

fn holder() -> Expr {
    Expr::col((user_role::Entity, user_role::Column::UserId))
}

/// Returns an expression for the column that no index serves.
fn plain(column: Expr) -> Expr {
    Func::coalesce([column.clone(), column]).into()
}

/// The condition that a text begins with `beginning`, as a range, so that an index serves it. Texts are compared byte by
/// byte, in the order of their code points.
fn begins(text: Expr, beginning: &str) -> Condition {
    Condition::all().add(text.clone().gte(beginning)).add_option(after(beginning).map(|after| text.lt(after)))
}

/// Returns the least text that is greater than every text with this beginning: the beginning with its last character
/// incremented.
fn after(beginning: &str) -> Option<String> {
    let (end, last) = beginning.char_indices().next_back()?;
    let next = (last as u32 + 1..=char::MAX as u32).find_map(char::from_u32);
    next.map_or_else(|| after(&beginning[..end]), |next| Some(format!("{}{next}", &beginning[..end])))
}
