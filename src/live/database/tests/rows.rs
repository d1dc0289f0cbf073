//! Tests that rows behave alike on both databases.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proptest::prelude::*;
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait,
    IntoActiveModel, PaginatorTrait, PartialModelTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, SqlErr, Statement,
};
use serde_json::json;
use tokio::runtime;

use super::test_database::{TestDatabase, is_sqlite};
use crate::{
    entity::{
        audit_event,
        json::JsonText,
        revocation, role, role_permission, session, signing_key,
        user::{self, NameConflict, Profile, Status},
        user_role,
    },
    live::database::Database,
    values::{
        authentication::{Acr, Amr, FactorIds},
        bcrypt_hash::BcryptHash,
        ids::{EventId, SessionId, UserId},
        password_hash::PasswordHash,
        role_name::RoleName,
    },
};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 123_456_000).unwrap()
}

pub(super) fn user(email: &str, username: Option<&str>) -> user::Model {
    user::Model {
        id: UserId::new(noon()),
        email: email.into(),
        username: username.map(Into::into),
        name: None,
        status: Status::Active,
        password_hash: Some(PasswordHash::from_bcrypt(&BcryptHash { cost: 4, salt: [1; 16], digest: [2; 23] })),
        epoch: 1.into(),
        revision: 1.into(),
        created_at: noon(),
        updated_at: noon(),
        last_login_at: None,
        email_verified: false,
        language: None,
        pending_email: None,
        sign_in_notice_at: None,
        second_factor: false,
    }
}

/// Inserts in a separate transaction, so that a failure does not affect the next one.
pub(super) async fn insert<A>(db: &Database, row: A) -> Result<<A::Entity as EntityTrait>::Model, DbErr>
where
    A: ActiveModelTrait + ActiveModelBehavior + Send,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
{
    let tx = db.write().await?;
    let row = row.insert(&tx).await?;
    tx.commit().await?;
    Ok(row)
}

#[tokio::test]
async fn a_user_is_read_as_it_was_written() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let mut ada = user("ada@example.org", Some("ada"));
        ada.last_login_at = Some(noon() + TimeDelta::microseconds(1));
        assert_eq!(insert(&db, ada.clone().into_active_model()).await.unwrap(), ada);
        for identifier in ["ada@example.org", "ada"] {
            assert_eq!(user::Entity::by_identifier(identifier).one(db.read()).await.unwrap(), Some(ada.clone()));
        }
        assert_eq!(user::Entity::by_identifier("Ada").one(db.read()).await.unwrap(), None);
        let profile = user::Entity::find_by_id(ada.id).into_partial_model::<Profile>().one(db.read()).await.unwrap();
        assert_eq!(profile, Some(ada.clone().into()));
        let tx = db.write().await.unwrap();
        assert_eq!(user::Entity::locked(&tx, ada.id).await.unwrap(), Some(ada));
        assert_eq!(user::Entity::locked(&tx, UserId::new(noon())).await.unwrap(), None);
    }
}

#[test]
fn a_password_hash_is_neither_printed_nor_selected_with_a_profile() {
    let ada = user("ada@example.org", None);
    let printed = format!("{ada:?} {:?} {:?}", ada.clone().into_active_model(), user::ModelEx::from(ada.clone()));
    assert!(!printed.contains("hunter2"), "{printed}");
    let select = Profile::select_cols(user::Entity::find().select_only());
    assert!(!select.build(DbBackend::Postgres).sql.contains("password_hash"));
}

#[tokio::test]
async fn names_are_unique_and_sorted_by_their_bytes() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        for name in ["b", "B", "a", "é", "Z", "_"] {
            insert(&db, user(&format!("{name}@x"), Some(name)).into_active_model()).await.unwrap();
        }
        let sorted: Vec<Option<String>> = user::Entity::find()
            .select_only()
            .column(user::Column::Username)
            .order_by_asc(user::COLUMN.username)
            .into_tuple()
            .all(db.read())
            .await
            .unwrap();
        assert_eq!(sorted.into_iter().flatten().collect::<Vec<_>>(), ["B", "Z", "_", "a", "b", "é"]);

        let taken = insert(&db, user("b@x", None).into_active_model()).await.unwrap_err();
        assert_eq!(NameConflict::from_error(&taken), Some(NameConflict::Email), "{taken}");
        let taken = insert(&db, user("new@x", Some("b")).into_active_model()).await.unwrap_err();
        assert_eq!(NameConflict::from_error(&taken), Some(NameConflict::Username), "{taken}");
        for nameless in ["one@x", "two@x"] {
            insert(&db, user(nameless, None).into_active_model()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn built_in_roles_come_with_the_schema() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let roles = role::Entity::find().order_by_asc(role::COLUMN.name).all(db.read()).await.unwrap();
        assert_eq!(roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["admin", "user"]);
        for role in roles {
            assert!(role.built_in && role.description.is_some());
            assert_eq!(role.created_at.timestamp_subsec_nanos(), 0);
            if is_sqlite(&db) {
                let sql = Statement::from_string(db.read().get_database_backend(), "SELECT created_at FROM roles");
                let row = db.read().query_one_raw(sql).await.unwrap().unwrap();
                assert_eq!(row.try_get_by_index::<String>(0).unwrap(), stored(role.created_at));
            }
        }
    }
}

