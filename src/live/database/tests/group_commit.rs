//! Tests of writers that share a transaction.

use chrono::DateTime;
use sea_orm::{ActiveValue::Set, EntityTrait, PaginatorTrait};
use tokio::task::{JoinSet, yield_now};

use super::test_database::TestDatabase;
use crate::{
    entity::secret,
    error::{Error, Missing, Result},
    live::database::Database,
};

/// Writes one row in a group, and then fails if `fails` is set.
async fn write(db: Database, number: usize, fails: bool) -> Result<usize> {
    db.write_in_group(move |tx| {
        Box::pin(async move {
            let row = secret::ActiveModel {
                name: Set(number.to_string()),
                sealed: Set(Vec::new()),
                created_at: Set(DateTime::UNIX_EPOCH),
            };
            secret::Entity::insert(row).exec_without_returning(tx).await?;
            if fails { Err(Error::NotFound(Missing::Path)) } else { Ok(number) }
        })
    })
    .await
}

/// Starts the writers while another transaction holds the write lock, so that they share the next one.
async fn write_all(db: &Database, count: usize, failing: &[usize]) -> Vec<Result<usize>> {
    let held = db.write().await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..count {
        writers.spawn(write(db.clone(), number, failing.contains(&number)));
    }
    yield_now().await;
    held.rollback().await.unwrap();
    writers.join_all().await
}

#[tokio::test]
async fn each_writer_gets_its_own_result_and_every_row_is_written() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let mut numbers: Vec<_> = write_all(&db, 200, &[]).await.into_iter().map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        assert_eq!(secret::Entity::find().count(db.read()).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn when_one_writer_fails_the_others_of_its_group_get_unavailable_and_no_result_is_wrong() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let results = write_all(&db, 100, &[70]).await;
        let written = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(results.iter().filter(|result| matches!(result, Err(Error::NotFound(Missing::Path)))).count(), 1);
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(Error::NotFound(_) | Error::Unavailable(_)))));
        assert_eq!(secret::Entity::find().count(db.read()).await.unwrap(), written as u64);
        assert_eq!(write(db.clone(), 1_000, false).await.unwrap(), 1_000);
    }
}

#[tokio::test]
async fn when_a_writer_is_cancelled_the_next_one_becomes_the_leader() {
    let database = TestDatabase::sqlite();
    let db = database.migrated().await;
    let held = db.write().await.unwrap();
    let (first, second) = (tokio::spawn(write(db.clone(), 1, false)), tokio::spawn(write(db.clone(), 2, false)));
    yield_now().await;
    first.abort();
    held.rollback().await.unwrap();
    let third = write(db.clone(), 3, false).await.unwrap();
    assert_eq!(third, 3);
    assert!(matches!(second.await.unwrap(), Ok(2) | Err(Error::Unavailable(_))));
}
