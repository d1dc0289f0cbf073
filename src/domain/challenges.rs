//! Challenges: whoever has proven a password, or that they read a mailbox, and has to prove a second factor as well, receives a
//! challenge instead of what they asked for. Before it is completed there is no session, no cookie and no token.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait};

use crate::{
    app::App,
    entity::{
        challenge::{self, MAX_ATTEMPTS},
        factor, ticket,
        user::{self, Status},
    },
    error::{Error, Result},
    live::{database::Transaction, random},
    values::{
        challenge::{Challenge, ChallengePurpose, Challenged},
        ids::UserId,
        password_hash::PasswordHash,
    },
};

/// How long a challenge lives.
const LIFE: TimeDelta = TimeDelta::minutes(10);

/// Issues a challenge to a caller who has proven the password of the account or, for the other purposes, this ticket. The row of
/// the user is locked.
pub(super) async fn issue(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    purpose: ChallengePurpose,
    ticket: Option<&ticket::Model>,
) -> Result<Challenged> {
    let challenge = Challenge::new(random::bytes().map_err(Error::internal)?);
    let row = challenge::ActiveModel {
        digest: Set(challenge.digest()),
        user_id: Set(user.id),
        purpose: Set(purpose),
        ticket_id: Set(ticket.map(|ticket| ticket.id)),
        account_state: Set(state_of(user)),
        attempts: Set(0),
        created_at: Set(now),
        expires_at: Set(now + LIFE),
        used_at: Set(None),
        void_at: Set(None),
    };
    challenge::Entity::insert(row).exec_without_returning(tx).await?;
    let before = ticket.and_then(ticket::Model::undoes_since);
    let factors = factor::Entity::provable(tx, user.id, before, app.rp_id()).await?;
    Ok(Challenged { challenge, factors, expires_in: LIFE.num_seconds() })
}

/// Returns a challenge for this purpose and its user, whose row is locked.
///
/// # Errors
/// [`Error::InvalidChallenge`] if there is none, or if it permits nothing any more; [`Error::AccountDisabled`].
pub(super) async fn open(
    tx: &Transaction,
    now: DateTime<Utc>,
    challenge: &Challenge,
    purpose: ChallengePurpose,
) -> Result<(challenge::Model, user::Model)> {
    let of_user = find(tx, challenge).await?.user_id;
    let user = user::Entity::locked(tx, of_user).await?.ok_or(Error::InvalidChallenge)?;
    // Read again under the lock: another request may have used it meanwhile.
    let row = find(tx, challenge).await?;
    if row.purpose != purpose || row.expires_at <= now {
        return Err(Error::InvalidChallenge);
    }
    if user.status == Status::Disabled {
        return Err(Error::AccountDisabled);
    }
    if is_live(&row, &user, now) { Ok((row, user)) } else { Err(Error::InvalidChallenge) }
}

/// Returns a challenge that still permits something, whatever its purpose. Changes nothing.
///
/// # Errors
/// [`Error::InvalidChallenge`] if there is none.
pub async fn read(app: &App, challenge: &Challenge) -> Result<challenge::Model> {
    let db = app.db.read();
    let row = find(db, challenge).await?;
    let user = user::Entity::find_by_id(row.user_id).one(db).await?.ok_or(Error::InvalidChallenge)?;
    if is_live(&row, &user, app.clock.now()) { Ok(row) } else { Err(Error::InvalidChallenge) }
}

/// Fails with [`Error::InvalidChallenge`] if there never was such a challenge.
pub(super) async fn must_exist(app: &App, challenge: &Challenge) -> Result<()> {
    find(app.db.read(), challenge).await.map(drop)
}

async fn find(conn: &impl ConnectionTrait, challenge: &Challenge) -> Result<challenge::Model> {
    challenge::Entity::find_by_id(challenge.digest()).one(conn).await?.ok_or(Error::InvalidChallenge)
}

fn is_live(row: &challenge::Model, user: &user::Model, now: DateTime<Utc>) -> bool {
    let is_unspent = row.used_at.is_none() && row.void_at.is_none() && row.attempts < MAX_ATTEMPTS;
    is_unspent && row.expires_at > now && row.account_state == state_of(user)
}

/// Returns a digest of what a challenge does not survive: a change of the password, the roles or the factors.
fn state_of(user: &user::Model) -> Vec<u8> {
    let hash = user.password_hash.as_ref().map(PasswordHash::as_bytes).unwrap_or_default();
    digest(&SHA256, &[&i64::from(user.epoch).to_be_bytes(), hash].concat()).as_ref().to_vec()
}

/// Makes the challenges of a user void.
pub(super) async fn void(tx: &Transaction, user: UserId, now: DateTime<Utc>) -> Result<()> {
    Ok(challenge::Entity::void(tx, user, now).await?)
}
