//! Lists of users on a big table: each question has an index, and none reads and sorts everybody.

use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tempfile::TempDir;

use super::*;
use crate::{config::Settings, live::clock};

const SORTS: [Sort; 4] = [Sort::Newest, Sort::Oldest, Sort::Email, Sort::EmailDescending];

async fn app() -> (App, TempDir) {
    let directory = TempDir::new().unwrap();
    let settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
    (App::open(settings, Arc::new(clock::System)).await.unwrap(), directory)
}

/// Every combination of filters, with this search.
fn filters(search: &str) -> Vec<Filter> {
    let mut filters = Vec::new();
    for role in [None, Some(RoleName::user())] {
        for status in [None, Some(Status::Active)] {
            for search in [None, Some(search.parse().unwrap())] {
                filters.push(Filter { search, role: role.clone(), status });
            }
        }
    }
    filters
}

/// The first page, and one from somewhere in the middle.
fn pages(app: &App, sort: Sort) -> [Paging; 2] {
    let first = Paging { cursor: None, limit: 1 };
    let id = UserId::from(uuid::Uuid::from_u128(100_000 << 80));
    let middle = match sort {
        Sort::Newest | Sort::Oldest => first.slice(app, sort.list(), vec![(); 2], |()| id).next,
        _ => first.slice(app, sort.list(), vec![(); 2], |()| "user5@example.org").next,
    };
    [Paging { cursor: None, limit: 25 }, Paging { cursor: Some(middle.unwrap().parse().unwrap()), limit: 25 }]
}

/// Adds so many users, who all hold the role `user` and whose addresses all begin with `u`.
async fn fill(app: &App, users: u64) {
    let tx = app.db.write().await.unwrap();
    let fill = "
        INSERT INTO users (id, email, username, status, password_hash, epoch, revision, created_at, updated_at)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < USERS)
        SELECT unhex(printf('%012x', i) || hex(randomblob(10))), printf('user%d@example.org', i * 7919 % USERS),
            CASE i % 2 WHEN 0 THEN printf('name%d', i) END, CASE i % 10 WHEN 0 THEN 'disabled' ELSE 'active' END,
            hex(randomblob(33)), 0, 0, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00' FROM n;
        INSERT INTO user_roles (user_id, role) SELECT id, 'user' FROM users;";
    tx.execute_unprepared(&fill.replace("USERS", &users.to_string())).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn every_list_of_users_uses_an_index() {
    let (app, _directory) = app().await;
    let plan = async |query: Select<user::Entity>| {
        let query = query.build(DbBackend::Sqlite);
        let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {}", query.sql), ..query };
        let plan = app.db.read().query_all_raw(explain).await.unwrap();
        plan.iter().map(|it| it.try_get("", "detail").unwrap()).collect::<Vec<String>>()
    };
    let scans = |plan: &[String]| plan.iter().any(|it| it.starts_with("SCAN") && !it.contains("USING INDEX"));
    let sorts = |plan: &[String]| plan.iter().any(|it| it.contains("TEMP B-TREE"));

    for are_many in [false, true] {
        if are_many {
            fill(&app, FEW + 1).await;
        }
        for (sort, filter) in SORTS.iter().flat_map(|sort| filters("u").into_iter().map(|filter| (*sort, filter))) {
            for paging in pages(&app, sort) {
                let matching = matching(app.db.read(), &filter).await.unwrap();
                let plan = plan(rows(&app, matching, sort, &paging).unwrap()).await;
                let told = format!("{sort:?} {filter:?} {are_many} {paging:?}: {plan:#?}");
                assert!(!scans(&plan), "{told}");
                // Only the few that were found are sorted.
                let are_found = !are_many && (filter.role.is_some() || filter.search.is_some());
                assert!(!sorts(&plan) || are_found, "{told}");
            }
        }
    }
    let search: Search = "u".parse().unwrap();
    let (email, username) = (Expr::col(user::Column::Email), Expr::col(user::Column::Username));
    let names = plan(user::Entity::find().filter(begins(&search, email, username)).limit(FEW)).await;
    assert!(names.iter().any(|it| it.contains("users_email")) && !scans(&names) && !sorts(&names), "{names:#?}");
}

/// `cargo test --lib -- --ignored big_table --nocapture` shows the times.
#[tokio::test]
#[ignore = "takes a while: fills a table with 200,000 users"]
#[expect(clippy::disallowed_methods, reason = "it measures the machine")]
async fn on_a_big_table_every_list_of_users_comes_within_a_second() {
    let (app, _directory) = app().await;
    fill(&app, 200_000).await;
    for search in ["u", "user1", "name19999", "zzz"] {
        for sort in SORTS {
            for (filter, paging) in filters(search).iter().flat_map(|filter| pages(&app, sort).map(|paging| (filter, paging))) {
                let began = std::time::Instant::now();
                let page = list(&app, filter, sort, &paging).await.unwrap();
                let took = began.elapsed();
                println!("{:4} ms {:2} {sort:?} {filter:?} {}", took.as_millis(), page.items.len(), paging.cursor.is_some());
                assert!(took.as_secs() < 1, "{sort:?} {filter:?}");
            }
        }
    }
}
