//! The state of the application: the settings, the database, and everything that a running process holds in memory.
//! Everything that the service does gets an [`App`] as an argument; it is cheap to clone.

use std::{
    ops::Deref,
    sync::{Arc, atomic::AtomicU32},
};

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Settings},
    entity::{installation, revocation, role, session, user},
    live::{
        clock::Clock,
        clock_trust::ClockTrust,
        database::{Database, Reader, SharedRead},
        denials::Denials,
        feed::FeedProgress,
        files,
        generation::KnownGeneration,
        hashing_pool::HashingPool,
        jwt_key::JwtKey,
        key_ring::KeyRing,
        mail::{Limits, Templates, Transport},
        metrics::Metrics,
        passkeys::RelyingParty,
        rate_limits::RateLimits,
        revocations::{Revocation, Revocations},
        role_map::RoleMap,
        seal::Sealer,
        secrets::Secrets,
        transport_health::TransportHealth,
        verified_tokens::VerifiedTokens,
    },
    values::{passkeys_unavailable::PasskeysUnavailable, password_hash::PasswordHash},
};

/// A running Vestibule.
#[derive(Clone)]
pub struct App(Arc<State>);

/// The state that the clones of an [`App`] share.
pub struct State {
    /// The validated settings.
    pub settings: Settings,
    /// The source of the time.
    pub clock: Arc<dyn Clock>,
    /// Whether the clock is trusted to decide what is deleted.
    pub clock_trust: ClockTrust,
    /// The database.
    pub db: Database,
    /// The reads that concurrent requests share.
    pub(crate) shared_reads: SharedReads,
    /// The state for hashing and checking passwords.
    pub passwords: Passwords,
    /// The state for signing and verifying access tokens.
    pub signing: Signing,
    /// The state that decides whether a genuine access token still gives access.
    pub access: AccessState,
    /// The state for writing and sending mails.
    pub mail: Mail,
    /// The state that limits public operations and password attempts.
    pub(crate) throttle: Throttle,
    /// The root of the keys for the MACs in refresh tokens.
    pub(crate) refresh_root: hmac::Key,
    /// The root of the links and codes in mails.
    pub(crate) ticket_root: hmac::Key,
    /// The keys of second factors.
    pub(crate) factors: FactorKeys,
    /// What the service is to passkeys, or why they cannot be used.
    pub passkeys: Result<RelyingParty, PasskeysUnavailable>,
    /// The key for the MACs in page cursors.
    pub(crate) cursor_key: hmac::Key,
    /// The denials by guards that are not in the audit trail yet.
    pub(crate) denials: Denials,
    /// The metrics of the process.
    pub(crate) metrics: Metrics,
    /// Cancelled when the process has received a signal to stop.
    pub stopping: CancellationToken,
}

impl Deref for App {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

impl State {
    /// The host for which passkeys are made; `None` if there are none.
    pub fn rp_id(&self) -> Option<&str> {
        self.passkeys.as_ref().ok().map(|party| &*party.id)
    }
}

impl App {
    /// Opens an installation, and creates whatever of it is missing: the data directory, the database, its tables, the
    /// secrets. Errors say what an operator can do.
    pub async fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let mail = Mail::load(&settings)?; // a faulty template is reported before anything is created
        files::create_data_dir(&settings.data_dir)?;
        Box::pin(Self::open_with(settings, clock, mail)).await
    }

    /// As [`Self::open`], but fails if the data directory is missing.
    pub async fn open_installed(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let mail = Mail::load(&settings)?;
        Box::pin(Self::open_with(settings, clock, mail)).await
    }

    async fn open_with(settings: Settings, clock: Arc<dyn Clock>, mail: Mail) -> Result<Self> {
        let db = Database::connect_to_write(&settings.database_url(), settings.database.wait).await?;
        db.migrate().await?;
        let keys = SecretKeys::open(&settings, &db, clock.now()).await?;
        let reader = db.read_in_background();
        let installation = installation::Entity::row(&reader).await?;
        let metrics = Metrics::default();

        Ok(Self(Arc::new(State {
            clock_trust: ClockTrust::new(&installation),
            passwords: Passwords::load(&settings.password, &reader, keys.pepper, &metrics).await?,
            access: AccessState::load(&reader, &*clock, &installation).await?,
            signing: Signing::load(&settings, &reader, keys.sealer).await?,
            mail,
            throttle: Throttle { rate_limits: RateLimits::default(), key: keys.throttle_key },
            refresh_root: keys.refresh_root,
            ticket_root: keys.ticket_root,
            factors: keys.factors,
            passkeys: RelyingParty::of(&settings),
            cursor_key: keys.cursor_key,
            denials: Denials::default(),
            metrics,
            shared_reads: SharedReads::default(),
            stopping: CancellationToken::new(),
            db,
            clock,
            settings,
        })))
    }
}

