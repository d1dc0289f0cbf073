//! The guide's programs, each in a process of its own: they report on tokens, and their clocks can be advanced.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::not_tested;

// An example for people with older compilers and clocks of their own.
#[allow(dead_code, missing_docs, clippy::disallowed_methods, clippy::duration_suboptimal_units)]
#[rustfmt::skip] // as in the guide
mod guide {
    include!("verify.rs");

    impl Verifier {
        /// Moves the clock on, as far as the key set is concerned.
        pub fn advance(&self, by: Duration) {
            if let Some((read_at, _)) = &mut *self.keys.lock().unwrap() {
                *read_at = read_at.checked_sub(by).unwrap();
            }
        }
    }
}

/// Returns the program in this language from the guide.
pub fn shown(language: &str) -> String {
    let page = include_str!("../../../src/guide/verifying.md");
    let (_, program) = page.split_once(&format!("\n```{language}\n")).unwrap();
    program.split_once("```").unwrap().0.to_owned()
}

/// The three programs.
pub struct Programs {
    others: Vec<Program>,
    rust: guide::Verifier,
    _directory: TempDir,
}

impl Programs {
    /// Starts them; `None` where this machine cannot run them, which it says.
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

    /// Each says this of a request with this `Authorization` header: subject and roles, or the status and header of its refusal.
    pub fn verify(&mut self, authorization: Option<&str>, expected: &str) {
        let rust = self.rust.verify(authorization).map(|claims| format!("{} {}", claims.sub, claims.roles.join(",")));
        self.agree(&json!(["verify", authorization]), rust, expected);
    }

    /// Each says this of a request that needs a permission.
    pub fn authorize(&mut self, authorization: Option<&str>, permission: &str, expected: &str) {
        let rust = self.rust.authorize(authorization, permission).map(|caller| format!("{} may", caller.subject));
        self.agree(&json!(["authorize", authorization, permission]), rust, expected);
    }

    /// Moves their clocks on.
    pub fn advance(&mut self, seconds: u64) {
        self.rust.advance(std::time::Duration::from_secs(seconds));
        for program in &mut self.others {
            program.ask(&json!(["advance", seconds]));
        }
    }

    fn agree(&mut self, call: &Value, rust: Result<String, guide::Refusal>, expected: &str) {
        let refused = |guide::Refusal { status, challenge }| {
            format!("{status} {}", challenge.unwrap_or_else(|| "Retry-After: 5".to_owned()))
        };
        assert_eq!(rust.unwrap_or_else(refused), expected, "Rust: {call}");
        for program in &mut self.others {
            assert_eq!(program.ask(call), expected, "{}: {call}", program.name);
        }
    }
}

/// A program that answers each line with one.
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

    fn ask(&mut self, call: &Value) -> String {
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
