//! What the API does not show: the rows, and the threads that hash. Stories look here only for what nobody may see
//! from outside.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder};
use tokio::sync::oneshot;
use vestibule::{
    entity::{audit_event, revocation, session, user, user_role},
    values::{ids::UserId, password_hash::PasswordHash},
};

use super::TestApp;

/// Keeps the one hashing thread of an app from working, until it is dropped.
pub struct Hold {
    _release: mpsc::Sender<()>,
}

impl TestApp {
    /// An app with one hashing thread, which [`Self::hold_hasher`] can hold.
    pub async fn with_one_hasher() -> Self {
        Self::start_with(|settings| settings.password.hash_threads = Some(1)).await
    }

    /// From here on every password waits to be hashed.
    pub async fn hold_hasher(&self) -> Hold {
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let app = self.app.clone();
        tokio::spawn(async move {
            let job = move || {
                started.send(()).unwrap();
                _ = released.recv();
            };
            app.passwords.pool.run(job).await
        });
        has_started.await.unwrap();
        Hold { _release: release }
    }

    /// From here on every password is too many.
    pub async fn fill_hasher(&self) -> Hold {
        let hold = self.hold_hasher().await;
        while self.app.passwords.pool.check_capacity().is_ok() {
            let (app, queued) = (self.app.clone(), self.app.passwords.pool.queued() + 1);
            tokio::spawn(async move { app.passwords.pool.run(|| ()).await });
            self.until_waiting(queued).await;
        }
        hold
    }

    /// Goes on when so many passwords wait to be hashed.
    pub async fn until_waiting(&self, count: usize) {
        while self.app.passwords.pool.queued() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Goes on when a password would be hashed at once.
    pub async fn until_free(&self) {
        while self.app.passwords.pool.check_capacity().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Goes on when no password waits to be hashed.
    pub async fn until_idle(&self) {
        while self.app.passwords.pool.queued() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many rows each table has that a request could write to.
    pub async fn rows(&self) -> BTreeMap<&'static str, u64> {
        let db = self.app.db.read();
        BTreeMap::from([
            ("audit_events", audit_event::Entity::find().count(db).await.unwrap()),
            ("revocations", revocation::Entity::find().count(db).await.unwrap()),
            ("sessions", session::Entity::find().count(db).await.unwrap()),
            ("user_roles", user_role::Entity::find().count(db).await.unwrap()),
            ("users", user::Entity::find().count(db).await.unwrap()),
        ])
    }

    /// The audit trail, oldest first. Events of the same moment are in no particular order.
    pub async fn events(&self) -> Vec<audit_event::Model> {
        audit_event::Entity::find().order_by_asc(audit_event::Column::Id).all(self.app.db.read()).await.unwrap()
    }

    /// The one event of this kind.
    pub async fn event(&self, kind: &str) -> audit_event::Model {
        let mut events: Vec<_> = self.events().await.into_iter().filter(|it| it.kind == kind).collect();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    /// Writes this into a user's row where the password hash stands, whatever it is.
    pub async fn write_hash(&self, id: UserId, hash: &str) {
        let id = match self.app.db.read().get_database_backend() {
            sea_orm::DbBackend::Sqlite => format!("X'{}'", id.to_string().replace('-', "")),
            _ => format!("'{id}'"),
        };
        let tx = self.app.db.write().await.unwrap();
        let done = tx.execute_unprepared(&format!("UPDATE users SET password_hash = '{hash}' WHERE id = {id}")).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        tx.commit().await.unwrap();
    }

    /// Copies a password hash from another app's hasher into a user's row.
    pub async fn set_hash(&self, id: UserId, hash: PasswordHash) {
        let tx = self.app.db.write().await.unwrap();
        let user = user::Entity::locked(&tx, id).await.unwrap().unwrap();
        vestibule::domain::users::set_password_hash(&tx, user, hash).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Deletes every user.
    pub async fn empty_users(&self) {
        let tx = self.app.db.write().await.unwrap();
        user::Entity::delete_many().exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}