/// The reads that concurrent requests share.
#[derive(Default)]
pub(crate) struct SharedReads {
    /// Users with their roles.
    pub(crate) users: SharedRead<user::ProfileWithRoles>,
    /// Sessions.
    pub(crate) sessions: SharedRead<session::Model>,
}

/// The keys of an installation, which the database stores sealed under the master key.
struct SecretKeys {
    pepper: hmac::Key,
    refresh_root: hmac::Key,
    ticket_root: hmac::Key,
    factors: FactorKeys,
    cursor_key: hmac::Key,
    throttle_key: hmac::Key,
    sealer: Sealer,
}

impl SecretKeys {
    /// Opens the keys, and creates the missing ones.
    async fn open(settings: &Settings, db: &Database, now: DateTime<Utc>) -> Result<Self> {
        let tx = db.write_in_background().await?;
        // A lock that every replica takes, so that replicas that start together create one set of keys.
        role::Entity::lock_admin(&tx).await?;
        let secrets = Secrets::open(settings, &tx, now).await?;
        let pepper = hmac::Key::new(hmac::HMAC_SHA384, &secrets.find_or_create("pepper").await?);
        let refresh_root = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("refresh").await?);
        let ticket_root = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("tickets").await?);
        let factors = FactorKeys::open(&secrets).await?;
        let cursor_key = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("cursors").await?);
        let throttle_key = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("throttle").await?);
        let sealer = secrets.into_sealer();
        tx.commit().await?;
        Ok(Self { pepper, refresh_root, ticket_root, factors, cursor_key, throttle_key, sealer })
    }
}

/// The keys of second factors. They are sealed under the master key like all others, so another master key changes no factor.
pub(crate) struct FactorKeys {
    /// Seals what is stored about factors.
    pub(crate) sealer: Sealer,
    /// The key for the MACs of recovery codes.
    pub(crate) recovery_root: hmac::Key,
    /// The root of the keys that seal the ceremonies of passkeys, and of the user handles.
    pub(crate) ceremony_root: hmac::Key,
}

impl FactorKeys {
    async fn open(secrets: &Secrets<'_>) -> Result<Self> {
        let key = secrets.find_or_create("factors").await?;
        let key = key.as_slice().try_into().context("the key of the factors has another length")?;
        let recovery_root = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("recovery codes").await?);
        let ceremony_root = hmac::Key::new(hmac::HMAC_SHA256, &secrets.find_or_create("ceremonies").await?);
        Ok(Self { sealer: Sealer::new(key), recovery_root, ceremony_root })
    }
}

/// The state for hashing and checking passwords.
pub struct Passwords {
    /// The threads that hash.
    pub pool: HashingPool,
    /// The key of the HMAC that bcrypt hashes.
    pub(crate) pepper: hmac::Key,
    /// The highest bcrypt cost in the settings or in any stored hash. Every check takes as long as this cost requires.
    pub(crate) highest_cost: AtomicU32,
}

impl Passwords {
    async fn load(settings: &config::PasswordSettings, reader: &Reader, pepper: hmac::Key, metrics: &Metrics) -> Result<Self> {
        let prefixes = user::Entity::password_hash_prefixes(reader).await?;
        let stored_costs = prefixes.iter().filter_map(|prefix| PasswordHash::cost(prefix));
        let highest_cost = stored_costs.fold(settings.bcrypt_cost, u32::max);
        let pool = HashingPool::start(settings.threads(), settings.lanes, settings.max_wait, metrics.hash_waits.clone());
        let pool = pool.context("cannot start threads for hashing passwords")?;
        Ok(Self { pool, pepper, highest_cost: AtomicU32::new(highest_cost) })
    }
}

/// The state for writing and sending mails.
pub struct Mail {
    /// The texts.
    pub templates: Templates,
    /// The way in which mails leave the process.
    pub transport: Transport,
    /// Wakes the job that sends mails, after a mail was queued.
    pub(crate) due: Notify,
    /// A place for each mail that may be sent at the same time. A recipient whose server is slow takes one.
    pub(crate) places: Arc<Semaphore>,
    /// Whether the mail server accepts mails.
    pub(crate) health: TransportHealth,
}

