//! Vestibule: accounts, sessions and roles for other people's products.
//!
//! Four floors; each imports only what is below it (`tests/it/floors.rs` sees to that):
//!
//! - [`api`]: the door. HTTP in, HTTP out; beside [`server`] the only one that knows poem.
//! - [`domain`]: the rules. What the product does, one transaction an operation.
//! - [`entity`]: the rows. One file per table.
//! - [`values`]: the words. Parsed once, pure.
//!
//! Beside them: [`config`] (every setting), [`app`] (what everything gets as an argument), [`live`] (what a running
//! process holds in memory), [`error`] (what can go wrong, free of HTTP), [`server`] (listens, and adds what every answer
//! has in common), [`jobs`] (what runs by itself), [`cli`] (commands) and [`guide`] (how to run and use it).
//!
//! A request visits three rooms and comes back: [`server`] gives it an id, a guard in [`api::guard`] says who is calling,
//! its handler in [`api`] calls one function of [`domain`], which reads and writes [`entity`] in one transaction.
//! [`api::http::problem`] turns whatever went wrong into the answer.

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
