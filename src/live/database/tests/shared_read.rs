//! Tests of reads that concurrent callers share.

use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use tokio::task::{JoinSet, yield_now};

use super::{
    rows::{insert, session_of, user},
    test_database::TestDatabase,
};
use crate::{
    entity::session,
    live::database::{Database, SharedRead, is_unavailable},
};

async fn sessions(db: &Database, count: usize) -> Vec<session::Model> {
    let ada = insert(db, user("ada@example.org", None).into_active_model()).await.unwrap();
    let sessions: Vec<_> = (0..count).map(|_| session_of(&ada)).collect();
    let tx = db.write().await.unwrap();
    let rows = sessions.iter().map(|session| session.clone().into_active_model());
    session::Entity::insert_many(rows).exec_without_returning(&tx).await.unwrap();
    tx.commit().await.unwrap();
    sessions
}

#[tokio::test]
async fn each_caller_gets_its_own_row_and_all_share_a_few_statements() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let (shared, sessions) = (SharedRead::default(), sessions(&db, 150).await);
        db.take_sent();
        let mut callers = JoinSet::new();
        // Every row twice, and as many ids that no row has.
        for session in sessions.iter().chain(&sessions).cloned() {
            let (shared, db) = (shared.clone(), db.clone());
            callers.spawn(async move {
                assert_eq!(shared.row(db.read(), session.id).await.unwrap(), Some(session.clone()));
                assert_eq!(shared.row(db.read(), session.user_id.to_string().parse().unwrap()).await.unwrap(), None);
            });
        }
        while let Some(caller) = callers.join_next().await {
            caller.unwrap();
        }
        let statements = db.take_sent().len();
        assert!((2..100).contains(&statements), "{statements} statements for 600 reads");
    }
}

#[tokio::test]
async fn a_read_sees_what_was_committed_before_it() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let shared = SharedRead::default();
        let mut session = sessions(&db, 1).await.remove(0);
        for serial in 2..50 {
            let other = tokio::spawn({
                let (shared, db, id) = (shared.clone(), db.clone(), session.id);
                async move { shared.row(db.read(), id).await.unwrap() }
            });
            yield_now().await;
            session.current = serial.into();
            let tx = db.write().await.unwrap();
            session.clone().into_active_model().reset_all().update(&tx).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(shared.row(db.read(), session.id).await.unwrap().as_ref(), Some(&session));
            other.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_caller_that_is_cancelled_takes_no_row_away() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let (shared, session) = (SharedRead::default(), sessions(&db, 1).await.remove(0));
        let read = || {
            let (shared, db, id) = (shared.clone(), db.clone(), session.id);
            tokio::spawn(async move { shared.row(db.read(), id).await.unwrap() })
        };
        let (first, second) = (read(), read());
        yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap().as_ref(), Some(&session));
        assert_eq!(read().await.unwrap(), Some(session));
    }
}

#[tokio::test]
async fn when_the_statement_fails_every_caller_gets_its_error() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let shared = SharedRead::<session::Model>::default();
        let id = sessions(&db, 1).await[0].id;
        db.close().await;
        let mut callers = JoinSet::new();
        for _ in 0..10 {
            let (shared, db) = (shared.clone(), db.clone());
            callers.spawn(async move { shared.row(db.read(), id).await.unwrap_err() });
        }
        assert!(callers.join_all().await.iter().all(is_unavailable));
    }
}
