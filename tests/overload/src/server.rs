//! The server under test: in its own directory, with the default settings, except for those of passwords
//! (`VESTIBULE_PASSWORD__…`), which it takes from the environment.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A running server. Dropping it kills the process and removes the directory.
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts the server on some processor cores, as in `taskset -c`, with additional settings as environment variables.
    pub fn start(binary: &Path, cores: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| format!("{} does not exist", binary.display()))?;
        let directory = env::temp_dir().join(format!("vestibule-overload-{}", process::id()));
        fs::create_dir(&directory)?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(binary).current_dir(&directory);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("VESTIBULE_") && !text.starts_with("VESTIBULE_PASSWORD__") {
                command.env_remove(name);
            }
        }
        command.envs(settings.iter().copied()).env("VESTIBULE_SERVER__LISTEN", "127.0.0.1:0");
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("taskset of util-linux is required")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("standard output is piped")?).read_line(&mut line)?;
        let url = line.split("http://").nth(1).and_then(|rest| rest.split(". ").next());
        let address = url.with_context(|| format!("the server did not start: {line}"))?.parse()?;
        Ok(Self { address, child, directory })
    }

    /// Returns the body with which the first administrator logs in.
    pub fn credentials(&self) -> Result<String> {
        let password = fs::read_to_string(self.directory.join("data/initial-admin-password"))?;
        Ok(format!(r#"{{"identifier": "admin", "password": "{}"}}"#, password.trim()))
    }

    /// Returns the resident memory, in KiB.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        _ = fs::remove_dir_all(&self.directory);
    }
}
