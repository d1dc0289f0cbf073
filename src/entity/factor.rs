//! Second factors: the authenticator apps and the passkeys of each account.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, QuerySelect, Select, entity::prelude::*, sea_query::Expr};

use super::recovery_code;
use crate::values::{
    factor_kind::{FactorKind, FactorProofKind},
    ids::{FactorId, UserId},
};

/// A second factor. It is confirmed: its owner has used it once.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "factors")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FactorId,
    pub user_id: UserId,
    pub kind: FactorKind,
    /// The name that the owner has given it.
    pub name: String,
    /// The secret of an authenticator app, or the credential of a passkey as JSON. Bound to kind and id.
    pub sealed: Vec<u8>,
    /// The number in the label of an authenticator app, from 1. Apps overwrite an entry that has the same label.
    pub ordinal: Option<i64>,
    /// The last time step whose code was used. No code of this step or of an earlier one is accepted.
    pub last_step: Option<i64>,
    /// The id of a passkey's credential, which no other passkey has.
    #[sea_orm(unique)]
    pub credential_id: Option<Vec<u8>>,
    /// The domain to which browsers bind the passkey.
    pub rp_id: Option<String>,
    /// Whether the passkey was copied to other devices when it was last used.
    pub backed_up: Option<bool>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns whether the factor can be proven at a service with this host; `None` if the service has no passkeys.
    pub fn works_at(&self, rp_id: Option<&str>) -> bool {
        self.kind != FactorKind::Passkey || rp_id.is_some() && self.rp_id.as_deref() == rp_id
    }
}

impl Entity {
    /// Selects the factors that a user had before `before` or, without it, has. The oldest comes first.
    pub fn of(user: UserId, before: Option<DateTime<Utc>>) -> Select<Self> {
        let held = Self::find().filter(COLUMN.user_id.eq(user)).order_by_asc(COLUMN.id);
        match before {
            Some(before) => held.filter(COLUMN.created_at.lt(before)),
            None => held,
        }
    }

    /// Returns whether a user had a factor before `before` or, without it, has one: recovery codes alone are none.
    pub async fn is_held(conn: &impl ConnectionTrait, user: UserId, before: Option<DateTime<Utc>>) -> Result<bool, DbErr> {
        Ok(Self::of(user, before).one(conn).await?.is_some())
    }

    /// Returns how a user can prove a second factor at a service with this host, with what they had before `before` or, without it,
    /// with what they have. The list is empty if they hold no factor, because recovery codes alone are none. It can also be empty
    /// if they hold one: a passkey that was made for another host proves nothing.
    pub async fn provable(
        conn: &impl ConnectionTrait,
        user: UserId,
        before: Option<DateTime<Utc>>,
        rp_id: Option<&str>,
    ) -> Result<Vec<FactorProofKind>, DbErr> {
        let held = Self::of(user, before).all(conn).await?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let works = held.iter().filter(|factor| factor.works_at(rp_id));
        let mut kinds: Vec<_> = works.map(|factor| FactorProofKind::from(factor.kind)).collect();
        if recovery_code::Entity::left(conn, user, before).await? > 0 {
            kinds.push(FactorProofKind::RecoveryCode);
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(kinds)
    }

    /// Returns the passkey with this credential id.
    pub async fn by_credential(conn: &impl ConnectionTrait, id: &[u8]) -> Result<Option<Model>, DbErr> {
        Self::find().filter(COLUMN.credential_id.eq(id)).one(conn).await
    }

    /// Returns the hosts for which passkeys were made, with the number of passkeys for each.
    pub async fn count_by_rp_id(conn: &impl ConnectionTrait) -> Result<Vec<(String, i64)>, DbErr> {
        let hosts = Self::find().select_only().column(Column::RpId).column_as(Column::Id.count(), "count");
        let hosts = hosts.filter(COLUMN.rp_id.is_not_null()).group_by(Column::RpId).order_by_asc(Column::RpId);
        hosts.into_tuple().all(conn).await
    }

    /// Uses the code of a time step, once: returns false, and changes nothing, if a code of this step or of a later one was used.
    pub async fn use_step(tx: &impl ConnectionTrait, id: FactorId, step: i64, now: DateTime<Utc>) -> Result<bool, DbErr> {
        let used = Self::update_many()
            .col_expr(Column::LastStep, Expr::value(step))
            .col_expr(Column::LastUsedAt, Expr::value(now))
            .filter(COLUMN.id.eq(id))
            .filter(COLUMN.last_step.lt(step));
        Ok(used.exec(tx).await?.rows_affected == 1)
    }

    /// Makes the codes of every app up to this time step count as used.
    pub async fn use_steps(tx: &impl ConnectionTrait, step: i64) -> Result<(), DbErr> {
        let used = Self::update_many().col_expr(Column::LastStep, Expr::value(step));
        used.filter(COLUMN.last_step.lt(step)).exec(tx).await.map(drop)
    }

    /// Gives a factor another name.
    pub async fn rename(tx: &impl ConnectionTrait, id: FactorId, name: &str) -> Result<(), DbErr> {
        let renamed = Self::update_many().col_expr(Column::Name, Expr::value(name));
        renamed.filter(COLUMN.id.eq(id)).exec(tx).await.map(drop)
    }

    /// Deletes the factors of a user that were created at or after a time, or all of them. Returns how many there were.
    pub async fn delete_of(tx: &impl ConnectionTrait, user: UserId, since: Option<DateTime<Utc>>) -> Result<u64, DbErr> {
        let mut deleted = Self::delete_many().filter(COLUMN.user_id.eq(user));
        if let Some(since) = since {
            deleted = deleted.filter(COLUMN.created_at.gte(since));
        }
        Ok(deleted.exec(tx).await?.rows_affected)
    }
}
