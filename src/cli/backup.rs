//! `vestibule backup`: a copy of the SQLite database, made beside running servers.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{
    installation,
    output::{format_time, print_line},
};
use crate::{
    config::Settings,
    live::{
        clock::{Clock, SystemClock},
        database::Database,
        master_key::fingerprint,
        secrets::present_master_key,
    },
};

pub(super) async fn run(file: &Path, settings: &Settings) -> Result<()> {
    ensure!(installation::exists(settings).await?, installation::missing(settings));
    // Not migrated: a backup is what an operator makes before an upgrade.
    let db = Database::connect(&settings.database_url()).await?;
    let (now, key) = (SystemClock.now(), present_master_key(settings, db.read()).await?);
    let size = db.back_up(file, now).await.context("no backup was made")?;
    db.close().await;
    print_line(format_args!("Wrote {}, a backup of {} with {size} bytes.", file.display(), format_time(now)))?;
    print_line(match key {
        Some(key) => format!(
            "It does not contain the master key, which is needed to use it: keep the key with the fingerprint {} in another place.",
            fingerprint(&key)
        ),
        None => "It does not contain the master key, which is needed to use it and is not here.".to_owned(),
    })?;
    Ok(())
}
