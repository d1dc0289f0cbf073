//! The transports. `smtp` and `file` deliver mails; `log` and `none` do not.

use std::path::Path;

use anyhow::Result;

use super::{
    file::Folder,
    message::{Message, Sender, address},
    send_error::{SendError, line},
    smtp::{Limits, Server},
};
use crate::config::{MailTransport, Settings};

/// The way in which mails leave the process.
pub struct Transport {
    sender: Sender,
    kind: Kind,
}

enum Kind {
    Smtp(Server),
    File(Folder),
    Log,
    None,
}

impl Transport {
    /// Prepares the transport of the settings. Nothing is connected or created before the first mail.
    pub fn new(settings: &Settings, limits: Limits) -> Result<Self> {
        let sender = Sender::of(settings);
        let kind = match settings.mail_transport() {
            MailTransport::Smtp => Kind::Smtp(Server::new(&settings.mail.smtp, sender.address()?, sender.domain(), limits)?),
            MailTransport::File => Kind::File(Folder::new(settings.data_dir.join("mail"))),
            MailTransport::Log => Kind::Log,
            MailTransport::None => Kind::None,
        };
        Ok(Self { sender, kind })
    }

    /// Returns whether mails reach anybody. Otherwise operations that need mail are not available.
    pub fn can_send(&self) -> bool {
        matches!(self.kind, Kind::Smtp(_) | Kind::File(_))
    }

    /// Returns whether there is no transport, so that a mail need not be written at all.
    pub fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// Returns the directory of the mails, if they become files.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(folder) => Some(folder.path()),
            _ => None,
        }
    }

    /// Returns the host and the port of the mail server, if there is one.
    pub fn server(&self) -> Option<String> {
        match &self.kind {
            Kind::Smtp(server) => Some(server.name()),
            _ => None,
        }
    }

    /// Sends a message. Takes at most [`Limits::mail`]. A mail that was sent twice, because the first answer was lost, has the
    /// same `Message-ID` both times.
    pub async fn send(&self, message: &Message) -> Result<(), SendError> {
        match &self.kind {
            Kind::Smtp(server) => {
                let refused = |error: anyhow::Error| SendError::Refused(line(&format!("{error:#}"), message.to.as_str()));
                let bytes = message.format(&self.sender).map_err(refused)?;
                server.send(&address(&message.to).map_err(refused)?, &bytes).await
            }
            Kind::File(folder) => {
                let bytes = message.format(&self.sender).map_err(|error| SendError::Refused(format!("{error:#}")))?;
                folder.write(message.id, bytes).await
            }
            Kind::Log => {
                tracing::info!(kind = %message.kind, to = %message.to, "a mail was not sent, because mail.transport is log");
                Ok(())
            }
            Kind::None => Err(SendError::Transport("mail.transport is none".to_owned())),
        }
    }
}
