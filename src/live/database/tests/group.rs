//! What writers who share a transaction may rely on.

use sea_orm::{ActiveValue::Set, EntityTrait, PaginatorTrait};
use tokio::task::JoinSet;

use super::places::TestDatabase;
use crate::{
    entity::secret,
    error::{Error, Missing, Result},
    live::database::Database,
};

/// A part that writes one row, and then goes wrong if it shall.
async fn write(db: Database, number: usize, goes_wrong: bool) -> Result<usize> {
    db.write_together(move |tx| {
        Box::pin(async move {
            let row = secret::ActiveModel {
                name: Set(number.to_string()),
                sealed: Set(Vec::new()),
                created_at: Set(chrono::DateTime::UNIX_EPOCH),
            };
            secret::Entity::insert(row).exec_without_returning(tx).await?;
            if goes_wrong { Err(Error::NotFound(Missing::Path)) } else { Ok(number) }
        })
    })
    .await
}

/// Has them all written while somebody else holds the writer, so that they have to come together.
async fn all(db: &Database, count: usize, wrong: &[usize]) -> Vec<Result<usize>> {
    let held = db.write().await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..count {
        writers.spawn(write(db.clone(), number, wrong.contains(&number)));
    }
    tokio::task::yield_now().await;
    held.rollback().await.unwrap();
    writers.join_all().await
}

#[tokio::test]
async fn everybody_gets_their_own_result_and_all_is_written() {
    for place in TestDatabase::each().await {
        let db = place.migrated().await;
        let mut numbers: Vec<_> = all(&db, 200, &[]).await.into_iter().map(Result::unwrap).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
        assert_eq!(secret::Entity::find().count(db.read()).await.unwrap(), 200);
    }
}

#[tokio::test]
async fn who_shares_with_one_that_goes_wrong_is_told_to_try_again_and_nobody_is_told_what_is_not_so() {
    for place in TestDatabase::each().await {
        let db = place.migrated().await;
        let results = all(&db, 100, &[70]).await;
        let written = results.iter().filter(|it| it.is_ok()).count();
        assert_eq!(results.iter().filter(|it| matches!(it, Err(Error::NotFound(Missing::Path)))).count(), 1);
        assert!(results.iter().all(|it| matches!(it, Ok(_) | Err(Error::NotFound(_) | Error::Unavailable(_)))));
        assert_eq!(secret::Entity::find().count(db.read()).await.unwrap(), written as u64);
        assert_eq!(write(db.clone(), 1_000, false).await.unwrap(), 1_000);
    }
}

#[tokio::test]
async fn a_writer_who_goes_away_leaves_the_turn_to_the_next() {
    let place = TestDatabase::sqlite();
    let db = place.migrated().await;
    let held = db.write().await.unwrap();
    let (first, second) = (tokio::spawn(write(db.clone(), 1, false)), tokio::spawn(write(db.clone(), 2, false)));
    tokio::task::yield_now().await;
    first.abort();
    held.rollback().await.unwrap();
    let third = write(db.clone(), 3, false).await.unwrap();
    assert_eq!(third, 3);
    assert!(matches!(second.await.unwrap(), Ok(2) | Err(Error::Unavailable(_))));
}
