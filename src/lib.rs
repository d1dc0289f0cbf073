//! Vestibule is a self-hosted service for accounts, sessions and roles, in one binary. [`guide`] explains how to run and use
//! it; this page is for readers of the code.
//!
//! # The layers
//!
//! From the top, the layers are the following modules. A layer imports nothing from a layer above it; `tests/it/layers.rs`
//! checks this.
//!
//! - [`cli`] has the commands of the binary.
//! - [`server`] accepts connections, limits them, and adds to every response what all responses have in common.
//! - [`api`] translates between HTTP and the domain. Only [`api`] and [`server`] know poem. [`jobs`] runs in the background: it
//!   follows the revocation feed and purges old data.
//! - [`domain`] decides: it holds the rules of accounts, sessions, roles and keys. Each operation is one transaction.
//! - [`app`] combines the settings, the database and the live state into an [`App`](app::App), which is an argument of
//!   everything above.
//! - [`live`] holds what a running process keeps in memory: the database's connections, the role map, the revocations, the
//!   signing keys, the hashing threads.
//! - [`entity`] stores and finds rows, with one file per table.
//! - [`values`] defines the vocabulary: types that are parsed once and are valid from then on. [`config`] has every setting.
//!
//! [`error`] defines what can go wrong, without HTTP. A subject has the same name in each layer: `api::sessions`,
//! `domain::sessions`, `entity::session`.
//!
//! # The life of a request
//!
//! 1. [`server`] reads the request from its connection, gives it an id, and finds the client's address. It runs the request
//!    in its own task, which continues if the client disconnects.
//! 2. A guard, the first argument of every handler that is not public, checks the access token and the permission
//!    ([`api::guard`]). The body and the parameters are validated against the contract ([`api::http`]).
//! 3. The handler, in the file of its tag in [`api`], calls one function of [`domain`].
//! 4. That function reads and writes rows through [`entity`] in one transaction, which also contains the audit event. A
//!    change that removes access is in the process's memory before the function returns.
//! 5. The handler converts the result. [`api::http::problem`] converts an [`Error`](error::Error) instead.
//! 6. [`server`] adds the common headers, counts and logs the request, and sends the response.

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
#[cfg(test)]
mod tests;
pub mod values;
