//! THE ROWS: one file for each table, with its columns, its relations and its finders.

#![allow(missing_docs, reason = "most columns need no more than their names")]

pub mod audit_event;
pub mod challenge;
pub mod closed_account;
pub mod factor;
pub mod installation;
pub mod invitation;
pub mod json;
pub mod known_network;
pub mod mail;
pub mod pending_totp;
pub mod recovery_code;
pub mod redeemed_ceremony;
pub mod revocation;
pub mod role;
pub mod role_permission;
pub mod secret;
pub mod session;
pub mod signing_key;
pub mod tally;
pub mod throttle;
pub mod ticket;
pub mod ticket_handle;
pub mod user;
pub mod user_role;
pub mod user_word;
