//! A mail server for tests. It takes mails and keeps them, and misbehaves as a script says.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    runtime::Builder,
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, pem::PemObject},
    },
};

/// What the server says to a command instead of the usual.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// These lines. After a code of 4xx or 5xx the command has had no effect.
    Say(&'static str),
    /// Nothing: it closes the connection.
    Close,
    /// Nothing: it keeps the connection open.
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    Implicit,
    Starttls,
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct Script {
    pub encryption: Encryption,
    /// The user name and the password without which no mail is taken.
    pub login: Option<(&'static str, &'static str)>,
    /// Answers to `CONNECT`, `EHLO`, `STARTTLS`, `AUTH`, `MAIL`, `RCPT`, `DATA` and `.`, and the number of the command in the life
    /// of the server, from 1; 0 stands for all.
    pub answers: Vec<(&'static str, usize, Answer)>,
}

impl Default for Script {
    fn default() -> Self {
        Self { encryption: Encryption::None, login: None, answers: Vec::new() }
    }
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// The message, without the dots that SMTP doubles.
    pub message: String,
    pub encrypted: bool,
}

#[derive(Default)]
struct Log {
    commands: Vec<String>,
    mails: Vec<Received>,
}

/// A running mail server.
pub struct MailServer {
    pub port: u16,
    log: Arc<Mutex<Log>>,
    directory: TempDir,
    /// Dropped to stop the server.
    _stop: oneshot::Sender<()>,
}

impl MailServer {
    /// Starts a server on the loopback address, with a certificate for `localhost`.
    pub fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(directory.path().join("certificate.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let (stop, stopped) = oneshot::channel();
        let shared = log.clone();
        // A thread of its own, so that tests without a runtime can use the server.
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serve = async {
                    let listener = TcpListener::from_std(listener).unwrap();
                    while let Ok((stream, _)) = listener.accept().await {
                        let session = Session { script: script.clone(), log: shared.clone(), acceptor: acceptor.clone() };
                        tokio::spawn(async move { session.accept(stream).await });
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port, log, directory, _stop: stop }
    }

    pub fn mails(&self) -> Vec<Received> {
        self.log.lock().unwrap().mails.clone()
    }

    /// Returns all commands, of all connections. `CONNECT` begins each connection.
    pub fn commands(&self) -> Vec<String> {
        self.log.lock().unwrap().commands.clone()
    }

    /// Returns how often a command was given.
    pub fn count(&self, verb: &str) -> usize {
        self.commands().iter().filter(|command| command.starts_with(verb)).count()
    }

    /// Returns the file of the certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }
}

/// A connection.
struct Session {
    script: Script,
    log: Arc<Mutex<Log>>,
    acceptor: TlsAcceptor,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Session {
    async fn accept(self, stream: tokio::net::TcpStream) {
        if self.script.encryption == Encryption::Implicit {
            if let Ok(stream) = self.acceptor.clone().accept(stream).await {
                _ = self.serve(Box::new(stream), true).await;
            }
        } else {
            _ = self.serve(Box::new(stream), false).await;
        }
    }

    /// Records a command. Returns the answer in the script, or else the usual one.
    fn answer(&self, command: &str, usual: &'static str) -> Answer {
        let mut log = self.log.lock().unwrap();
        log.commands.push(command.to_owned());
        let verb = command.split(' ').next().unwrap();
        let number = log.commands.iter().filter(|command| command.split(' ').next() == Some(verb)).count();
        let scripted = self.script.answers.iter().find(|(name, which, _)| *name == verb && (*which == 0 || *which == number));
        scripted.map_or(Answer::Say(usual), |(_, _, answer)| *answer)
    }

    async fn serve(self, mut stream: Box<dyn Stream>, mut encrypted: bool) -> io::Result<()> {
        let (mut logged_in, mut from, mut to) = (false, String::new(), String::new());
        let mut command = "CONNECT".to_owned();
        loop {
            let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let login = self.script.login.map(|(name, password)| plain(name, password));
            let usual = match verb.as_str() {
                "CONNECT" => "220 sink ready",
                "EHLO" if self.script.encryption == Encryption::Starttls && !encrypted => "250-sink\r\n250 STARTTLS",
                "EHLO" if login.is_some() => "250-sink\r\n250 AUTH PLAIN LOGIN",
                "EHLO" => "250-sink\r\n250 8BITMIME",
                "STARTTLS" => "220 go ahead",
                "AUTH" if login.as_ref().is_some_and(|login| command == format!("AUTH PLAIN {login}")) => "235 2.7.0 welcome",
                "AUTH" => "535 5.7.8 authentication failed",
                "MAIL" if login.is_some() && !logged_in => "530 5.7.0 authentication required",
                "DATA" => "354 end with a dot",
                "." => "250 2.0.0 queued",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            let said = match self.answer(&command, usual) {
                Answer::Say(text) => text,
                Answer::Close => return Ok(()),
                Answer::Hang => return std::future::pending().await,
            };
            stream.write_all(format!("{said}\r\n").as_bytes()).await?;
            stream.flush().await?;
            if said.starts_with('2') || said.starts_with('3') {
                match verb.as_str() {
                    "STARTTLS" => {
                        stream = Box::new(self.acceptor.accept(stream).await?);
                        encrypted = true;
                    }
                    "AUTH" => logged_in = true,
                    "MAIL" => from = address(&command),
                    "RCPT" => to = address(&command),
                    "DATA" => {
                        let message = read_message(&mut stream).await?;
                        let (from, to) = (from.clone(), to.clone());
                        self.log.lock().unwrap().mails.push(Received { from, to, message, encrypted });
                        ".".clone_into(&mut command);
                        continue;
                    }
                    "QUIT" => return Ok(()),
                    _ => {}
                }
            } else if verb == "." {
                self.log.lock().unwrap().mails.pop();
            }
            command = read_line(&mut stream).await?;
        }
    }
}

fn plain(name: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(format!("\0{name}\0{password}"))
}

fn address(command: &str) -> String {
    command.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address.to_owned()).unwrap_or_default()
}

async fn read_line(stream: &mut Box<dyn Stream>) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line).unwrap())
}

async fn read_message(stream: &mut Box<dyn Stream>) -> io::Result<String> {
    let mut message = String::new();
    loop {
        let line = read_line(stream).await?;
        if line == "." {
            return Ok(message);
        }
        message += line.strip_prefix('.').unwrap_or(&line);
        message += "\r\n";
    }
}
