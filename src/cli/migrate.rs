//! `vestibule migrate`: the tables of the database.

use std::sync::Arc;

use anyhow::Result;
use clap::Subcommand;
use tracing::Level;

use super::{installation, output::print_line};
use crate::{
    app::App,
    config::Settings,
    live::{clock::SystemClock, database::Database, files, log},
};

#[derive(Subcommand)]
pub(super) enum Migrate {
    /// Apply the missing migrations, and create the installation if there is none
    Up,
    /// List the migrations as applied or missing
    Status,
}

pub(super) async fn run(command: &Migrate, settings: &Settings) -> Result<()> {
    let url = settings.database_url();
    if let Migrate::Up = command {
        log::start_tracing(&settings.log.level)?;
        files::create_data_dir(&settings.data_dir)?;
        let db = Database::connect_to_write(&url, settings.database.wait).await?;
        db.migrate().await?;
        db.close().await;
        if !installation::exists(settings).await? {
            App::open(settings.clone(), Arc::new(SystemClock)).await?.db.close().await;
        }
    } else if !installation::exists(settings).await? {
        log::report(Level::WARN, installation::missing(settings));
    }
    for migration in Database::migrations_at(&url).await? {
        print_line(format_args!("{} {}", if migration.applied { "applied" } else { "missing" }, migration.name))?;
    }
    Ok(())
}
