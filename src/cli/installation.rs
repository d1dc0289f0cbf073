//! Finding an installation. Commands other than `serve` and `migrate up` never create one, so that a command in the wrong
//! directory fails instead of working on a new, empty installation.

use std::sync::Arc;

use anyhow::{Result, ensure};
use sea_orm::EntityTrait;

use crate::{
    app::App,
    config::Settings,
    entity::secret,
    live::{clock::SystemClock, database::Database},
};

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

/// Returns the message for a missing installation.
pub(super) fn missing(settings: &Settings) -> String {
    let create = "`vestibule serve` or `vestibule migrate up` creates a new one";
    match (&settings.database.url, Database::file(&settings.database_url())) {
        (None, Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATA_DIR ({create})", file.display()),
        (Some(_), Ok(Some(file))) => format!("no database at {}; set VESTIBULE_DATABASE__URL ({create})", file.display()),
        _ => format!("no installation in the database that database.url names; set VESTIBULE_DATABASE__URL ({create})"),
    }
}
