//! THE RULES: what the product does, free of HTTP. One transaction an operation, with its audit event inside.

pub mod accounts;
pub mod audit;
pub mod authority;
pub mod caller;
pub mod clocks;
pub mod credentials;
pub mod health;
pub mod paging;
pub mod refresh;
pub mod revocations;
pub mod roles;
pub mod sessions;
pub mod setup;
pub mod signing_keys;
pub mod source;
pub mod throttle;
pub mod tokens;
pub mod users;