#[tokio::test]
async fn replacing_roles_removes_the_others_and_fails_for_a_missing_role() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let ada = insert(&db, user("ada@x", None).into_active_model()).await.unwrap();
        let bob = insert(&db, user("bob@x", None).into_active_model()).await.unwrap();
        let tx = db.write().await.unwrap();
        user_role::replace(&tx, ada.id, [RoleName::user(), RoleName::admin()]).await.unwrap();
        assert_eq!(user_role::Entity::of(&tx, ada.id).await.unwrap(), [RoleName::admin(), RoleName::user()]);
        user_role::replace(&tx, ada.id, &[RoleName::user()]).await.unwrap();
        assert_eq!(user_role::Entity::of(&tx, ada.id).await.unwrap(), [RoleName::user()]);
        assert!(user_role::Entity::of(&tx, bob.id).await.unwrap().is_empty());
        user_role::replace(&tx, ada.id, Vec::<RoleName>::new()).await.unwrap();
        assert!(user_role::Entity::of(&tx, ada.id).await.unwrap().is_empty());
        let error = user_role::replace(&tx, ada.id, ["ghost".parse::<RoleName>().unwrap()]).await.unwrap_err();
        assert!(matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_))), "{error}");
    }
}

#[tokio::test]
async fn foreign_keys_are_enforced() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let ada = insert(&db, user("ada@x", None).into_active_model()).await.unwrap();
        let orphan = session::Model { user_id: UserId::new(noon()), ..session_of(&ada) };
        let error = insert(&db, orphan.into_active_model()).await.unwrap_err();
        assert!(matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_))), "{error}");

        let session = insert(&db, session_of(&ada).into_active_model()).await.unwrap();
        let tx = db.write().await.unwrap();
        user_role::replace(&tx, ada.id, [RoleName::user()]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(session::Entity::of(ada.id).all(db.read()).await.unwrap(), [session]);
        let tx = db.write().await.unwrap();
        let held = role::Entity::delete_by_id(RoleName::user()).exec(&tx).await.unwrap_err();
        assert!(matches!(held.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_))), "{held}");
        drop(tx);

        let tx = db.write().await.unwrap();
        user::Entity::delete_by_id(ada.id).exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(session::Entity::find().count(db.read()).await.unwrap(), 0);
        assert_eq!(user_role::Entity::find().count(db.read()).await.unwrap(), 0);
    }
}

pub(super) fn session_of(user: &user::Model) -> session::Model {
    session::Model {
        id: SessionId::new(noon()),
        user_id: user.id,
        client_id: "vestibule".into(),
        created_at: noon(),
        last_used_at: noon(),
        expires_at: noon() + TimeDelta::days(90),
        address: Some("192.0.2.1".into()),
        user_agent: None,
        refresh_secret: vec![7; 32],
        current: 1.into(),
        parent: None,
        auth_time: noon(),
        acr: Acr::One,
        amr: Amr::default(),
        factors: FactorIds::default(),
    }
}

#[tokio::test]
async fn grants_are_read_as_one_map_and_deleted_with_their_role() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let auditor = role::Model {
            name: "auditor".parse().unwrap(),
            description: None,
            built_in: false,
            created_at: noon(),
            updated_at: noon(),
        };
        insert(&db, auditor.into_active_model()).await.unwrap();
        for permission in ["users:read", "audit:read"] {
            let row = role_permission::Model { role: "auditor".parse().unwrap(), permission: permission.parse().unwrap() };
            insert(&db, row.into_active_model()).await.unwrap();
        }
        let grants = role_permission::all(db.read()).await.unwrap();
        let permissions = ["audit:read", "users:read"].map(|permission| permission.parse().unwrap());
        assert_eq!(grants, [("auditor".parse().unwrap(), permissions.into())].into());
        let tx = db.write().await.unwrap();
        role::Entity::delete_by_id("auditor".parse::<RoleName>().unwrap()).exec(&tx).await.unwrap();
        assert!(role_permission::all(&tx).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn no_position_in_the_feed_is_used_twice() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let row = || revocation::ActiveModel {
            kind: Set(revocation::RevocationKind::TokensStale),
            user_id: Set(Some(UserId::new(noon()))),
            least_epoch: Set(Some(2.into())),
            created_at: Set(noon()),
            expires_at: Set(noon()),
            ..Default::default()
        };
        let first = insert(&db, row()).await.unwrap();
        let second = insert(&db, row()).await.unwrap();
        assert_eq!(revocation::after(db.read(), first.seq).await.unwrap(), std::slice::from_ref(&second));
        let tx = db.write().await.unwrap();
        revocation::Entity::delete_many().exec(&tx).await.unwrap();
        tx.commit().await.unwrap();
        assert!(insert(&db, row()).await.unwrap().seq > second.seq);
    }
}

