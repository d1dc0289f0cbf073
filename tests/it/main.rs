//! The integration tests: one binary with a file per subject. They use the server's public interface; `support` starts it.

#![allow(missing_docs, reason = "the name of a test states the expected behaviour")]
#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

mod access;
mod accounts;
mod administration;
mod answers;
mod assurance;
mod audit;
mod browser;
mod budgets;
mod cli;
mod clocks;
mod connection_limit;
mod contract;
mod cookies;
mod elsewhere;
mod email_changes;
mod email_verification;
mod faults;
mod guesses;
mod headers;
mod health;
mod histories;
mod http;
mod introspection;
mod invitations;
mod laws;
mod layers;
mod limits;
mod log_out;
mod mail;
mod mails;
mod me;
mod notices;
mod options;
mod outage;
mod pages;
mod passkeys;
mod password_resets;
mod paths;
mod readme;
mod refresh;
mod revocations;
mod roles;
mod second_factors;
mod sessions;
mod sign_ups;
mod signing_keys;
mod stolen;
mod storage;
mod support;
mod syntax;
mod throttle;
mod tokens;
mod users;
