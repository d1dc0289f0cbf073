//! Programs beside the server under test, such as proxies and poolers. They run as another user than root, in a directory of their
//! own, and stop when the test ends, also when it is killed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    binary::not_tested,
    postgres::{give_to_nobody, unprivileged},
};

/// A running program. It stops when this is dropped.
pub struct Daemon {
    process: Child,
    directory: TempDir,
}

impl Daemon {
    /// Starts a program that stays in the foreground and writes a file `log` into its directory. Waits until `is_ready`.
    pub fn start(program: &Path, arguments: &[&str], directory: TempDir, is_ready: impl Fn() -> bool) -> Self {
        give_to_nobody(directory.path());
        // If this process is killed, the shell reads the end of its input, and stops the program.
        let mut shell = unprivileged(Path::new("/bin/sh"));
        shell.args(["-c", r#""$@" & cat >/dev/null; kill -9 $!"#, "sh"]).arg(program).args(arguments);
        let process = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let daemon = Self { process, directory };
        for _ in 0..6_000 {
            if is_ready() {
                return daemon;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} did not start: {}", program.display(), daemon.log());
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns what the program has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Returns the path of an installed program, also of one that only root has in the PATH. Without it, reports that `what` was not
/// tested.
pub fn find(name: &str, what: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut programs = env::split_paths(&path).chain(["/usr/sbin".into()]).map(|bin| bin.join(name));
    let found = programs.find(|program| program.exists());
    if found.is_none() {
        not_tested(what, &format!("{name} is not installed"));
    }
    found
}
