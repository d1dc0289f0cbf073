//! What an error of the database means: that it is unavailable, that it refuses writes, or that a connection is unusable.

use std::{borrow::Cow, io};

use sea_orm::{DbErr, RuntimeErr};
use sqlx::{
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::error::Error;

impl From<DbErr> for Error {
    /// `Unavailable` when the database is unavailable, otherwise `Internal`.
    fn from(err: DbErr) -> Self {
        if is_unavailable(&err) { Self::Unavailable(err) } else { Self::internal(err) }
    }
}

/// Returns the error of a statement that was not answered in time.
pub(super) fn timed_out() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database did not answer in time".to_owned()))
}

/// Returns the error of a statement on a connection that an earlier error has made unusable.
pub(super) fn unusable_connection() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the connection to the database has failed before".to_owned()))
}

/// Returns whether the database could not be reached, or could not do the work in time.
pub fn is_unavailable(err: &DbErr) -> bool {
    match err {
        // A process starts only with a database that it can connect to, so a connection that is refused later is transient.
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => is_transient(cause),
        _ => false,
    }
}

/// Returns whether the cause is a state of the database or of the network that may end, and not the statement itself.
fn is_transient(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(err) => code(err.as_ref()).is_some_and(|code| code.is_transient()),
        _ => false,
    }
}

/// Returns whether a database that cannot be opened may be available a little later. A wrong password or name is not.
pub(super) fn may_become_available(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(err) => code(err.as_ref()).is_some_and(|code| match code {
            // Connection exceptions, insufficient resources, operator intervention.
            Code::Postgres(code) => ["08", "53", "57"].iter().any(|class| code.starts_with(class)),
            // BUSY, LOCKED.
            Code::Sqlite(code) => matches!(code, 5 | 6),
        }),
        _ => false,
    }
}

/// Returns whether a server refuses a new connection because it is starting, is stopping or has too many.
pub(super) fn is_starting(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Io(err) => err.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(err) => err.is_transient_in_connect_phase(),
        _ => false,
    }
}

/// Returns whether PostgreSQL is read only: a standby, or set to be so.
pub(super) fn is_read_only(err: &sqlx::Error) -> bool {
    matches!(err, sqlx::Error::Database(err) if matches!(code(err.as_ref()), Some(Code::Postgres(code)) if code == "25006"))
}

/// Returns whether a statement waited too long for a lock.
pub(super) fn is_locked(err: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = err else { return false };
    let sqlx::Error::Database(cause) = cause.as_ref() else { return false };
    code(cause.as_ref()).is_some_and(|code| match code {
        Code::Postgres(code) => code == "55P03",
        // BUSY, LOCKED.
        Code::Sqlite(code) => matches!(code, 5 | 6),
    })
}

/// Returns whether the database cannot write at present: it is read only, or its disk is full or fails.
pub(super) fn refuses_writes(err: &sqlx::Error) -> bool {
    let sqlx::Error::Database(err) = err else { return false };
    code(err.as_ref()).is_some_and(|code| match code {
        // A read-only transaction, a full disk, a system error.
        Code::Postgres(code) => code == "25006" || code == "53100" || code.starts_with("58"),
        // READONLY, IOERR, FULL, CANTOPEN.
        Code::Sqlite(code) => matches!(code, 8 | 10 | 13 | 14),
    })
}

/// Returns whether a connection is unusable after this error.
pub(super) fn makes_unusable(err: &sqlx::Error, in_transaction: bool) -> bool {
    let sqlx::Error::Database(err) = err else {
        return !matches!(
            err,
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)
        );
    };
    code(err.as_ref()).is_none_or(|code| match code {
        // The transaction was aborted or the statement cancelled: the connection remains usable.
        Code::Postgres(ref class) if class.starts_with("40") || class == "55P03" || class == "57014" => false,
        Code::Postgres(_) => code.is_transient(),
        // BUSY, LOCKED: SQLite may have ended the transaction, so later statements would not be part of it.
        Code::Sqlite(5 | 6) => in_transaction,
        // ERROR, CONSTRAINT.
        Code::Sqlite(code) => !matches!(code, 1 | 19),
    })
}

/// Returns whether a failed COMMIT has certainly changed nothing, because the database itself reported the failure.
pub(super) fn is_rolled_back(err: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = err else { return false };
    let sqlx::Error::Database(cause) = cause.as_ref() else { return false };
    match cause.try_downcast_ref::<PgDatabaseError>() {
        // FATAL and PANIC end the connection or the server, possibly after the commit was on disk.
        Some(cause) => cause.severity() == PgSeverity::Error,
        None => true,
    }
}

enum Code<'a> {
    /// An SQLSTATE.
    Postgres(Cow<'a, str>),
    /// A primary result code, without its extension.
    Sqlite(u32),
}

fn code(err: &dyn DatabaseError) -> Option<Code<'_>> {
    let code = err.code()?;
    if err.try_downcast_ref::<PgDatabaseError>().is_some() {
        return Some(Code::Postgres(code));
    }
    code.parse::<u32>().ok().map(|code| Code::Sqlite(code & 0xff))
}

impl Code<'_> {
    /// SQLite: BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL. PostgreSQL: connection exceptions
    /// (08), transactions that are read only or timed out (25006, 25P03, 25P04), refused log-ins (28), missing databases (3D),
    /// serialization failures (40), insufficient resources (53), locks that are not available (55P03), operator intervention,
    /// which includes statement time-outs (57), and system errors (58).
    fn is_transient(&self) -> bool {
        match self {
            Self::Postgres(code) => {
                ["08", "28", "3D", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                    || ["25006", "25P03", "25P04", "55P03"].contains(&code.as_ref())
            }
            Self::Sqlite(code) => matches!(code, 5..=10 | 13..=15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn transient_states_are_distinguished_from_errors_of_a_statement() {
        for transient in [
            "08006", "25006", "25P03", "28P01", "3D000", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03",
            "58030",
        ] {
            assert!(Code::Postgres(transient.into()).is_transient(), "{transient}");
        }
        for fault in ["22P02", "23505", "25P02", "42601", "42P01", "55000", "XX000"] {
            assert!(!Code::Postgres(fault.into()).is_transient(), "{fault}");
        }
        assert!([5, 6, 7, 8, 9, 10, 13, 14, 15].map(Code::Sqlite).into_iter().all(|code| code.is_transient()));
        assert!(![1, 2, 3, 11, 12, 19, 20, 21, 26].map(Code::Sqlite).into_iter().any(|code| code.is_transient()));
    }
}
