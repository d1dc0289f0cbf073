//! The App: settings, database and everything a running process holds in memory. Cheap to clone; whatever the
//! product does gets it as an argument.

use std::{
    fs,
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    sync::{Arc, atomic::AtomicU32},
};

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use sea_orm::{EntityTrait, QuerySelect};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Settings,
    entity::{installation, revocation, role, secret, user},
    live::{
        clock::Clock,
        clock_trust::ClockTrust,
        database::Database,
        denials::Denials,
        feed::FeedProgress,
        hashing_pool::HashingPool,
        jwt_key::JwtKey,
        key_ring::KeyRing,
        metrics::Metrics,
        rate_limits::RateLimits,
        revocations::{Revocation, Revocations},
        role_map::RoleMap,
        seal::Sealer,
        secrets::Secrets,
        verified_tokens::VerifiedTokens,
    },
    values::{password_hash::PasswordHash, role_name::RoleName},
};

/// A running Vestibule.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// What an [`App`] holds.
pub struct Inner {
    /// The settings, validated.
    pub settings: Settings,
    /// The source of the time.
    pub clock: Arc<dyn Clock>,
    /// Whether the clock may decide what is deleted.
    pub clock_trust: ClockTrust,
    /// The database.
    pub db: Database,
    /// What is needed to hash and to check passwords.
    pub passwords: Passwords,
    /// What is needed to sign and to verify access tokens.
    pub signing: Signing,
    /// What decides whether a genuine access token still gives access.
    pub access: AccessState,
    /// What limits the rate of public operations and of password attempts.
    pub throttle: Throttle,
    /// The root of the refresh tokens' MACs.
    pub refresh_root: hmac::Key,
    /// The key of the page cursors' MACs.
    pub cursor_key: hmac::Key,
    /// Denials by guards that are not in the audit trail yet.
    pub denials: Denials,
    /// The process's metrics.
    pub metrics: Metrics,
    /// Cancelled when the process has received the signal to stop.
    pub stopping: CancellationToken,
}

/// What is needed to hash and to check passwords.
pub struct Passwords {
    /// The threads that hash.
    pub pool: HashingPool,
    /// The key of the digest that bcrypt hashes.
    pub pepper: hmac::Key,
    /// The highest bcrypt cost among the settings and the stored hashes. Every check takes as long as this cost does.
    pub highest_cost: AtomicU32,
}

/// What is needed to sign and to verify access tokens.
pub struct Signing {
    /// The keys.
    pub keys: ArcSwap<KeyRing>,
    /// Seals new private keys, and opens those that other processes have made.
    pub sealer: Sealer,
    /// The `iss` claim of every token.
    pub issuer: String,
    /// The tokens whose signatures this process has verified.
    pub verified: VerifiedTokens,
}

/// What decides whether a genuine access token still gives access. The revocation feed keeps it current.
pub struct AccessState {
    /// The permissions that each role grants.
    pub roles: ArcSwap<RoleMap>,
    /// The revocations that affect tokens which have not expired.
    pub revocations: Revocations,
    /// How far the feed has been read, and when.
    pub feed: FeedProgress,
    /// Held while the role map or the key ring is loaded, so that an older one never replaces a newer one.
    pub reloading: Mutex<()>,
}

/// What limits the rate of public operations and of password attempts.
pub struct Throttle {
    /// How often each network has called each rate-limited public operation.
    pub rate_limits: RateLimits,
    /// The key of the digests under which password attempts are counted.
    pub key: hmac::Key,
}

