//! Lists of users in a big table, on both databases: an index serves each query, and none reads and sorts every user.

use std::{collections::BTreeSet, sync::Arc};

use sea_orm::{ConnectionTrait, DbBackend, Statement, StatementBuilder};
use tempfile::TempDir;

use super::{
    matching::{FEW, end_of_next, queries, search_among_few, search_among_next},
    *,
};
use crate::{
    config::Settings,
    entity::user::Status,
    live::{clock, database::tests::test_database::TestDatabase},
};

const SORTS: [Sort; 4] = [Sort::Newest, Sort::Oldest, Sort::Email, Sort::EmailDescending];

/// Returns an application on each database, with its data directory.
async fn apps() -> Vec<(App, TestDatabase, TempDir)> {
    let mut apps = Vec::new();
    for place in TestDatabase::each().await {
        let directory = TempDir::new().unwrap();
        let mut settings = Settings { data_dir: directory.path().to_owned(), ..Settings::default() };
        settings.database.url = Some(place.url.clone());
        settings.master_key = Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into());
        apps.push((App::open(settings, Arc::new(clock::SystemClock)).await.unwrap(), place, directory));
    }
    apps
}

/// Returns every combination of filters with this search and this role.
fn filters(search: &str, role: &str) -> Vec<Filter> {
    let mut filters = Vec::new();
    for role in [None, Some(role.parse().unwrap())] {
        for status in [None, Some(Status::Active), Some(Status::Disabled)] {
            for search in [None, Some(search.parse().unwrap())] {
                filters.push(Filter { search, role: role.clone(), status });
            }
        }
    }
    filters
}

/// Returns the first page and one from the middle.
fn pages(app: &App, sort: Sort) -> [Paging; 2] {
    let first = Paging { cursor: None, limit: 1 };
    let id = UserId::from(uuid::Uuid::from_u128(100_000 << 80));
    let middle = match sort {
        Sort::Newest | Sort::Oldest => first.slice(app, sort.list(), vec![(); 2], |()| id).next,
        _ => first.slice(app, sort.list(), vec![(); 2], |()| "user5@example.org").next,
    };
    [Paging { cursor: None, limit: 25 }, Paging { cursor: Some(middle.unwrap().parse().unwrap()), limit: 25 }]
}

/// Inserts this many users. The older half holds the role `user` and has addresses that begin with `old`; the newer half holds
/// `clerk` and has addresses that begin with `new`. Every tenth user is disabled.
async fn fill(app: &App, users: u64) {
    let tx = app.db.write_in_background().await.unwrap();
    let sqlite = "
        INSERT INTO roles (name, built_in, created_at, updated_at) VALUES ('clerk', FALSE, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00');
        INSERT INTO users (id, email, username, name, status, password_hash, epoch, revision, created_at, updated_at)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < USERS)
        SELECT unhex(printf('%012x', i) || hex(randomblob(10))), printf('%s%d@example.org', CASE WHEN 2 * i > USERS THEN 'new' ELSE 'old' END, i * 7919 % USERS),
            CASE i % 2 WHEN 0 THEN printf('name%d', i) END, CASE i % 3 WHEN 0 THEN printf('Ada Lovelace%d', i) END,
            CASE i % 10 WHEN 0 THEN 'disabled' ELSE 'active' END,
            hex(randomblob(33)), 0, 0, '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:00+00:00' FROM n;
        INSERT INTO user_roles (user_id, role) SELECT id, CASE WHEN email LIKE 'new%' THEN 'clerk' ELSE 'user' END FROM users;
        INSERT INTO user_words (user_id, word) SELECT id, lower(name) FROM users WHERE name IS NOT NULL;
        INSERT INTO user_words (user_id, word) SELECT id, lower(substr(name, 5)) FROM users WHERE name IS NOT NULL;";
    let postgres = "
        SET LOCAL statement_timeout = 0;
        INSERT INTO roles (name, built_in, created_at, updated_at) VALUES ('clerk', FALSE, '2026-01-01', '2026-01-01');
        INSERT INTO users (id, email, username, name, status, password_hash, epoch, revision, created_at, updated_at)
        SELECT (lpad(to_hex(i), 12, '0') || substr(md5(i::text), 1, 20))::uuid, CASE WHEN 2 * i > USERS THEN 'new' ELSE 'old' END || i * 7919 % USERS || '@example.org',
            CASE i % 2 WHEN 0 THEN 'name' || i END, CASE i % 3 WHEN 0 THEN 'Ada Lovelace' || i END,
            CASE i % 10 WHEN 0 THEN 'disabled' ELSE 'active' END,
            md5(i::text) || md5(i::text), 0, 0, '2026-01-01', '2026-01-01' FROM generate_series(1::bigint, USERS) i;
        INSERT INTO user_roles (user_id, role) SELECT id, CASE WHEN email LIKE 'new%' THEN 'clerk' ELSE 'user' END FROM users;
        INSERT INTO user_words (user_id, word) SELECT id, lower(name) FROM users WHERE name IS NOT NULL;
        INSERT INTO user_words (user_id, word) SELECT id, lower(substr(name, 5)) FROM users WHERE name IS NOT NULL;
        ANALYZE;";
    let fill = if tx.get_database_backend() == DbBackend::Sqlite { sqlite } else { postgres };
    tx.execute_unprepared(&fill.replace("USERS", &users.to_string())).await.unwrap();
    tx.commit().await.unwrap();
}

