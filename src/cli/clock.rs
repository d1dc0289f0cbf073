//! `vestibule clock`: an operator confirms this machine's clock.

use anyhow::Result;
use clap::Subcommand;

use super::{
    installation,
    output::{explain, format_time, print_line},
};
use crate::{config::Settings, domain::clocks};

#[derive(Subcommand)]
pub(super) enum Clock {
    /// Confirm that this machine's clock is right, so that servers resume deleting old data
    Accept,
}

pub(super) async fn run(Clock::Accept: &Clock, settings: Settings) -> Result<()> {
    let app = installation::open(settings).await?;
    let now = clocks::accept(&app).await.map_err(explain)?;
    print_line(format_args!("The clock is accepted: it is {}. Servers delete old data again.", format_time(now)))?;
    app.db.close().await;
    Ok(())
}
