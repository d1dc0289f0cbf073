//! Group commit: on SQLite, concurrent callers share one transaction and wait for the disk together. SQLite runs one write
//! transaction at a time, and each commit waits for the disk.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use sea_orm::{DbBackend, DbErr};
use tokio::{
    sync::{
        Mutex as AsyncMutex,
        oneshot::{self, Sender, error::TryRecvError},
    },
    time::{Instant, timeout, timeout_at},
};

use super::{
    Database, TIMEOUT, Transaction,
    deadline::{self, now},
    failure,
};
use crate::{
    error::{Error, Result},
    live::log::request,
};

/// The maximum number of callers that share a transaction. Other writers wait for all of it.
const MAX_PARTS: usize = 64;

/// A future that runs in a transaction.
pub type TransactionFuture<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// One caller's part of a transaction. It returns whether it succeeded.
type Part = Box<dyn for<'t> FnOnce(&'t Transaction) -> TransactionFuture<'t, bool> + Send>;

/// Receives the outcome of the commit.
type OutcomeSender = Sender<Result<(), DbErr>>;

/// The parts that wait for a transaction. The caller that holds the lock `leader` runs them all in one transaction.
#[derive(Default)]
pub(super) struct GroupCommit {
    waiting: Mutex<Vec<(Part, OutcomeSender)>>,
    leader: AsyncMutex<()>,
}

impl fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupCommit")
    }
}

impl GroupCommit {
    /// Takes the parts that have waited longest and whose callers still wait.
    fn take_parts(&self) -> Vec<(Part, OutcomeSender)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, outcome)| !outcome.is_closed());
        let taken = waiting.len().min(MAX_PARTS);
        let rest = waiting.split_off(taken);
        mem::replace(&mut waiting, rest)
    }
}

impl Database {
    /// Runs `work` in a transaction. On SQLite it shares the transaction with concurrent callers, and an error rolls back the
    /// work of all of them, so `work` must not fail because of its input.
    ///
    /// # Errors
    /// The error of `work`, or [`Error::Unavailable`] when the transaction or another caller's part of it failed. Nothing was
    /// changed, unless it was the commit that failed: then its outcome is unknown.
    pub async fn write_in_group<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t Transaction) -> TransactionFuture<'t, Result<T>> + Send + 'static,
    {
        if self.writer.backend() != DbBackend::Sqlite {
            let tx = self.write().await?;
            let result = work(&tx).await?;
            tx.commit().await?;
            return Ok(result);
        }
        let (result_sender, mut result) = oneshot::channel();
        // Another caller may run this part; what it logs belongs to this caller's request.
        let request = request::current();
        let part: Part = Box::new(move |tx| {
            let part = async move {
                let result = work(tx).await;
                let succeeded = result.is_ok();
                _ = result_sender.send(result);
                succeeded
            };
            Box::pin(request::scope(request, part))
        });
        let committed = self.commit_part(part).await;
        match (result.try_recv(), committed) {
            (Ok(Ok(result)), Ok(())) => Ok(result),
            (Ok(Err(err)), _) => Err(err),
            (_, Err(err)) => Err(Error::Unavailable(err)),
            (Err(_), Ok(())) => Err(Error::internal(anyhow::anyhow!("a part of the transaction did not run"))),
        }
    }

    /// Waits until this part is committed, by this caller or by another one.
    async fn commit_part(&self, part: Part) -> Result<(), DbErr> {
        let (sender, mut outcome) = oneshot::channel();
        self.group_commit.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((part, sender));
        let deadline = deadline::at_most(now() + TIMEOUT);
        let cancelled = || DbErr::Custom("the request that wrote for others was cancelled".into());
        let leader = deadline::count(async {
            tokio::select! {
                biased;
                outcome = &mut outcome => Err(outcome),
                leader = timeout(deadline.saturating_duration_since(now()) / 2, self.group_commit.leader.lock()) => Ok(leader),
            }
        });
        let leader = match leader.await {
            Ok(leader) => leader,
            Err(outcome) => return outcome.unwrap_or_else(|_| Err(cancelled())),
        };
        // The lock took so long that too little time is left to write for others. The leader may be writing this part.
        let Ok(_leader) = leader else {
            let outcome = deadline::count(timeout_at(deadline, outcome)).await.map_err(|_| failure::timed_out())?;
            return outcome.unwrap_or_else(|_| Err(cancelled()));
        };
        loop {
            match outcome.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Closed) => return Err(cancelled()),
                Err(TryRecvError::Empty) => {}
            }
            let (parts, senders): (Vec<_>, Vec<_>) = self.group_commit.take_parts().into_iter().unzip();
            let committed = self.commit_parts(parts, deadline).await;
            for sender in senders {
                _ = sender.send(committed.clone());
            }
        }
    }

    async fn commit_parts(&self, parts: Vec<Part>, deadline: Instant) -> Result<(), DbErr> {
        let tx = Transaction::begin(&self.writer, deadline).await?;
        for part in parts {
            if !part(&tx).await {
                return Err(DbErr::Custom("a part of the transaction failed".into()));
            }
        }
        Ok(tx.commit().await?)
    }
}
