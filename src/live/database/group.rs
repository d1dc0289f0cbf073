//! Transactions that callers share. SQLite writes one transaction at a time, and waits for the disk at the end of each:
//! callers who come meanwhile go into the next one together, and wait for the disk together.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use sea_orm::{DbBackend, DbErr};
use tokio::{
    sync::{
        Mutex as Turn,
        oneshot::{self, Sender, error::TryRecvError},
    },
    time::{Instant, timeout, timeout_at},
};
use tracing::{Instrument, Span};

use super::{Database, LIMIT, Transaction, deadline, failure, lease::now};
use crate::error::{Error, Result};

/// How many callers share a transaction at most: whoever else wants to write waits for the whole of it.
const AT_ONCE: usize = 64;

/// A future inside a transaction.
pub type Inside<'t, T> = Pin<Box<dyn Future<Output = T> + Send + 't>>;

/// One caller's part of a transaction: whether it went well.
type Part = Box<dyn for<'t> FnOnce(&'t Transaction) -> Inside<'t, bool> + Send>;

/// Where to tell whether it was committed.
type Tell = Sender<Result<(), DbErr>>;

/// Those who wait to write.
#[derive(Default)]
pub(super) struct Group {
    waiting: Mutex<Vec<(Part, Tell)>>,
    turn: Turn<()>,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Group")
    }
}

impl Group {
    /// Those who have waited longest, and still wait.
    fn next(&self) -> Vec<(Part, Tell)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(_, tell)| !tell.is_closed());
        let some = waiting.len().min(AT_ONCE);
        let later = waiting.split_off(some);
        mem::replace(&mut waiting, later)
    }
}

impl Database {
    /// Does `work` in a transaction, which on SQLite it shares with whoever else does so at this moment. It must not
    /// fail but for what is nobody's fault: an error rolls all of them back.
    ///
    /// # Errors
    /// That of `work`; [`Error::Unavailable`] when the transaction failed, or another's part of it. Nothing is changed
    /// then, unless it was the commit that failed, whose outcome is unknown.
    pub async fn write_together<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'t> FnOnce(&'t Transaction) -> Inside<'t, Result<T>> + Send + 'static,
    {
        if self.writer.backend() != DbBackend::Sqlite {
            let tx = self.write().await?;
            let done = work(&tx).await?;
            tx.commit().await?;
            return Ok(done);
        }
        let (keep, mut kept) = oneshot::channel();
        // Another caller may do this part: what it logs belongs to this one's request.
        let span = Span::current();
        let part: Part = Box::new(|tx| {
            let part = async move {
                let done = work(tx).await;
                let well = done.is_ok();
                _ = keep.send(done);
                well
            };
            Box::pin(part.instrument(span))
        });
        let committed = self.in_turn(part).await;
        match (kept.try_recv(), committed) {
            (Ok(Ok(done)), Ok(())) => Ok(done),
            (Ok(Err(err)), _) => Err(err),
            (_, Err(err)) => Err(Error::Unavailable(err)),
            (Err(_), Ok(())) => Err(Error::internal(anyhow::anyhow!("a part of the transaction was not done"))),
        }
    }

    /// Waits until this part is committed. One caller at a time has the turn, and writes for all who wait.
    async fn in_turn(&self, part: Part) -> Result<(), DbErr> {
        let (tell, mut told) = oneshot::channel();
        self.group.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((part, tell));
        let until = deadline::at_most(now() + LIMIT);
        let gone = || DbErr::Custom("whoever wrote for others has gone".into());
        let turn = deadline::count(async {
            tokio::select! {
                biased;
                done = &mut told => Err(done),
                turn = timeout(until.saturating_duration_since(now()) / 2, self.group.turn.lock()) => Ok(turn),
            }
        });
        let turn = match turn.await {
            Ok(turn) => turn,
            Err(done) => return done.unwrap_or_else(|_| Err(gone())),
        };
        // Too little time is left to write for all who wait, but somebody else may be writing this part already.
        let Ok(_turn) = turn else {
            let done = deadline::count(timeout_at(until, told)).await.map_err(|_| failure::late())?;
            return done.unwrap_or_else(|_| Err(gone()));
        };
        loop {
            match told.try_recv() {
                Ok(done) => return done,
                Err(TryRecvError::Closed) => return Err(gone()),
                Err(TryRecvError::Empty) => {}
            }
            let (parts, tells): (Vec<_>, Vec<_>) = self.group.next().into_iter().unzip();
            let done = self.commit_all(parts, until).await;
            for tell in tells {
                _ = tell.send(done.clone());
            }
        }
    }

    async fn commit_all(&self, parts: Vec<Part>, until: Instant) -> Result<(), DbErr> {
        let tx = Transaction::begin(&self.writer, until).await?;
        for part in parts {
            if !part(&tx).await {
                return Err(DbErr::Custom("a part of the transaction failed".into()));
            }
        }
        Ok(tx.commit().await?)
    }
}
