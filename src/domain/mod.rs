//! THE RULES: what the product does, without HTTP. Each operation runs in one transaction, which contains its audit event.

pub mod accounts;
pub mod audit;
pub mod authentication;
pub mod authority;
pub mod browsers;
pub mod caller;
pub mod clocks;
pub mod credentials;
pub mod email_changes;
pub mod email_verification;
pub mod health;
pub mod invitations;
pub mod mail;
pub mod paging;
pub mod password_resets;
pub mod refresh;
pub mod revocations;
pub mod roles;
pub mod sessions;
pub mod setup;
pub mod sign_ups;
pub mod signing_keys;
pub mod source;
pub mod throttle;
pub mod tokens;
pub mod users;
