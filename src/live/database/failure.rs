//! What an error of the database means: that it is away, that it refuses to write, or that a connection is of no use.

use std::borrow::Cow;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::{
    error::DatabaseError,
    postgres::{PgDatabaseError, PgSeverity},
};

use crate::error::Error;

impl From<DbErr> for Error {
    /// A database that is away is `Unavailable`; anything else is unforeseen.
    fn from(err: DbErr) -> Self {
        if is_away(&err) { Self::Unavailable(err) } else { Self::internal(err) }
    }
}

/// The error of a statement that was not answered in time.
pub(super) fn late() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the database did not answer in time".to_owned()))
}

/// The error of a statement on a connection that an earlier failure has made useless.
pub(super) fn broken() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the connection to the database has failed before".to_owned()))
}

/// Whether the database could not be reached, or could not take the work in time.
#[must_use]
pub fn is_away(err: &DbErr) -> bool {
    match err {
        // Nobody opens a connection but to a database that was there once, so refusing one is a state that passes.
        DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
        DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => passes(cause),
        _ => false,
    }
}

/// Whether the cause is a state of the database or of the way to it, which passes, and not the work itself.
pub(super) fn passes(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(err) => code(err.as_ref()).is_some_and(Code::passes),
        _ => false,
    }
}

/// Whether a database that cannot be opened may be there a little later. A refused password or name will not pass.
pub(super) fn may_come(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(err) => code(err.as_ref()).is_some_and(|code| match code {
            Code::Postgres(code) => ["08", "53", "57"].iter().any(|class| code.starts_with(class)),
            Code::Sqlite(code) => matches!(code, 5 | 6),
        }),
        _ => false,
    }
}

/// Whether the database only reads: a standby, or a database or file that is set so.
pub(super) fn is_read_only(err: &sqlx::Error) -> bool {
    matches!(err, sqlx::Error::Database(err) if matches!(code(err.as_ref()), Some(Code::Postgres(code)) if code == "25006"))
}

/// Whether somebody else holds a lock that a statement waited for.
pub(super) fn is_locked(err: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = err else { return false };
    let sqlx::Error::Database(cause) = cause.as_ref() else { return false };
    code(cause.as_ref()).is_some_and(|code| match code {
        Code::Postgres(code) => code == "55P03",
        Code::Sqlite(code) => matches!(code, 5 | 6),
    })
}

/// Whether the database cannot write at present: it only reads, its disk is full or fails.
pub(super) fn refuses_writes(err: &sqlx::Error) -> bool {
    let sqlx::Error::Database(err) = err else { return false };
    code(err.as_ref()).is_some_and(|code| match code {
        Code::Postgres(code) => code == "25006" || code == "53100" || code.starts_with("58"),
        Code::Sqlite(code) => matches!(code, 8 | 10 | 13 | 14),
    })
}

/// Whether a connection is of no use after this error.
pub(super) fn breaks(err: &sqlx::Error, in_transaction: bool) -> bool {
    let sqlx::Error::Database(err) = err else {
        return !matches!(
            err,
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_)
        );
    };
    code(err.as_ref()).is_none_or(|code| match code {
        // A transaction that PostgreSQL has aborted, or a statement that it gave up, costs the transaction alone.
        Code::Postgres(ref class) if class.starts_with("40") || class == "55P03" || class == "57014" => false,
        Code::Postgres(_) => code.passes(),
        // SQLite ends the transaction by itself after some errors, so that what follows would not be part of it.
        Code::Sqlite(5 | 6) => in_transaction,
        Code::Sqlite(code) => !matches!(code, 1 | 19),
    })
}

/// Whether a failed COMMIT is certain to have changed nothing: the database itself says that it failed.
pub(super) fn is_certain(err: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = err else { return false };
    let sqlx::Error::Database(cause) = cause.as_ref() else { return false };
    match cause.try_downcast_ref::<PgDatabaseError>() {
        // FATAL and PANIC end the connection or the server, perhaps after the commit was on disk.
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
    /// (08), read-only transactions and expired ones (25006, 25P03, 25P04), refused log-ins (28), databases that are gone
    /// (3D), serialization failures (40), insufficient resources (53), locks (55P03), operator intervention, which a
    /// statement time-out is too (57), and system errors (58).
    fn passes(self) -> bool {
        match self {
            Self::Postgres(code) => {
                ["08", "28", "3D", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                    || ["25006", "25P03", "25P04", "55P03"].contains(&&*code)
            }
            Self::Sqlite(code) => matches!(code, 5..=10 | 13..=15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn states_that_pass_are_told_from_faults_of_a_statement() {
        for away in [
            "08006", "25006", "25P03", "28P01", "3D000", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03",
            "58030",
        ] {
            assert!(Code::Postgres(away.into()).passes(), "{away}");
        }
        for fault in ["22P02", "23505", "25P02", "42601", "42P01", "55000", "XX000"] {
            assert!(!Code::Postgres(fault.into()).passes(), "{fault}");
        }
        assert!([5, 6, 7, 8, 9, 10, 13, 14, 15].map(Code::Sqlite).into_iter().all(Code::passes));
        assert!(![1, 2, 3, 11, 12, 19, 20, 21, 26].map(Code::Sqlite).into_iter().any(Code::passes));
    }
}
