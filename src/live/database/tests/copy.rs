//! The tables that a copy to PostgreSQL comprises.

use std::collections::BTreeSet;

use sea_orm::{DbBackend, Statement};

use super::{super::copy, test_database::TestDatabase, *};

#[tokio::test]
async fn o02_a_copy_comprises_every_table_of_the_schema_with_every_column() {
    let database = TestDatabase::sqlite();
    let db = database.migrated().await;
    let sql = "SELECT m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c
               WHERE m.type = 'table' AND m.name NOT IN ('seaql_migrations', 'sqlite_sequence', 'sqlite_stat1')";
    let rows = db.read().query_all_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
    let schema: BTreeSet<String> = rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
    assert_eq!(schema, copy::columns().into_iter().collect());
}