/// The number of mails that one process sends at the same time.
const PLACES: u32 = 4;

impl Mail {
    /// Loads the templates and prepares the transport. Sends nothing.
    pub fn load(settings: &Settings) -> Result<Self> {
        Ok(Self {
            templates: Templates::load(settings)?,
            transport: Transport::new(settings, Limits::default())?,
            due: Notify::new(),
            places: Arc::new(Semaphore::new(PLACES as usize)),
            health: TransportHealth::default(),
        })
    }

    /// Returns how many more mails may be sent now.
    pub(crate) fn free_places(&self, now: DateTime<Utc>) -> u64 {
        self.health.limit(self.places.available_permits() as u64, now)
    }

    /// Returns whether mails can be sent and the mail server accepts them.
    pub(crate) fn is_up(&self) -> bool {
        self.transport.can_send() && self.health.is_up()
    }

    /// Waits until no mail is being sent.
    pub(crate) async fn idle(&self) {
        _ = self.places.acquire_many(PLACES).await;
    }
}

/// The state for signing and verifying access tokens.
pub struct Signing {
    /// The signing keys.
    pub keys: ArcSwap<KeyRing>,
    /// Seals the private keys that this process creates, and opens those that other processes have created.
    pub(crate) sealer: Sealer,
    /// The `iss` claim of every token.
    pub(crate) issuer: String,
    /// The tokens whose signatures this process has verified.
    pub(crate) verified: VerifiedTokens,
}

impl Signing {
    async fn load(settings: &Settings, reader: &Reader, sealer: Sealer) -> Result<Self> {
        let secret = settings.signing.secret.as_ref();
        let shared = secret.map(|secret| JwtKey::from_shared_secret(secret.expose_secret().as_bytes())).transpose()?;
        let empty = KeyRing::new(Vec::new(), shared.map(Arc::new));
        let (keys, unopened) = KeyRing::load(reader, &sealer, &empty).await?;
        ensure!(
            unopened.is_empty(),
            "the master key opens the secrets in this database, but not the signing key {}",
            unopened.join(", ")
        );
        let (issuer, verified) = (settings.issuer(), VerifiedTokens::default());
        Ok(Self { keys: ArcSwap::from_pointee(keys), sealer, issuer, verified })
    }
}

/// The state that decides whether a genuine access token still gives access. The revocation feed keeps it current.
pub struct AccessState {
    /// The permissions that each role grants.
    pub(crate) roles: ArcSwap<RoleMap>,
    /// The revocations that affect tokens which have not expired.
    pub revocations: Revocations,
    /// The position up to which the feed was read, and the time of the last successful poll.
    pub(crate) feed: FeedProgress,
    /// The generation of the data that all of this was read from.
    pub generation: KnownGeneration,
    /// Held while the role map or the key ring is loaded, so that an older version never replaces a newer one.
    pub(crate) reload_lock: Mutex<()>,
}

impl AccessState {
    async fn load(reader: &Reader, clock: &dyn Clock, installation: &installation::Model) -> Result<Self> {
        let feed = FeedProgress::default();
        let poll = feed.start_poll(clock.uptime());
        let revocations = Revocations::default();
        revocations.record_purge(installation.purged_before.unwrap_or_default());
        loop {
            let rows = revocation::after(reader, feed.position()).await?;
            let Some(last) = rows.last() else { break };
            feed.advance(last.seq);
            // Rows that have expired are also applied: if the clock is wrong, they may still matter.
            for row in &rows {
                if let Some(revocation) = Revocation::from_row(row) {
                    revocations.apply(revocation, row.expires_at, clock.read());
                }
            }
        }
        let roles = RoleMap::load(reader).await?;
        feed.finish_poll(&poll);
        let (roles, generation) = (ArcSwap::from_pointee(roles), KnownGeneration::new(installation.generation()));
        Ok(Self { roles, revocations, feed, generation, reload_lock: Mutex::default() })
    }
}

/// The state that limits public operations and password attempts.
pub(crate) struct Throttle {
    /// How often each network has called each rate-limited operation.
    pub(crate) rate_limits: RateLimits,
    /// The key of the digests under which password attempts are counted.
    pub(crate) key: hmac::Key,
}
