//! The plumbing of HTTP that all operations share: how requests are read, and how responses and problems are written.

pub mod body;
pub mod cache;
pub mod cookie;
pub mod form;
pub mod params;
pub mod problem;
pub mod reply;
pub mod source;
pub mod words;
