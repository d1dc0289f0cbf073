//! What the API does not show: rows, and the hashing threads. A test uses this only for what cannot be seen from outside.

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder};
use tokio::sync::oneshot;
use vestibule::{
    domain::revocations,
    entity::{audit_event, mail, revocation, session, tally, ticket, ticket_handle, user, user_role},
    values::{
        authentication::{Authentication, Method},
        ids::{SessionId, UserId},
        password_hash::PasswordHash,
    },
};

use super::TestApp;

/// Keeps the only hashing thread of an app busy until this is dropped.
pub struct Hold {
    _release: mpsc::Sender<()>,
}

impl TestApp {
    /// Starts an app with one hashing thread, which [`Self::hold_hashing`] can keep busy.
    pub async fn with_one_hashing_thread() -> Self {
        Self::start_with(|settings| {
            settings.password.hash_threads = Some(1);
            settings.password.lanes = 1;
        })
        .await
    }

    /// Keeps the hashing thread busy: every password waits to be hashed.
    pub async fn hold_hashing(&self) -> Hold {
        let (release, released) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let app = self.app.clone();
        tokio::spawn(async move {
            let job = move || {
                started.send(()).unwrap();
                _ = released.recv();
            };
            app.passwords.pool.run(move |_| async move { job() }).await
        });
        has_started.await.unwrap();
        Hold { _release: release }
    }

    /// Keeps the hashing thread busy and fills its queue: every further password is rejected.
    pub async fn fill_hashing_queue(&self) -> Hold {
        let hold = self.hold_hashing().await;
        while self.app.passwords.pool.check_capacity().is_ok() {
            let (app, queued) = (self.app.clone(), self.app.passwords.pool.queued() + 1);
            tokio::spawn(async move { app.passwords.pool.run(|_| async {}).await });
            self.until_waiting(queued).await;
        }
        hold
    }

    /// Waits until this many passwords are in the queue.
    pub async fn until_waiting(&self, count: usize) {
        while self.app.passwords.pool.queued() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the hashing pool accepts a password.
    pub async fn until_free(&self) {
        while self.app.passwords.pool.check_capacity().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until no password is in the queue.
    pub async fn until_idle(&self) {
        while self.app.passwords.pool.queued() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Counts the rows of each table that a request may write to.
    pub async fn rows(&self) -> BTreeMap<&'static str, u64> {
        let db = self.app.db.read();
        BTreeMap::from([
            ("audit_events", audit_event::Entity::find().count(db).await.unwrap()),
            ("mails", mail::Entity::find().count(db).await.unwrap()),
            ("revocations", revocation::Entity::find().count(db).await.unwrap()),
            ("sessions", session::Entity::find().count(db).await.unwrap()),
            ("tallies", tally::Entity::find().count(db).await.unwrap()),
            ("ticket_handles", ticket_handle::Entity::find().count(db).await.unwrap()),
            ("tickets", ticket::Entity::find().count(db).await.unwrap()),
            ("user_roles", user_role::Entity::find().count(db).await.unwrap()),
            ("users", user::Entity::find().count(db).await.unwrap()),
        ])
    }

    /// Returns the audit trail, oldest first. Events of the same moment are in no particular order.
    pub async fn events(&self) -> Vec<audit_event::Model> {
        audit_event::Entity::find().order_by_asc(audit_event::Column::Id).all(self.app.db.read()).await.unwrap()
    }

    /// Returns the only event of this kind.
    pub async fn event(&self, kind: &str) -> audit_event::Model {
        let mut events: Vec<_> = self.events().await.into_iter().filter(|event| event.kind == kind).collect();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    /// Writes any text into the column of a user's password hash.
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

    /// Writes a password hash into a user's row.
    pub async fn set_hash(&self, id: UserId, hash: PasswordHash) {
        let tx = self.app.db.write().await.unwrap();
        let user = user::Entity::locked(&tx, id).await.unwrap().unwrap();
        Box::pin(vestibule::domain::users::set_password_hash(&self.app, &tx, user, hash)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Gives a user a second factor, as an enrolment does: the user's access tokens become stale. The user has none to show.
    pub async fn give_factor(&self, id: UserId) {
        let tx = self.app.db.write().await.unwrap();
        let user = user::Entity::locked(&tx, id).await.unwrap().unwrap();
        let epoch = user.epoch.next();
        let user = user::ActiveModel { second_factor: Set(true), epoch: Set(epoch), ..user.into() }.update(&tx).await.unwrap();
        revocations::revoke_older_tokens(&tx, &user).await.unwrap().commit(&self.app, tx).await.unwrap();
    }

    /// Records in a session that its user has shown a second factor.
    pub async fn show_factor(&self, session: SessionId) {
        let tx = self.app.db.write().await.unwrap();
        let row = session::Entity::find_by_id(session).one(&tx).await.unwrap().unwrap();
        let Authentication { auth_time, acr, amr, factors } =
            row.authentication().and(Method::RecoveryCode, self.app.clock.now());
        let (auth_time, acr, amr, factors) = (Set(auth_time), Set(acr), Set(amr), Set(factors));
        session::ActiveModel { auth_time, acr, amr, factors, ..row.into() }.update(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Deletes all users.
    pub async fn empty_users(&self) {
        let tx = self.app.db.write().await.unwrap();
        user::Entity::delete_many().exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}
