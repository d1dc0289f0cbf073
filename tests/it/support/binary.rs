//! The real binary, serving: for stories that need a process, a port and files.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::sleep,
    time::Duration,
};

/// A running `vestibule serve`, killed when this is dropped. It logs into the file `log` of its directory.
pub struct Server {
    /// Where it listens, like `http://127.0.0.1:40123`.
    pub url: String,
    process: Child,
    /// Kept open, or the next line it prints would end it.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it in `dir`, on a free port, with no settings but `env`, and waits until it listens.
    pub fn start(dir: &Path, env: &[(&str, &str)]) -> Self {
        let log = dir.join("log");
        let mut process = vestibule(dir)
            .env("VESTIBULE_SERVER__LISTEN", "127.0.0.1:0")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url =
            line.strip_prefix("Vestibule listens on ").and_then(|rest| rest.split_once(". ")).map(|(url, _)| url.to_owned());
        let url = url.unwrap_or_else(|| panic!("it did not start: {line}{}", fs::read_to_string(&log).unwrap()));
        Self { url, process, _stdout: stdout }
    }

    /// Asks it to stop, as an operator would, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        // The shell's own `kill`: the program of that name is not everywhere.
        let asked = Command::new("/bin/sh").args(["-c", "kill -TERM \"$0\"", &self.process.id().to_string()]).status().unwrap();
        assert!(asked.success());
        for _ in 0..200 {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("it was asked to stop, and went on for 20 seconds")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary, to be run in `dir` without any setting from the environment of the tests.
pub fn vestibule(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vestibule"));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VESTIBULE_")) {
        command.env_remove(name);
    }
    command
}
