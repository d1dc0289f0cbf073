//! The state of a running process: its connections, its threads, and the data that requests read from memory.

pub mod clock;
pub mod clock_trust;
pub mod database;
pub mod denials;
pub mod feed;
pub mod files;
pub mod generation;
pub mod hashing_pool;
pub mod jwt_key;
pub mod key_ring;
pub mod log;
pub mod mail;
pub mod master_key;
pub mod metrics;
pub mod passkeys;
pub mod random;
pub mod rate_limits;
pub mod revocations;
pub mod role_map;
pub mod seal;
pub mod secrets;
pub mod transport_health;
pub mod verified_tokens;
