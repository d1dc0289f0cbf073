//! The HTTP plumbing that all operations share: how requests are read, and how responses and problems are written.

pub mod body;
pub mod cache;
pub mod codes;
pub mod cookie;
pub mod declared_problem;
pub mod files;
pub mod form;
pub mod headers;
pub mod json;
pub mod params;
pub mod problem;
pub mod reply;
pub mod schema;
pub mod source;
pub mod union;
pub mod validation;
pub mod words;