impl Deref for App {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Makes the data directory, which only its owner may enter, if it is not there.
///
/// # Errors
/// When it cannot be made.
pub fn make_data_dir(settings: &Settings) -> Result<()> {
    let directory = &settings.data_dir;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(|| {
        format!("the data directory {} cannot be made (choose another with VESTIBULE_DATA_DIR)", directory.display())
    })
}

/// Whether there is an installation: a database with Vestibule's tables and secrets. Makes nothing.
///
/// # Errors
/// When the database does not answer, or is newer than this program.
pub async fn is_installed(settings: &Settings) -> Result<bool> {
    let url = settings.database_url();
    if !Database::migrations_at(&url).await?.iter().any(|it| it.applied) {
        return Ok(false);
    }
    let db = Database::connect(&url).await?;
    let secret = secret::Entity::find().one(db.read()).await?;
    db.close().await;
    Ok(secret.is_some())
}

/// What to say where there is no installation.
#[must_use]
pub fn nothing_there(settings: &Settings) -> String {
    let make = "`vestibule serve` or `vestibule migrate up` makes a new one";
    match (&settings.database.url, Database::file(&settings.database_url())) {
        (None, Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATA_DIR ({make})", file.display()),
        (Some(_), Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATABASE__URL ({make})", file.display()),
        _ => format!("no installation in the database that database.url names; set VESTIBULE_DATABASE__URL ({make})"),
    }
}

impl App {
    /// Opens the data directory and the database, brings its tables up to date, makes what is missing of keys and
    /// secrets, and reads into memory what requests need there.
    ///
    /// # Errors
    /// Says what an operator can do: a directory that cannot be written, a database that is away or newer than this
    /// program, a master key that is missing or opens nothing.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        make_data_dir(&settings)?;
        Box::pin(Self::open_installed(settings, clock)).await
    }

    /// As [`Self::open`], but the data directory must be there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_installed(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let db = Database::connect_to_write(&settings.database_url(), settings.database.wait).await?;
        db.migrate().await?;

        let tx = db.write_in_background().await?;
        // Replicas that start at once make one set of secrets.
        role::Entity::find_by_id(RoleName::ADMIN).lock_exclusive().one(&tx).await?;
        let secrets = Secrets::open(&settings, &tx, clock.now()).await?;
        let pepper = hmac::Key::new(hmac::HMAC_SHA384, &secrets.find_or_create("pepper").await?);
        let refresh_root = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("refresh").await?);
        let cursor_key = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("cursors").await?);
        let throttle_key = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("throttle").await?);
        let sealer = secrets.into_sealer();
        tx.commit().await?;

        let reader = db.read_in_background();
        let feed = FeedProgress::default();
        let poll = feed.start_poll(clock.uptime());
        let revocations = Revocations::default();
        let installation = installation::Entity::row(db.read()).await?;
        revocations.forget(installation.purged_before.unwrap_or_default());
        loop {
            let rows = revocation::after(&reader, feed.position()).await?;
            let Some(last) = rows.last() else { break };
            feed.advance(last.seq);
            // All of them: by a clock that is wrong, none would seem to matter any more.
            for row in &rows {
                if let Some(revocation) = Revocation::of(row) {
                    revocations.apply(revocation, row.expires_at, clock.read());
                }
            }
        }
        let roles = RoleMap::load(&reader).await?;
        let shared = settings
            .signing
            .secret
            .as_ref()
            .map(|secret| JwtKey::from_shared_secret(secret.expose_secret().as_bytes()))
            .transpose()?;
        let empty = KeyRing::new(Vec::new(), shared.map(Arc::new));
        let (keys, unopened) = KeyRing::load(&reader, &sealer, &empty).await?;
        ensure!(
            unopened.is_empty(),
            "the master key opens the secrets in this database, but not the signing key {}",
            unopened.join(", ")
        );
        feed.finish_poll(&poll);
        let stored = user::Entity::password_hash_prefixes(&reader).await?;
        let highest_cost = stored.iter().filter_map(|it| PasswordHash::cost(it)).fold(settings.password.bcrypt_cost, u32::max);

        let metrics = Metrics::default();
        let pool = HashingPool::start(settings.password.threads(), settings.password.max_wait, metrics.hash_waits.clone());

        Ok(Self(Arc::new(Inner {
            clock_trust: ClockTrust::new(&installation),
            passwords: Passwords {
                pool: pool.context("no threads for hashing passwords")?,
                pepper,
                highest_cost: AtomicU32::new(highest_cost),
            },
            signing: Signing {
                keys: ArcSwap::from_pointee(keys),
                sealer,
                issuer: settings.issuer(),
                verified: VerifiedTokens::default(),
            },
            access: AccessState { roles: ArcSwap::from_pointee(roles), revocations, feed, reloading: Mutex::default() },
            throttle: Throttle { rate_limits: RateLimits::default(), key: throttle_key },
            refresh_root,
            cursor_key,
            denials: Denials::default(),
            metrics,
            stopping: CancellationToken::new(),
            db,
            clock,
            settings,
        })))
    }
}
