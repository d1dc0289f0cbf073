//! Tests of the pools of connections.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::test_database::{TestDatabase, is_sqlite};
use crate::live::database::{Database, connection::Connection, is_unavailable};

fn count(db: &Database) -> (usize, usize) {
    db.reader.pool.count()
}

#[tokio::test]
async fn a_connection_returns_to_its_pool_as_soon_as_its_statement_ends() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        for _ in 0..10 {
            db.read().execute_unprepared("SELECT 1").await.unwrap();
            assert_eq!(count(&db), (0, 1));
        }
    }
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back_before_its_connection_is_used_again() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        for _ in 0..10 {
            let tx = db.write().await.unwrap();
            tx.execute_unprepared("UPDATE roles SET description = 'changed'").await.unwrap();
        }
        let tx = db.write().await.unwrap();
        let changed = tx.execute_unprepared("DELETE FROM roles WHERE description = 'changed'").await.unwrap();
        assert_eq!(changed.rows_affected(), 0);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_needs_is_closed() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let pool = &db.reader.pool;
        let held =
            [Connection::of(pool).await.unwrap(), Connection::of(pool).await.unwrap(), Connection::of(pool).await.unwrap()];
        assert_eq!(count(&db), (3, 0));
        drop(held);
        assert_eq!(count(&db), (0, 3));
        pool.age(Duration::from_mins(11));
        for left in [2, 1, 1] {
            drop(Connection::of(pool).await.unwrap());
            assert_eq!(count(&db), (0, left));
        }
    }
}

#[tokio::test]
async fn an_old_connection_is_replaced() {
    for database in TestDatabase::each().await {
        // The reader of SQLite cannot create a table.
        let db = database.migrated().await;
        let mut connection = Connection::of(&db.writer).await.unwrap();
        connection.execute_unprepared("CREATE TEMPORARY TABLE of_this_connection (id INT)").await.unwrap();
        drop(connection);
        for minutes in [29, 2] {
            let mut connection = Connection::of(&db.writer).await.unwrap();
            connection.execute_unprepared("DELETE FROM of_this_connection").await.unwrap();
            drop(connection);
            db.writer.age(Duration::from_mins(minutes));
        }
        let mut connection = Connection::of(&db.writer).await.unwrap();
        let missing = connection.execute_unprepared("DELETE FROM of_this_connection").await.unwrap_err();
        assert!(missing.to_string().contains("of_this_connection"), "{missing}");
    }
}

#[tokio::test]
async fn a_closed_pool_has_no_connections() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let held = Connection::of(&db.reader.pool).await.unwrap();
        let (closing, reader) = (db.clone(), db.read().clone());
        let closed = tokio::spawn(async move { closing.reader.pool.close().await });
        tokio::task::yield_now().await;
        assert!(!closed.is_finished(), "a connection is in use");
        drop(held);
        closed.await.unwrap();
        assert!(is_unavailable(&reader.execute_unprepared("SELECT 1").await.unwrap_err()));
        if is_sqlite(&db) {
            db.write().await.unwrap();
        }
    }
}
