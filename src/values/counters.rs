//! Counters: numbers that the database stores. Each kind has its own type, so that the compiler catches a mix-up.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $Counter:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $Counter(i64);

        impl $Counter {
            /// Returns the number that follows this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl From<i64> for $Counter {
            fn from(number: i64) -> Self {
                Self(number)
            }
        }

        impl From<$Counter> for i64 {
            fn from(counter: $Counter) -> Self {
                counter.0
            }
        }
    };
}

counter!(
    /// A user's epoch: the number of times that roles were assigned to them. An access token carries the epoch at which it was
    /// issued, and an older one is stale.
    Epoch
);
counter!(
    /// The serial of a refresh token within its session: the log-in issues the first, and each refresh issues the next.
    Serial
);
counter!(
    /// The revision of an object: the number of its changes that a reader can see.
    Revision
);
counter!(
    /// The position of a row in the revocation feed. Rows are numbered in the order in which their transactions commit.
    FeedPosition
);

impl Serial {
    /// The serial that a log-in issues.
    pub const FIRST: Self = Self(1);
}