#[tokio::test]
async fn an_unknown_status_is_refused() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let ada = insert(&db, user("ada@x", None).into_active_model()).await.unwrap();
        let tx = db.write().await.unwrap();
        let error = tx.execute_unprepared("UPDATE users SET status = 'gone'").await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("check constraint"), "{error}");
        drop(tx);
        assert_eq!(user::Entity::find().one(db.read()).await.unwrap(), Some(ada));
    }
}

#[tokio::test]
async fn json_and_bytes_are_read_as_they_were_written() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let key = signing_key::Model {
            kid: "k1".into(),
            algorithm: "EdDSA".into(),
            private_key: vec![0, 255, 1],
            public_jwk: JsonText(json!({"kty": "OKP", "crv": "Ed25519", "x": "é", "a": 1})),
            created_at: noon(),
            activates_at: noon(),
            retires_at: None,
            revoked_at: None,
        };
        let stored = insert(&db, key.clone().into_active_model()).await.unwrap();
        assert_eq!(stored, key);
        assert_eq!(stored.public_jwk.to_string(), r#"{"kty":"OKP","crv":"Ed25519","x":"é","a":1}"#);
    }
}

#[tokio::test]
async fn events_sort_by_their_time() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        for minute in [3, 1, 2] {
            let at = noon() + TimeDelta::microseconds(minute);
            let event = audit_event::Model {
                id: EventId::new(at),
                at,
                kind: "session.created".into(),
                actor_id: None,
                actor_name: None,
                subject_type: None,
                subject_id: None,
                subject_name: None,
                address: None,
                session_id: None,
                request_id: None,
                details: JsonText(json!({"minute": minute})),
            };
            insert(&db, event.into_active_model()).await.unwrap();
        }
        let events = audit_event::Entity::find().order_by_asc(audit_event::COLUMN.id).all(db.read()).await.unwrap();
        let minutes: Vec<_> = events.iter().map(|event| event.details.0["minute"].as_i64()).collect();
        assert_eq!(minutes, [Some(1), Some(2.into()), Some(3)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_concurrent_writers_all_succeed() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let ada = insert(&db, user("ada@x", None).into_active_model()).await.unwrap();
        let raise = |db: Database| async move {
            let tx = db.write().await?;
            let user = user::Entity::locked(&tx, ada.id).await?.unwrap();
            user::ActiveModel { id: Set(user.id), epoch: Set(user.epoch.next()), ..Default::default() }.update(&tx).await?;
            tx.commit().await.map_err(DbErr::from)
        };
        let tasks: Vec<_> = (0..50).map(|_| tokio::spawn(raise(db.clone()))).collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let epoch = user::Entity::find_by_id(ada.id).one(db.read()).await.unwrap().unwrap().epoch;
        assert_eq!(epoch, 51.into(), "no writer overwrote another");
    }
}

/// Formats a time as sqlx does for SQLite: `+00:00` sorts before `.` and digits, which `Z` does not, and trailing zeroes are
/// removed three at a time.
fn stored(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

fn times() -> impl Strategy<Value = DateTime<Utc>> {
    // Often generates neighbouring times, with fractions of every length.
    let micros = prop_oneof![0i64..3, (0i64..3).prop_map(|ms| ms * 1000), 0i64..1_000_000];
    let seconds = prop_oneof![1_800_000_000i64..1_800_000_003, 0i64..253_402_300_800];
    (seconds, micros).prop_map(|(seconds, micros)| DateTime::from_timestamp_micros(seconds * 1_000_000 + micros).unwrap())
}

proptest! {
    #[test]
    fn stored_times_sort_by_time(a in times(), b in times()) {
        prop_assert_eq!(stored(a).cmp(&stored(b)), a.cmp(&b));
    }
}

#[test]
fn both_databases_compare_times_as_rust_does() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for database in runtime.block_on(TestDatabase::each()) {
        let db = runtime.block_on(database.migrated());
        let ada = runtime.block_on(insert(&db, user("ada@x", None).into_active_model())).unwrap();
        let id = runtime.block_on(insert(&db, session_of(&ada).into_active_model())).unwrap().id;
        proptest!(ProptestConfig::with_cases(100), |(kept in times(), asked in times())| {
            let (row, before, after) = runtime.block_on(async {
                let tx = db.write().await.unwrap();
                let row = session::ActiveModel { id: Set(id), expires_at: Set(kept), ..Default::default() };
                let row = row.update(&tx).await.unwrap();
                let count = |condition| session::Entity::find().filter(condition).count(&tx);
                let before = count(session::Column::ExpiresAt.lt(asked)).await.unwrap();
                let after = count(session::Column::ExpiresAt.gte(asked)).await.unwrap();
                (row, before, after)
            });
            prop_assert_eq!(row.expires_at, kept);
            prop_assert_eq!((before == 1, after == 1), (kept < asked, kept >= asked));
        });
    }
}
