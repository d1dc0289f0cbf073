//! The service under test: the release binary, in a directory of its own.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    load::{self, post},
    process::Process,
};

/// A running service. Dropping it kills the process and deletes the data.
pub struct Vestibule {
    pub process: Process,
    directory: TempDir,
    launch: Launch,
    database: String,
}

/// How a service is started.
struct Launch {
    binary: String,
    /// Environment variables without their prefix.
    settings: Vec<(String, String)>,
}

impl Launch {
    fn start(&self, directory: &Path) -> Result<Process> {
        Process::start(&self.binary, |command| {
            for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VESTIBULE_")) {
                command.env_remove(name);
            }
            for (name, value) in &self.settings {
                command.env(format!("VESTIBULE_{name}"), value);
            }
            command.current_dir(directory);
        })
    }
}

impl Vestibule {
    /// Starts a service. Passwords have the lowest cost that can be configured, and are not throttled; `settings` are
    /// environment variables without their prefix.
    pub fn start(binary: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("{} does not exist", binary.display()))?;
        let binary = binary.into_os_string().into_string().ok().context("the path of the binary is UTF-8")?;
        let common = [("SERVER__LISTEN", "127.0.0.1:0"), ("PASSWORD__BCRYPT_COST", "10"), ("THROTTLE__ENABLED", "false")];
        let settings = common.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let launch = Launch { binary, settings: settings.collect() };
        let directory = TempDir::with_prefix("vestibule-measure-")?;
        let database = launch.settings.iter().find(|(name, _)| name == "DATABASE__URL").map(|(_, url)| url.clone());
        let database = database.unwrap_or_else(|| format!("sqlite:{}", directory.path().join("data/vestibule.db").display()));
        Stopped { directory, launch, database }.start()
    }

    /// Stops the service, fills its database, and starts it again.
    pub async fn fill(self, fill: impl AsyncFnOnce(&str) -> Result<()>) -> Result<Self> {
        let database = self.database.clone();
        let stopped = self.stop()?;
        fill(&database).await?;
        stopped.start()
    }

    /// Stops the service and keeps its data.
    pub fn stop(self) -> Result<Stopped> {
        self.process.stop()?;
        Ok(Stopped { directory: self.directory, launch: self.launch, database: self.database })
    }

    /// Returns the URL of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the request with which the first administrator logs in.
    pub fn log_in_request(&self) -> Result<Vec<u8>> {
        let password = fs::read_to_string(self.directory.path().join("data/initial-admin-password"))?;
        Ok(post("/v1/sessions", &json!({ "identifier": "admin", "password": password.trim() })))
    }

    /// Logs the first administrator in.
    pub async fn log_in(&self) -> Result<Tokens> {
        Ok(Tokens(load::send(self.process.address, &self.log_in_request()?).await?.expect(201)?))
    }

    /// Returns the public keys of access tokens.
    pub async fn key_set(&self) -> Result<Value> {
        let request = b"GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";
        load::send(self.process.address, request).await?.expect(200)
    }
}

/// A service that does not run. Dropping it deletes the data.
pub struct Stopped {
    directory: TempDir,
    launch: Launch,
    database: String,
}

impl Stopped {
    /// Starts the service.
    pub fn start(self) -> Result<Vestibule> {
        let process = self.launch.start(self.directory.path())?;
        Ok(Vestibule { process, directory: self.directory, launch: self.launch, database: self.database })
    }
}

/// The tokens of a session.
pub struct Tokens(Value);

impl Tokens {
    pub fn access(&self) -> Result<&str> {
        self.0["access_token"].as_str().context("no access token")
    }

    pub fn refresh(&self) -> Result<&str> {
        self.0["refresh_token"].as_str().context("no refresh token")
    }
}
