//! Finds the users that a filter matches, in a table of any size. A search reads ranges of indexes, and a filter by role
//! reads the holders of the role; the page is chosen from their ids. No query examines every user in turn, because that would
//! read the whole table if the matching users come last.
//!
//! If a range holds many users, the users that come next in the order are examined first. Where they do not fill the page, the
//! matching users are rare or far away, and the ranges are read and sorted as a whole.

use std::collections::HashSet;

use sea_orm::{
    ActiveEnum, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, ExprTrait, Iterable, JoinType, Order,
    QueryFilter, QuerySelect, QueryTrait, RelationTrait, Value,
    sea_query::{Expr, Func, Query, SelectStatement, UnionType},
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

/// The number of users in the order of the list that a search examines one by one. A page of 50 is full if one user in 40
/// matches.
const NEXT: u64 = 2_000;

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
        query.cond_where(self.is_after_position(&key)).order_by_expr(key, self.order.clone()).limit(self.rows);
    }

    fn is_after_position(&self, key: &Expr) -> Condition {
        let after = |position| if self.order == Order::Asc { key.clone().gt(position) } else { key.clone().lt(position) };
        Condition::all().add_option(self.position.clone().map(after))
    }

    fn is_until(&self, end: Value) -> Expr {
        if self.order == Order::Asc { self.key().lte(end) } else { self.key().gte(end) }
    }

    pub(super) fn key(&self) -> Expr {
        Expr::col((user::Entity, self.column))
    }

    fn is_by_id(&self) -> bool {
        matches!(self.column, user::Column::Id)
    }
}

