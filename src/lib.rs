//! Vestibule is a self-hosted service for accounts, sessions and roles, in one binary. [`guide`] explains how to run it and how
//! to use it.
//!
//! The code has four floors. Each imports only what is below it, which `tests/it/floors.rs` checks:
//!
//! - [`api`] translates HTTP. Besides [`server`] it is the only floor that knows poem.
//! - [`domain`] decides. Each operation runs in one transaction.
//! - [`entity`] stores and finds rows, one file per table.
//! - [`values`] parses: a value of one of its types is always valid.
//!
//! Beside them stand [`config`] (every setting), [`app`] (the state that every function receives), [`live`] (what a process
//! holds in memory), [`error`] (what can go wrong, free of HTTP), [`server`] (the accept loop, and what all responses have in
//! common), [`jobs`] (background work) and [`cli`] (the commands).
//!
//! [`server`] gives each request an id. The guard in the signature of its handler decides who may call ([`api::guard`]). The
//! handler calls one function of [`domain`], which reads and writes [`entity`]. [`api::http::problem`] translates errors into
//! responses. A subject has the same name on each floor: `api::sessions`, `domain::sessions`, `entity::session`.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod entity;
pub mod error;
pub mod guide;
pub mod jobs;
pub mod live;
pub mod server;
pub mod values;
