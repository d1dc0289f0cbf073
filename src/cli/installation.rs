//! Finding an installation. Commands other than `serve` and `migrate up` never create one, so that a command in the wrong
//! directory fails instead of working on a new, empty installation.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use sea_orm::EntityTrait;
use tokio::time::timeout;

use crate::{
    app::App,
    config::Settings,
    domain::authority,
    entity::secret,
    live::{clock::SystemClock, database::Database},
};

/// How long a check of the settings waits for the database.
const HINT_TIMEOUT: Duration = Duration::from_secs(5);
/// How many administrators a hint names.
const NAMES: usize = 5;

/// Opens an existing installation.
pub(super) async fn open(settings: Settings) -> Result<App> {
    ensure!(exists(&settings).await?, missing(&settings));
    Box::pin(App::open_installed(settings, Arc::new(SystemClock))).await
}

/// Whether there is an installation: a database that contains Vestibule's tables and secrets. Creates nothing.
pub(super) async fn exists(settings: &Settings) -> Result<bool> {
    let url = settings.database_url();
    if !Database::migrations_at(&url).await?.iter().any(|migration| migration.applied) {
        return Ok(false);
    }
    let db = Database::connect(&url).await?;
    let secret = secret::Entity::find().one(db.read()).await?;
    db.close().await;
    Ok(secret.is_some())
}

/// Returns a hint if an administrator of this installation holds no second factor; `None` also if there is no installation yet, or
/// if its database cannot be read now or is older than this program, because that is no fault of the settings.
pub(super) async fn hint(settings: &Settings) -> Option<String> {
    let names = timeout(HINT_TIMEOUT, administrators_without_factor(settings)).await.ok()?.ok()?;
    let (count, first) = (names.len(), names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", "));
    let who = match count {
        0 => return None,
        1 => format!("the administrator {first} has"),
        _ if count <= NAMES => format!("the administrators {first} have"),
        _ => format!("{count} administrators have"),
    };
    Some(format!("{who} no second factor: whoever learns the password can log in, add one and administer"))
}

async fn administrators_without_factor(settings: &Settings) -> Result<Vec<String>> {
    if !exists(settings).await? {
        return Ok(Vec::new());
    }
    let db = Database::connect(&settings.database_url()).await?;
    let names = authority::administrators_without_factor(db.read()).await;
    db.close().await;
    Ok(names?)
}

/// Returns the message for a missing installation.
pub(super) fn missing(settings: &Settings) -> String {
    let create = "`vestibule serve` or `vestibule migrate up` creates a new one";
    match (&settings.database.url, Database::file(&settings.database_url())) {
        (None, Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATA_DIR ({create})", file.display()),
        (Some(_), Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATABASE__URL ({create})", file.display()),
        _ => format!("no installation in the database that database.url names; set VESTIBULE_DATABASE__URL ({create})"),
    }
}
