//! The command line. Without a command, `vestibule` serves.

mod backup;
mod clock;
mod copy;
mod health;
mod installation;
mod key;
mod mail;
mod manual;
mod migrate;
mod openapi;
mod output;
mod restore;
mod serve;
mod supervisor;
mod user;
mod version;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use secrecy::SecretString;
use tokio::runtime::Builder;
use tracing::Level;

use crate::{
    config::{self, Settings},
    error::with_causes,
    live::{database, log, mail::Templates},
};

/// Accounts, sessions and roles for your API.
///
/// Every setting can also come from the environment, as VESTIBULE_SECTION__KEY. `vestibule config print` shows all settings.
/// Exit codes: 0 success, 1 failure, 2 wrong usage, 78 invalid settings.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    /// Read the settings from this TOML file [default: vestibule.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve although the issuer has changed; every access token of the old issuer becomes invalid
    #[arg(long)]
    accept_issuer: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server (the default without a command)
    Serve {
        /// Serve although the issuer has changed; every access token of the old issuer becomes invalid
        #[arg(long)]
        accept_issuer: bool,
    },
    /// Bring the database's tables up to date, or list the migrations
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Print the OpenAPI document
    Openapi {
        /// Compare openapi/openapi.json and openapi/access.md with this program; exit with 1 if they differ
        #[arg(long)]
        check: bool,
        /// Write openapi/openapi.json and openapi/access.md
        #[arg(long, conflicts_with = "check")]
        write: bool,
    },
    /// List, create and change accounts; the server may be running
    #[command(subcommand)]
    User(user::User),
    /// Rotate signing keys and change the master key; the server may be running
    #[command(subcommand)]
    Key(key::Key),
    /// Write a backup of the SQLite database into a new file; the server may be running
    Backup {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Put a backup in the place of the SQLite database; no server may be running
    Restore {
        /// The backup
        file: PathBuf,
        /// Go on although nothing says what changed since the backup
        #[arg(long)]
        accept_loss: bool,
    },
    /// End what a database that was restored by other tools, such as pg_restore, has brought back to life
    Restored {
        /// Go on although nothing says what changed since the backup
        #[arg(long)]
        accept_loss: bool,
    },
    /// Copy an installation from SQLite to an empty PostgreSQL database; no server may be running
    Copy {
        /// The URL of the SQLite database, such as sqlite:data/vestibule.db
        #[arg(long, value_name = "URL")]
        from: SecretString,
        /// The URL of the PostgreSQL database; leave its password out, and set PGPASSWORD
        #[arg(long, value_name = "URL")]
        to: SecretString,
    },
    /// Confirm this machine's clock
    #[command(subcommand)]
    Clock(clock::Clock),
    /// Print a mail, or send a test mail
    #[command(subcommand)]
    Mail(mail::Mail),
    /// Check or print the settings
    #[command(subcommand)]
    Config(Config),
    /// Ask the running server whether it is alive; exit with 1 if it is not
    Health {
        /// Ask whether it is ready to serve, and print why not
        #[arg(long)]
        ready: bool,
    },
    /// Print the version
    Version {
        /// Print a JSON object, which also names the platform and the newest migration
        #[arg(long)]
        json: bool,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a directory
    Man {
        /// The directory, which must exist
        directory: PathBuf,
    },
}

#[derive(Subcommand)]
enum Config {
    /// Check that the settings are valid
    Check,
    /// Print the settings in effect; secrets are hidden
    Print,
}

/// Runs the command line. Writes an error to standard error as one line, in the format of `log.format`.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse();
    let file = cli.as_ref().map_or_else(|_| config_argument(env::args_os()), |cli| cli.config.clone());
    // The log opens before the settings are checked, because their errors are also log lines.
    if let Err(error) = log::init(config::early_log_format(file.as_deref(), env::vars_os())) {
        _ = writeln!(io::stderr(), "vestibule: {}", sentence(&error));
        return ExitCode::FAILURE;
    }
    let code = match cli {
        Ok(cli) => run(cli).map_or_else(
            |error| {
                log::report(Level::ERROR, sentence(&error));
                exit_code(&error)
            },
            |()| ExitCode::SUCCESS,
        ),
        Err(error) => print_usage(&error),
    };
    log::flush();
    code
}

