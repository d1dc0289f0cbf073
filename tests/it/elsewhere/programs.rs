//! The programs that the guide shows: the tests send them tokens to verify and advance their clocks. The Node and Python
//! programs run in processes of their own.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::not_tested;

// The guide's program must compile with older compilers and may use the system clock.
#[allow(dead_code, missing_docs, clippy::disallowed_methods, clippy::duration_suboptimal_units)]
#[rustfmt::skip] // as in the guide
mod guide {
    include!("verify.rs");

    impl Verifier {
        /// Advances the clock that determines the age of the key set.
        pub fn advance(&self, by: Duration) {
            if let Some((read_at, _)) = &mut *self.keys.lock().unwrap() {
                *read_at = read_at.checked_sub(by).unwrap();
            }
        }
    }
}

/// Returns the program in this language that the guide shows.
pub fn shown(language: &str) -> String {
    let page = include_str!("../../../src/guide/verifying.md");
    let (_, program) = page.split_once(&format!("\n```{language}\n")).unwrap();
    program.split_once("```").unwrap().0.to_owned()
}

/// The programs for Rust, Node and Python.
pub struct Programs {
    others: Vec<Program>,
    rust: guide::Verifier,
    _directory: TempDir,
}

impl Programs {
    /// Starts the programs. Returns `None`, and reports why, if this machine cannot run them.
    pub fn start(issuer: &str, vestibule: &str) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (modules, python) = (root.join("tests/elsewhere/node_modules"), root.join("target/python/bin/python"));
        if !modules.join("jose").exists() || !python.exists() {
            not_tested("in other languages", "jose and PyJWT are not installed: run `.ci/client prepare`");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        file("verify.mjs", &shown("js"));
        file("verify.py", &shown("py"));
        file("driver.mjs", include_str!("driver.mjs"));
        file("driver.py", include_str!("driver.py"));
        symlink(modules, directory.path().join("node_modules")).unwrap();
        let start = |name, command: &mut Command| {
            let command = command.current_dir(&directory).env("ISSUER", issuer).env("VESTIBULE", vestibule);
            Program::start(name, command.env("NO_PROXY", "127.0.0.1"))
        };
        let others =
            vec![start("Node", Command::new("node").arg("driver.mjs")), start("Python", Command::new(python).arg("driver.py"))];
        Some(Self { others, rust: guide::Verifier::new(issuer, vestibule), _directory: directory })
    }

    /// Checks what each program returns for a request with this `Authorization` header: the subject and the roles, or the
    /// status and the header of the error response.
    pub fn verify(&mut self, authorization: Option<&str>, expected: &str) {
        let rust = self.rust.verify(authorization).map(|claims| format!("{} {}", claims.sub, claims.roles.join(",")));
        self.assert_all_return(&json!(["verify", authorization]), rust, expected);
    }

    /// Checks what each program returns for a request that requires a permission.
    pub fn authorize(&mut self, authorization: Option<&str>, permission: &str, expected: &str) {
        let rust = self.rust.authorize(authorization, permission).map(|caller| format!("{} may", caller.subject));
        self.assert_all_return(&json!(["authorize", authorization, permission]), rust, expected);
    }

    /// Advances the clocks of all programs.
    pub fn advance(&mut self, seconds: u64) {
        self.rust.advance(Duration::from_secs(seconds));
        for program in &mut self.others {
            program.call(&json!(["advance", seconds]));
        }
    }

    fn assert_all_return(&mut self, call: &Value, rust: Result<String, guide::Refusal>, expected: &str) {
        let error_text = |guide::Refusal { status, challenge }| {
            format!("{status} {}", challenge.unwrap_or_else(|| "Retry-After: 5".to_owned()))
        };
        assert_eq!(rust.unwrap_or_else(error_text), expected, "Rust: {call}");
        for program in &mut self.others {
            assert_eq!(program.call(call), expected, "{}: {call}", program.name);
        }
    }
}

/// A process that reads a call from each line of its input, and writes the outcome as one line.
struct Program {
    name: &'static str,
    child: Child,
    calls: ChildStdin,
    outcomes: BufReader<ChildStdout>,
}

impl Program {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (calls, outcomes) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { name, child, calls, outcomes }
    }

    fn call(&mut self, call: &Value) -> String {
        writeln!(self.calls, "{call}").unwrap();
        let mut outcome = String::new();
        self.outcomes.read_line(&mut outcome).unwrap();
        outcome.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
