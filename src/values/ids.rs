//! Ids: UUIDs of version 7, so that rows made later sort later. Each kind of object has its own type of id, so that the
//! compiler catches a mix-up.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};
use uuid::{ContextV7, Timestamp, Uuid};

use super::Invalid;

macro_rules! id {
    ($(#[$doc:meta])* $Id:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType)]
        #[serde(transparent)]
        pub struct $Id(Uuid);

        impl $Id {
            /// Makes a new id. Ids sort by `now`, to the microsecond. An id can be guessed: never use it as a secret.
            pub fn new(now: DateTime<Utc>) -> Self {
                Self(v7(now))
            }

            /// Returns an id that sorts before every id of this millisecond and after every id of the millisecond before.
            pub fn first_of(at: DateTime<Utc>) -> Self {
                let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
                Self(Uuid::from_u128(u128::from(millis) << 80))
            }

            /// Returns when the id was made, to the millisecond.
            pub fn made_at(self) -> DateTime<Utc> {
                let millis = i64::try_from(self.0.as_u128() >> 80).unwrap_or_default();
                DateTime::from_timestamp_millis(millis).unwrap_or_default()
            }
        }

        impl From<Uuid> for $Id {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$Id> for Uuid {
            fn from(id: $Id) -> Self {
                id.0
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $Id {
            type Err = Invalid;

            fn from_str(raw: &str) -> Result<Self, Invalid> {
                parse(raw).map(Self)
            }
        }

        // SeaORM requires this of every primary key; only numbers can support it.
        impl TryFromU64 for $Id {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($Id)))
            }
        }
    };
}

id!(
    /// The id of a user; the `sub` of their tokens.
    UserId
);
id!(
    /// The id of a session; the `sid` of its tokens.
    SessionId
);
id!(
    /// The id of an audit event.
    EventId
);
id!(
    /// The id of an invitation.
    InvitationId
);
id!(
    /// The id of a mail.
    MailId
);
id!(
    /// The id of a second factor.
    FactorId
);

/// The id of a ticket: 16 random bytes, unlike the ids of other objects. It is a part of the links in mails, and reveals neither
/// when a ticket was made nor how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeriveValueType)]
pub struct TicketId(Uuid);

impl From<Uuid> for TicketId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<TicketId> for Uuid {
    fn from(id: TicketId) -> Self {
        id.0
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// SeaORM requires this of every primary key; only numbers can support it.
impl TryFromU64 for TicketId {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("TicketId"))
    }
}

/// Makes a UUID of version 7 (RFC 9562 section 5.7). The first bits after the milliseconds hold the fraction of the millisecond
/// (section 6.2, method 3).
pub fn v7(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    // A leap second counts up to 1,999,999,999 in chrono.
    let nanos = now.timestamp_subsec_nanos().min(999_999_999);
    let context = ContextV7::new().with_additional_precision();
    Uuid::new_v7(Timestamp::from_unix(context, seconds, nanos))
}

/// Parses the hyphenated form only: except for letter case, an id has one spelling.
fn parse(raw: &str) -> Result<Uuid, Invalid> {
    let invalid = || Invalid::new("format", "Must be a UUID, such as 019b76da-a800-7000-8000-3f1e9c7a5d21.");
    if raw.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(invalid());
    }
    Uuid::try_parse(raw).map_err(|_| invalid())
}

/// A session as its owner names it in a path: the current session, or a session by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRef {
    /// `current`: the session of the access token.
    Current,
    /// The session with this id.
    Id(SessionId),
}

impl FromStr for SessionRef {
    type Err = Invalid;

    fn from_str(raw: &str) -> Result<Self, Invalid> {
        if raw == "current" { Ok(Self::Current) } else { raw.parse().map(Self::Id) }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_later_id_sorts_later(micros in 0i64..=4_102_444_800_000_000, later in 1i64..=5_000) {
            let now = DateTime::from_timestamp_micros(micros).unwrap();
            let then = now + TimeDelta::microseconds(later);
            prop_assert!(UserId::new(now) < UserId::new(then));
            prop_assert!(UserId::new(now).to_string() < UserId::new(then).to_string());
        }

        #[test]
        fn the_text_of_an_id_parses_to_the_same_id(micros in 0i64..=4_102_444_800_000_000) {
            let id = SessionId::new(DateTime::from_timestamp_micros(micros).unwrap());
            prop_assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
            prop_assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{id}\""));
        }
    }

    #[test]
    fn two_ids_of_one_moment_differ() {
        let now = DateTime::UNIX_EPOCH;
        assert_ne!(EventId::new(now), EventId::new(now));
        assert_eq!(Uuid::from(EventId::new(now)).get_version_num(), 7);
    }

    #[test]
    fn other_spellings_are_rejected() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert!(id.parse::<UserId>().is_ok());
        for raw in ["", "1", &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}"), &id.replace('0', "g")] {
            assert_eq!(raw.parse::<UserId>().map_err(|invalid| invalid.code), Err("format"), "{raw}");
        }
    }
}
