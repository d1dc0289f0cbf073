//! How mails leave the service, and how the connection to a mail server is encrypted.

use std::str::FromStr;

/// The way in which mails are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTransport {
    /// To a mail server.
    Smtp,
    /// Into files, for development.
    File,
    /// Not at all; the log names the kind and the recipient of each mail.
    Log,
    /// Not at all.
    None,
}

impl MailTransport {
    /// Returns the name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::File => "file",
            Self::Log => "log",
            Self::None => "none",
        }
    }
}

impl FromStr for MailTransport {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::Smtp, Self::File, Self::Log, Self::None].into_iter().find(|transport| transport.as_str() == raw).ok_or(())
    }
}

/// The encryption of the connection to the mail server. It does not follow from the port, and is never given up silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314 section 3.3).
    Implicit,
    /// Plain text until the command STARTTLS, without which no mail is sent (RFC 3207).
    Starttls,
    /// No encryption.
    None,
}

impl SmtpTls {
    /// Returns the name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::Starttls => "starttls",
            Self::None => "none",
        }
    }

    /// Returns the port on which servers expect it.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Implicit => 465,
            Self::Starttls => 587,
            Self::None => 25,
        }
    }
}

impl FromStr for SmtpTls {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        [Self::Implicit, Self::Starttls, Self::None].into_iter().find(|tls| tls.as_str() == raw).ok_or(())
    }
}
