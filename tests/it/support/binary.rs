//! The real binary, started in a directory of its own with the settings of the test, a free port and the lowest bcrypt cost.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The binary that the tests have built.
pub const BINARY: &str = env!("CARGO_BIN_EXE_vestibule");

/// The binary under test. `TEST_BINARY` names another one, such as the release build.
pub fn path() -> String {
    env::var("TEST_BINARY").unwrap_or_else(|_| BINARY.to_owned())
}

/// How long a start may take on a busy machine. Most of it is the hash of the first administrator's password.
const START: Duration = Duration::from_mins(1);

/// Returns a command that runs the binary in `dir` with the settings of `env`, on a free port and with the lowest cost that can
/// be configured.
pub fn command(dir: &Path, env: &[(&str, &str)]) -> Command {
    like(Command::new(path()), dir, env)
}

/// Prepares another command that runs the binary in the same way.
pub fn like(mut command: Command, dir: &Path, env: &[(&str, &str)]) -> Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().to_ascii_uppercase().starts_with("VESTIBULE_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).env("VESTIBULE_SERVER__LISTEN", "127.0.0.1:0").env("VESTIBULE_PASSWORD__BCRYPT_COST", "10");
    command.envs(env.iter().copied());
    command
}

/// The output of a process so far.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Printed {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    /// The URL of the listener, such as `http://127.0.0.1:40123`.
    pub url: String,
    pub stdout: Printed,
    /// The standard error, which is the log.
    pub log: Printed,
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts the server in `dir` and waits until it listens. Panics with the output if it does not.
    pub fn start(dir: &Path, env: &[(&str, &str)]) -> Self {
        Self::spawn(command(dir, env))
    }

    /// As [`Self::start`], with a command from [`like`].
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, log) = (Printed::default(), Printed::default());
        let (found, url) = mpsc::channel();
        let readers = vec![
            follow(child.stdout.take().unwrap(), stdout.clone(), Some(found)),
            follow(child.stderr.take().unwrap(), log.clone(), None),
        ];
        let mut server = Self { url: String::new(), stdout, log, child, readers };
        server.url = url.recv_timeout(START).unwrap_or_else(|_| {
            panic!("the server did not start: {}{}", server.stdout.text(), server.log.text());
        });
        server
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server with SIGTERM and waits for its end. Then `stdout` and `log` are complete.
    pub fn stop(mut self) -> ExitStatus {
        signal("TERM", self.id());
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// As [`Self::stop`], but kills the server and returns `None` if it has not ended within `limit`.
    pub fn stop_within(mut self, limit: Duration) -> Option<ExitStatus> {
        const PAUSE: Duration = Duration::from_millis(10);
        signal("TERM", self.id());
        for _ in 0..limit.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(PAUSE);
        }
        None
    }

    /// Kills the server with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Sends a signal by its name, such as `TERM`.
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status().unwrap();
    assert!(sent.success());
}

/// Reports that a test cannot run on this machine. Panics if `CI` is `true`: there, every test must run.
pub fn not_tested(what: &str, missing: &str) {
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "CI=true, but {missing}");
    // Not `eprintln`: the test runner hides its output when a test passes.
    io::stderr().write_all(format!("NOT TESTED {what}: {missing}\n").as_bytes()).unwrap();
}

/// Collects the output from a pipe and sends the URL on which the server listens.
fn follow(pipe: impl Read + Send + 'static, printed: Printed, found: Option<mpsc::Sender<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            printed.0.lock().unwrap().extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line);
            let url = text.split_once("Vestibule listens on ").and_then(|(_, rest)| rest.split(". ").next());
            if let (Some(found), Some(url)) = (&found, url) {
                _ = found.send(url.to_owned());
            }
            line.clear();
        }
    })
}
