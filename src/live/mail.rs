//! Mails: templates turn a kind, a language and values into a message, and a transport delivers it. Nothing here knows when a
//! mail is due.

mod draft;
mod file;
mod message;
mod send_error;
mod smtp;
mod starttls;
mod templates;
mod tracking;
mod transport;
mod wording;

pub use self::{
    draft::{Draft, Values},
    message::{Message, Sender},
    send_error::SendError,
    smtp::Limits,
    templates::Templates,
    tracking::hint as tracking_hint,
    transport::Transport,
};