/// Returns the condition for the users in this part of the list.
pub(super) async fn matching(db: &impl ConnectionTrait, filter: &Filter, window: &Window) -> Result<Condition> {
    let found = match (&filter.search, &filter.role) {
        (None, None) => return Ok(Condition::all().add_option(filter.status.map(has))),
        (Some(search), _) => {
            if let Some(found) = among_few(db, filter, search, window).await? {
                found
            } else if let Some(found) = among_next(db, filter, window).await? {
                found
            } else {
                let mut found = Vec::new();
                for query in queries(db, filter, Some(window)).await? {
                    found.extend(ids(db, &query).await?);
                }
                found
            }
        }
        (None, Some(role)) if window.is_by_id() => {
            let mut query = holders(db, role, filter.status);
            window.cut(&mut query, holder());
            ids(db, &query).await?
        }
        (None, Some(role)) => {
            let few = ids(db, holders(db, role, filter.status).limit(FEW + 1)).await?;
            if few.len() as u64 <= FEW {
                few
            } else if let Some(found) = among_next(db, filter, window).await? {
                found
            } else {
                let mut query = user::Entity::find().select_only().column(user::Column::Id).filter(is_one_of(filter.status));
                query = query.filter(plain(id()).in_subquery(holders(db, role, None)));
                window.cut(QueryTrait::query(&mut query), window.key());
                ids(db, &query.into_query()).await?
            }
        }
    };
    Ok(Condition::all().add(id().is_in(found)))
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

/// Returns the users in the window whom the filter matches; `None` if a range of the search holds more than [`FEW`] users.
async fn among_few(
    db: &impl ConnectionTrait,
    filter: &Filter,
    search: &SearchTerm,
    window: &Window,
) -> Result<Option<Vec<UserId>>> {
    let mut found = Vec::new();
    for row in db.query_all(&search_among_few(db, filter, search, window)).await? {
        if row.try_get_by_index::<i64>(1)?.unsigned_abs() > FEW {
            return Ok(None);
        }
        found.push(row.try_get_by_index(0)?);
    }
    Ok(Some(found))
}

/// Returns a query for all ranges of the search. Its rows are a user in the window and the number of users in the range that
/// holds the user. If that is more than [`FEW`], the rows of the range are any of its users.
pub(super) fn search_among_few(
    db: &impl ConnectionTrait,
    filter: &Filter,
    search: &SearchTerm,
    window: &Window,
) -> SelectStatement {
    let (few, counted, number, found) = ("few", "counted", "number", "found");
    let searches = ranges(db, search, None, None).into_iter().map(|(mut range, user)| {
        range.clear_selects().expr_as(user, found).limit(FEW + 1);
        let mut numbered = Query::select();
        numbered.column(found).expr_as(Expr::cust("COUNT(*) OVER ()"), number).from_subquery(range, few);
        let are_many = Expr::col((counted, number)).gt(FEW);
        // Without an index on the order: PostgreSQL would read that index from its beginning and look for these few users.
        let key = plain(window.key());
        let matches = Condition::all().add(window.is_after_position(&key)).add(others(db, filter));
        let mut query = Query::select();
        query.column((counted, found)).column((counted, number)).from_subquery(numbered, counted);
        query.inner_join(user::Entity, id().equals((counted, found)));
        query.cond_where(Condition::any().add(are_many).add(matches));
        query.order_by_expr(key, window.order.clone()).limit(window.rows);
        // SQLite allows an order in a part of a union only inside a query of its own.
        Query::select().columns([found, number]).from_subquery(query, "part").to_owned()
    });
    searches.reduce(|mut all, part| all.union(UnionType::All, part).to_owned()).expect("a search has ranges")
}

/// Returns the users in the window whom the filter matches; `None` if the next [`NEXT`] users in the order are too few to tell.
async fn among_next(db: &impl ConnectionTrait, filter: &Filter, window: &Window) -> Result<Option<Vec<UserId>>> {
    let end = match db.query_one(&end_of_next(window)).await? {
        Some(row) if window.is_by_id() => Some(row.try_get_by_index::<UserId>(0)?.into()),
        Some(row) => Some(row.try_get_by_index::<String>(0)?.into()),
        None => None,
    };
    let are_all = end.is_none();
    let found = ids(db, &search_among_next(db, filter, window, end)).await?;
    Ok((are_all || found.len() as u64 == window.rows).then_some(found))
}

/// Returns a query for the position of the last of the next [`NEXT`] users.
pub(super) fn end_of_next(window: &Window) -> SelectStatement {
    let mut query = user::Entity::find().select_only().column(window.column).into_query();
    window.cut(&mut query, window.key());
    query.limit(1).offset(NEXT - 1).to_owned()
}

/// Returns a query for the users in the window, up to the position `end`, whom the filter matches.
pub(super) fn search_among_next(
    db: &impl ConnectionTrait,
    filter: &Filter,
    window: &Window,
    end: Option<Value>,
) -> SelectStatement {
    let mut query = user::Entity::find().select_only().column(user::Column::Id).filter(others(db, filter));
    query = query.filter(Condition::all().add_option(filter.search.as_ref().map(is_found)));
    query = query.filter(Condition::all().add_option(end.map(|end| window.is_until(end))));
    let mut query = query.into_query();
    window.cut(&mut query, window.key());
    query
}

/// The condition that a search finds a user whom another condition has found.
fn is_found(search: &SearchTerm) -> Condition {
    let column = |column| plain(Expr::col((user::Entity, column)));
    let word = |column| Expr::col((user_word::Entity, column));
    let words = user_word::Entity::find().select_only().column(user_word::Column::UserId);
    let words = words.filter(begins(word(user_word::Column::Word), search.text()));
    let words = words.filter(word(user_word::Column::UserId).eq(id()));
    // With an offset, PostgreSQL looks for the words of each user. Without it, it might read the whole range of words first.
    let words = words.limit(1).offset(0).into_query();
    Condition::any()
        .add(begins(column(user::Column::Username), search.text()))
        .add_option(search.address_prefix().map(|beginning| begins(column(user::Column::Email), beginning)))
        .add(Expr::exists(words))
}

/// The conditions of the filter beside its search.
fn others(db: &impl ConnectionTrait, filter: &Filter) -> Condition {
    let status = filter.status.map(|status| of_those_has(db, status));
    Condition::all().add_option(status).add_option(filter.role.as_ref().map(|role| holds(db, role)))
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
            let key = if window.is_by_id() { user } else { window.key() };
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
