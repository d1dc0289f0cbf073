//! The mails of a service: the queue, and the files that the transport `file` writes.

use std::fs;

use sea_orm::{EntityTrait, QueryOrder};
use vestibule::{config::MailTransport, domain::mail::sending, entity::mail};

use super::{
    TestApp,
    mail_text::{code, plain, token},
};

/// A mail that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub kind: String,
    pub to: String,
    pub language: String,
    /// The token in its link.
    pub token: Option<String>,
    /// The eight digits of its code.
    pub code: Option<String>,
    pub text: String,
}

impl Sent {
    #[track_caller]
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or_else(|| panic!("no link: {}", self.text))
    }

    #[track_caller]
    pub fn code(&self) -> &str {
        self.code.as_deref().unwrap_or_else(|| panic!("no code: {}", self.text))
    }
}

impl TestApp {
    /// Starts an app that sends no mail.
    pub async fn without_mail() -> Self {
        Self::start_with(|settings| settings.mail.transport = Some(MailTransport::None)).await
    }

    /// Sends every mail that is due.
    pub async fn send_due_mails(&self) {
        loop {
            let leased = sending::lease(&self.app).await.unwrap();
            if leased.is_empty() {
                return;
            }
            futures_util::future::join_all(leased.into_iter().map(|mail| sending::deliver(&self.app, mail))).await;
        }
    }

    /// Returns the rows of all mails, oldest first.
    pub async fn mail_rows(&self) -> Vec<mail::Model> {
        mail::Entity::find().order_by_asc(mail::Column::Id).all(self.app.db.read()).await.unwrap()
    }

    /// Sends every mail that is due, and returns all that were sent so far, oldest first.
    pub async fn mails(&self) -> Vec<Sent> {
        self.send_due_mails().await;
        let mut sent = Vec::new();
        for row in self.mail_rows().await {
            let file = self.app.settings.data_dir.join("mail").join(format!("{}.eml", row.id));
            let Ok(text) = fs::read_to_string(file) else { continue };
            sent.push(Sent {
                kind: row.kind.to_string(),
                to: row.to_address.clone().unwrap(),
                language: row.language.to_string(),
                token: token(&text),
                code: code(&text),
                text: plain(&text),
            });
        }
        sent
    }

    /// Sends every mail that is due, and returns the newest one of this kind to this address.
    pub async fn mail(&self, kind: &str, to: &str) -> Sent {
        let sent = self.mails().await;
        let newest = sent.iter().rev().find(|mail| mail.kind == kind && mail.to == to);
        newest.cloned().unwrap_or_else(|| panic!("no {kind} to {to}: {sent:#?}"))
    }
}
