//! THE ROWS: one file per table: its columns, its relations, and finders named by what they mean.

#![allow(missing_docs, reason = "a column says what it is by its name; what its name does not say has a comment")]

pub mod audit_event;
pub mod installation;
pub mod json;
pub mod known_network;
pub mod revocation;
pub mod role;
pub mod role_permission;
pub mod secret;
pub mod session;
pub mod signing_key;
pub mod throttle;
pub mod user;
pub mod user_role;
pub mod user_word;
