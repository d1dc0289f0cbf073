//! Reads of rows by their ids. Callers that need rows of one table at the same moment share a statement: on its way to the
//! database and back, a statement takes several times as long as reading another row.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use sea_orm::{DbErr, prelude::async_trait::async_trait};
use tokio::{
    spawn,
    sync::oneshot::{self, Sender},
    task::yield_now,
    time::timeout_at,
};

use super::{
    deadline::{self, now},
    failure,
    transaction::Reader,
};

/// The maximum number of ids in one statement.
const MAX_IDS: usize = 64;

/// A kind of row that is read by its id.
#[async_trait]
pub trait ReadById: Clone + Send + Sync + 'static {
    /// The id of a row.
    type Id: Copy + Eq + Hash + Send + Sync + 'static;

    /// Returns the id of this row.
    fn id(&self) -> Self::Id;

    /// Reads the rows with these ids, in any order. An id may occur twice.
    async fn read(db: &Reader, ids: &[Self::Id]) -> Result<Vec<Self>, DbErr>;
}

/// The callers that need rows of one kind. Cheap to clone.
#[derive(Clone)]
pub struct SharedRead<T: ReadById>(Arc<Mutex<Vec<Waiting<T>>>>);

/// The id that a caller needs, and the way to the caller.
type Waiting<T> = (<T as ReadById>::Id, Sender<Result<Option<T>, DbErr>>);

impl<T: ReadById> Default for SharedRead<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: ReadById> fmt::Debug for SharedRead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedRead")
    }
}

impl<T: ReadById> SharedRead<T> {
    /// Reads the row with this id, in a statement that begins after this call.
    pub async fn row(&self, db: &Reader, id: T::Id) -> Result<Option<T>, DbErr> {
        let (sender, row) = oneshot::channel();
        let is_first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((id, sender));
            waiting.len() == 1
        };
        if is_first {
            // A task of its own, so that a caller who is cancelled does not take the others' rows away.
            spawn(self.clone().read_for_all(db.clone()));
        }
        let deadline = deadline::at_most(now() + db.timeout);
        let row = deadline::count(timeout_at(deadline, row)).await;
        row.map_err(|_| failure::timed_out())?.map_err(|_| DbErr::Custom("the task that reads for others has ended".into()))?
    }

    /// Reads the rows for all callers that wait, after every task that is ready to run has had the chance to join them.
    async fn read_for_all(self, db: Reader) {
        yield_now().await;
        let mut waiting = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(MAX_IDS));
            read(&db, mem::replace(&mut waiting, rest)).await;
        }
    }
}

async fn read<T: ReadById>(db: &Reader, callers: Vec<Waiting<T>>) {
    let mut ids: Vec<_> = callers.iter().map(|(id, _)| *id).collect();
    // With few different numbers of ids there are few different statements, which the database prepares once.
    ids.resize(ids.len().next_power_of_two(), ids[0]);
    let rows = T::read(db, &ids).await;
    let rows = rows.map(|rows| rows.into_iter().map(|row| (row.id(), row)).collect::<HashMap<_, _>>());
    for (id, caller) in callers {
        // A caller that has left needs no row.
        _ = caller.send(rows.as_ref().map(|rows| rows.get(&id).cloned()).map_err(Clone::clone));
    }
}
