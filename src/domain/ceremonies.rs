//! Ceremonies: the two requests by which a passkey is made or used. What the service needs between them is sealed and handed to the
//! client, so that strangers who begin ceremonies write nothing. A ceremony is bound to its purpose and its account, expires, and
//! works once: only its redemption is recorded.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::App,
    entity::redeemed_ceremony,
    error::{Error, Result},
    live::{
        database::Transaction,
        random,
        seal::{self, KEY_LEN, Sealer},
    },
    values::{ceremony::CeremonyText, ids::UserId},
};

/// How long a ceremony may take. Browsers give the user five minutes to confirm.
const LIFE: TimeDelta = TimeDelta::minutes(10);

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A passkey is added to an account.
    Enrolment,
    /// A log-in by a passkey, or the second factor of one.
    LogIn,
    /// The second factor of a password reset.
    Reset,
    /// The second factor of undoing a changed address.
    Revert,
    /// Fresh proof in a session.
    Proof,
}

impl Purpose {
    /// The name to which the sealed text is bound.
    const fn name(self) -> &'static str {
        match self {
            Self::Enrolment => "enrolment",
            Self::LogIn => "log-in",
            Self::Reset => "reset",
            Self::Revert => "revert",
            Self::Proof => "proof",
        }
    }
}

/// A ceremony that has begun.
pub struct Ceremony {
    /// Its id, under which the redemption is recorded.
    id: Uuid,
    content: Content,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Content {
    /// The account. Absent if the passkey is to name it.
    user: Option<UserId>,
    expires_at: DateTime<Utc>,
    /// What `live::passkeys` needs to check the result.
    state: Value,
}

/// Seals a ceremony that begins at `now`.
pub fn begin(app: &App, now: DateTime<Utc>, purpose: Purpose, user: Option<UserId>, state: Value) -> Result<CeremonyText> {
    let id = Uuid::from_bytes(*random::bytes().map_err(Error::internal)?);
    let content = serde_json::to_vec(&Content { user, expires_at: now + LIFE, state }).map_err(Error::internal)?;
    let sealed = sealer(app, id).seal(seal::Purpose::Ceremony, purpose.name(), &content);
    Ok(CeremonyText { id, sealed })
}

/// Opens a ceremony. Returns `None` if it was not sealed here, was begun for another purpose, or has expired; also if a backup was
/// restored since, because it does not say whether the ceremony was redeemed.
pub fn open(app: &App, now: DateTime<Utc>, purpose: Purpose, text: &CeremonyText) -> Option<Ceremony> {
    let content = sealer(app, text.id).open(seal::Purpose::Ceremony, purpose.name(), &text.sealed).ok()?;
    let content: Content = serde_json::from_slice(&content).ok()?;
    let is_of_generation = !app.access.generation.began_after(content.expires_at - LIFE);
    (now < content.expires_at && is_of_generation).then_some(Ceremony { id: text.id, content })
}

impl Ceremony {
    /// Returns the account for which the ceremony was begun.
    pub fn user(&self) -> Option<UserId> {
        self.content.user
    }

    /// Returns the state that was sealed.
    pub fn state(&self) -> Value {
        self.content.state.clone()
    }

    /// Records that the ceremony was redeemed. Returns false if it was redeemed before.
    pub async fn redeem(&self, tx: &Transaction) -> Result<bool> {
        Ok(redeemed_ceremony::Entity::redeem(tx, self.id, self.content.expires_at).await?)
    }
}

/// Returns the sealer of one ceremony. Anybody may begin as many ceremonies as they like, and no two of them share a key, so no
/// nonce is ever used twice.
fn sealer(app: &App, id: Uuid) -> Sealer {
    let key = hmac::sign(&app.factors.ceremony_root, &[b"ceremony\0".as_slice(), id.as_bytes()].concat());
    let key: &[u8; KEY_LEN] = key.as_ref().try_into().expect("an HMAC-SHA-256 has 32 bytes");
    Sealer::new(key)
}
