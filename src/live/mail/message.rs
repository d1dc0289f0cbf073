//! Messages as bytes: headers and a body in text and HTML (RFC 5322, RFC 2046).

use std::time::SystemTime;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use lettre::{
    Address,
    message::{
        Body, Mailbox as Header, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use uuid::Uuid;

use super::tracking;
use crate::{
    config::{MailTransport, Settings},
    values::{email::Email, language::Language, mail_kind::MailKind, mailbox::Mailbox},
};

/// A rendered mail.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id of the mail.
    pub id: Uuid,
    /// The kind.
    pub kind: MailKind,
    /// The language of the text.
    pub language: Language,
    /// The recipient.
    pub to: Email,
    /// The time in the header `Date`.
    pub created_at: DateTime<Utc>,
    /// The subject: one line.
    pub subject: String,
    /// The text for readers without HTML.
    pub text: String,
    /// The text in HTML.
    pub html: String,
}

/// What all messages have in common: the sender, the address for answers, and the headers for the provider of the mail server.
#[derive(Clone, Debug)]
pub struct Sender {
    from: Mailbox,
    reply_to: Option<Mailbox>,
    headers: &'static [(&'static str, &'static str)],
}

impl Sender {
    /// Returns the sender in the settings.
    pub fn of(settings: &Settings) -> Self {
        let host = settings.mail.smtp.host.as_deref().filter(|_| settings.mail_transport() == MailTransport::Smtp);
        Self {
            from: settings.mail_from(),
            reply_to: settings.mail.reply_to.clone(),
            headers: host.map_or(&[], tracking::headers),
        }
    }

    /// Returns the sender's address, for the command MAIL.
    pub(super) fn address(&self) -> Result<Address> {
        address(&self.from.address)
    }

    /// Returns the domain of the sender's address.
    pub(super) fn domain(&self) -> &str {
        self.from.domain()
    }
}

impl Message {
    /// Returns the bytes of the message. Equal messages have equal bytes.
    pub fn format(&self, sender: &Sender) -> Result<Vec<u8>> {
        let mut builder = lettre::Message::builder()
            .from(header(&sender.from)?)
            .to(Header::new(None, address(&self.to)?))
            .subject(&self.subject)
            .date(SystemTime::from(self.created_at))
            .message_id(Some(format!("<{}@{}>", self.id, sender.domain())));
        if let Some(reply_to) = &sender.reply_to {
            builder = builder.reply_to(header(reply_to)?);
        }
        // RFC 3834: no vacation responder answers. The second header says the same to Exchange.
        let fixed = [("Auto-Submitted", "auto-generated"), ("X-Auto-Response-Suppress", "All")];
        let language = [("Content-Language", self.language.as_str())];
        for (name, value) in fixed.into_iter().chain(language).chain(sender.headers.iter().copied()) {
            let name = HeaderName::new_from_ascii(name.to_owned()).context("a header has an invalid name")?;
            builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
        }
        let body = MultiPart::alternative()
            .boundary(format!("=_{}", self.id.simple()))
            .singlepart(part(ContentType::TEXT_PLAIN, &self.text))
            .singlepart(part(ContentType::TEXT_HTML, &self.html));
        Ok(builder.multipart(body).context("the message has no sender or recipient")?.formatted())
    }
}

/// The maximum length of a line in bytes (RFC 5322 section 2.1.1).
const LONGEST_LINE: usize = 998;

/// Returns a part in 7bit if possible, so that a mail in a file can be read as it is, otherwise in quoted-printable. lettre would
/// choose 7bit for short lines only.
fn part(content_type: ContentType, text: &str) -> SinglePart {
    let body = if text.is_ascii() && text.lines().all(|line| line.len() <= LONGEST_LINE) {
        let lines: Vec<_> = text.lines().collect();
        Body::dangerous_pre_encoded((lines.join("\r\n") + "\r\n").into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable)
            .expect("every text can be written in quoted-printable")
    };
    SinglePart::builder().content_type(content_type).body(body)
}

fn header(mailbox: &Mailbox) -> Result<Header> {
    Ok(Header::new(mailbox.name.as_ref().map(ToString::to_string), address(&mailbox.address)?))
}

/// Returns an address in lettre's type.
pub(super) fn address(email: &Email) -> Result<Address> {
    let (local, domain) = email.as_str().rsplit_once('@').context("an address has an @")?;
    Address::new(local, domain).context("the address cannot be written in a message")
}