/// Returns the settings file that the command line names, even if the command line is invalid otherwise.
fn config_argument(arguments: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut arguments = arguments.into_iter().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(file) = argument.to_str().and_then(|argument| argument.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    None
}

/// Prints the help, the version, or the error in the command line.
fn print_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && log::is_json() {
        log::report(Level::ERROR, error.render().to_string().trim_end());
    } else {
        _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn run(cli: Cli) -> Result<()> {
    // These need no settings.
    match &cli.command {
        Some(Command::Openapi { check, write }) => return openapi::run(*check, *write),
        Some(Command::Version { json }) => return version::run(*json),
        Some(Command::Completions { shell }) => return manual::print_completions(*shell),
        Some(Command::Man { directory }) => return manual::write_pages(directory),
        _ => {}
    }
    let settings = Settings::load(cli.config.as_deref(), env::vars_os())?;
    for warning in &settings.warnings {
        log::report(Level::WARN, warning);
    }
    match cli.command {
        Some(Command::Config(Config::Check)) => {
            Templates::load(&settings)?;
            for hint in mail::hints(&settings) {
                log::report(Level::WARN, hint + ".");
            }
            if let Some(hint) = block_on(installation::hint(&settings))? {
                log::report(Level::WARN, hint + ".");
            }
            output::print_line("The settings are valid.")?;
        }
        Some(Command::Health { ready }) => health::run(&settings, ready)?,
        Some(Command::Config(Config::Print)) => output::print(settings.print())?,
        command => {
            let command = match command.unwrap_or(Command::Serve { accept_issuer: false }) {
                Command::Serve { accept_issuer } => Command::Serve { accept_issuer: accept_issuer || cli.accept_issuer },
                command => command,
            };
            block_on(run_async(command, settings))??;
        }
    }
    Ok(())
}

fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // Do not wait for threads that still wait for a database or a name server.
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(result)
}

async fn run_async(command: Command, mut settings: Settings) -> Result<()> {
    if !matches!(command, Command::Serve { .. } | Command::Migrate(_)) {
        settings.database.wait = Duration::ZERO;
    }
    match command {
        Command::Serve { accept_issuer } => Box::pin(serve::run(settings, accept_issuer)).await,
        Command::Migrate(command) => migrate::run(&command, &settings).await,
        Command::User(command) => Box::pin(user::run(command, settings)).await,
        Command::Key(command) => key::run(command, settings).await,
        Command::Backup { file } => backup::run(&file, &settings).await,
        Command::Restore { file, accept_loss } => Box::pin(restore::restore(&file, accept_loss, settings)).await,
        Command::Restored { accept_loss } => Box::pin(restore::restored(accept_loss, settings)).await,
        Command::Copy { from, to } => Box::pin(copy::run(&from, &to, &settings)).await,
        Command::Clock(command) => clock::run(&command, settings).await,
        Command::Mail(command) => mail::run(command, settings).await,
        Command::Openapi { .. }
        | Command::Config(_)
        | Command::Health { .. }
        | Command::Version { .. }
        | Command::Completions { .. }
        | Command::Man { .. } => Ok(()), // `run` has handled them
    }
}

/// Returns the exit code for an error: 78 (`EX_CONFIG` of sysexits.h) for settings that are invalid or name an unsuitable pooler,
/// which another start does not change; otherwise 1.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let is_unsuitable = matches!(error.downcast_ref(), Some(database::Error::SharedSessions));
    ExitCode::from(if is_unsuitable || error.is::<config::Error>() { 78 } else { 1 })
}

/// Formats an error and its causes as a sentence.
fn sentence(error: &anyhow::Error) -> String {
    let sentence = with_causes(error.as_ref());
    if sentence.ends_with(['.', '?']) { sentence } else { sentence + "." }
}