async fn plan(app: &App, query: &impl StatementBuilder) -> Vec<String> {
    let db = app.db.read();
    let explain = if db.get_database_backend() == DbBackend::Sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
    let query = query.build(&db.get_database_backend());
    let rows = db.query_all_raw(Statement { sql: format!("{explain} {}", query.sql), ..query }).await.unwrap();
    let column = if db.get_database_backend() == DbBackend::Sqlite { "detail" } else { "QUERY PLAN" };
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}

/// Returns whether a plan reads a whole table.
fn scans(plan: &[String]) -> bool {
    plan.iter().any(|step| step.starts_with("SCAN user") && !step.contains("INDEX") || step.contains("Seq Scan on user"))
}

#[tokio::test]
async fn every_list_of_users_uses_an_index() {
    for (app, ..) in apps().await {
        let is_sqlite = app.db.read().get_database_backend() == DbBackend::Sqlite;
        fill(&app, 20_000).await;
        for (search, finds_many) in
            [("ol", true), ("name", true), ("old5@example.org", false), ("lovelace123", false), ("zzz", false)]
        {
            // PostgreSQL rightly scans the table if every second row matches.
            if finds_many && !is_sqlite {
                continue;
            }
            for filter in filters(search, "clerk") {
                for (sort, paging) in SORTS.iter().flat_map(|sort| pages(&app, *sort).map(|paging| (*sort, paging))) {
                    let (db, window) = (app.db.read(), window(&app, sort, &paging).unwrap());
                    let matching = matching(db, &filter, &window).await.unwrap();
                    let mut all = vec![rows(matching, &window).into_query()];
                    if let Some(search) = &filter.search {
                        all.push(search_among_few(db, &filter, search, &window));
                        let end = window.position.clone();
                        all.extend([end_of_next(&window), search_among_next(db, &filter, &window, end)]);
                        all.extend(queries(db, &filter, Some(&window)).await.unwrap());
                        let counted = queries(db, &filter, None).await.unwrap();
                        all.extend(counted.into_iter().map(|mut query| query.limit(u64::from(MOST_COUNTED) + 1).to_owned()));
                    }
                    for query in all {
                        let plan = plan(&app, &query).await;
                        assert!(!scans(&plan), "{sort:?} {filter:?} {paging:?}: {plan:#?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_search_of_a_big_table_finds_every_match() {
    for (app, ..) in apps().await {
        fill(&app, 3 * FEW).await;
        let found = async |search: &str, role: Option<&str>, status| {
            let filter = Filter { search: Some(search.parse().unwrap()), role: role.map(|role| role.parse().unwrap()), status };
            let (mut seen, mut cursor) = (BTreeSet::new(), None);
            loop {
                let paging = Paging { cursor, limit: 100 };
                let page = list(&app, &filter, Sort::Email, &paging).await.unwrap();
                seen.extend(page.items.into_iter().map(|user| user.profile.email));
                let Some(next) = page.next else { break };
                cursor = Some(next.parse().unwrap());
            }
            assert_eq!(count(&app, &filter).await.unwrap(), u32::try_from(seen.len()).ok(), "{filter:?}");
            seen.len()
        };
        assert_eq!(found("ada love", None, None).await, 1_000);
        assert_eq!(found("OLD", None, None).await, 1_500);
        assert_eq!(found("old", Some("clerk"), None).await, 0);
        assert_eq!(found("old", Some("user"), Some(Status::Disabled)).await, 150);
        assert_eq!(found("name", Some("clerk"), Some(Status::Active)).await, 600);
        assert_eq!(found("lovelace", Some("clerk"), None).await, 500);
        assert_eq!(found("name300", None, None).await, 2);
    }
}

/// `cargo test --lib -- --ignored big_table --nocapture` shows the times.
#[tokio::test]
#[ignore = "long: fills a table with 200,000 users"]
#[expect(clippy::disallowed_methods, reason = "it measures the machine")]
async fn long_every_list_of_a_big_table_is_fast() {
    for (app, ..) in apps().await {
        fill(&app, 200_000).await;
        for search in ["o", "new", "old1", "name", "name19999", "ada", "lovelace19", "zzz"] {
            for filter in filters(search, "clerk") {
                let began = std::time::Instant::now();
                count(&app, &filter).await.unwrap();
                let counted = began.elapsed();
                for sort in SORTS {
                    for paging in pages(&app, sort) {
                        let began = std::time::Instant::now();
                        let page = list(&app, &filter, sort, &paging).await.unwrap();
                        let took = began.elapsed();
                        let (took, counted) = (took.as_millis(), counted.as_millis());
                        println!(
                            "{took:4} {counted:4} ms {:2} {:?} {sort:?} {filter:?} {}",
                            page.items.len(),
                            app.db.read().get_database_backend(),
                            paging.cursor.is_some()
                        );
                        assert!(took < 5_000 && counted < 5_000, "{sort:?} {filter:?}");
                    }
                }
            }
        }
    }
}
