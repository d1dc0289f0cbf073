//! Faults of the database under load (rows H10, H11, D01 to D04, S03, A06): two real servers, clients that record every
//! response, and a database that is stopped, frozen, cut off, full, locked or read-only for a while.
//!
//! Each trial takes from ten seconds to some minutes, so all are ignored here. `.ci/long` runs them, one after the other.

pub mod cluster;
mod kills;
mod load;
mod locks;
mod outages;
mod partial;
pub mod proxy;
mod races;
mod site;
mod sqlite;
mod standby;
mod trial;
mod verdict;
