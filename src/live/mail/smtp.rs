//! The transport to a mail server. The commands are given one by one, so that an error says at which of them the server refused,
//! and whether it refused this mail or this service.

use std::{
    error::Error as _,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use lettre::{
    Address,
    transport::smtp::{
        self,
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, CertificateStore, TlsParameters},
        commands::{Data, Mail, Rcpt, Rset},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret;
use tokio::{net::TcpStream, time::timeout};

use super::{
    send_error::{SendError, line},
    starttls::GuardedStream,
};
use crate::config::{SmtpSettings, SmtpTls};

/// The maximum number of connections that wait for the next mail.
const IDLE: usize = 4;
/// How long a connection waits for the next mail.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// The maximum number of mails on one connection. Some servers allow no more.
const MAILS: u32 = 100;

/// How long the transport waits for a mail server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one answer.
    pub answer: Duration,
    /// For the whole delivery of a mail.
    pub mail: Duration,
}

impl Default for Limits {
    /// 30 s and 90 s: another replica may try to send a mail that has been leased for 120 s.
    fn default() -> Self {
        Self { answer: Duration::from_secs(30), mail: Duration::from_secs(90) }
    }
}

/// A mail server.
pub(super) struct Server {
    host: String,
    port: u16,
    tls: SmtpTls,
    tls_parameters: Option<TlsParameters>,
    credentials: Option<Credentials>,
    hello: ClientId,
    from: Address,
    limits: Limits,
    idle: Arc<Mutex<Idle>>,
}

struct Connection {
    smtp: AsyncSmtpConnection,
    mails: u32,
}

impl Server {
    /// Does not connect. The server introduces itself as `domain`, the domain of `from`, because the name of a container would be
    /// refused.
    pub(super) fn new(settings: &SmtpSettings, from: Address, domain: &str, limits: Limits) -> Result<Self> {
        let host = settings.host.clone().context("mail.smtp.host is not set")?;
        let tls_parameters = match settings.tls {
            SmtpTls::None => None,
            SmtpTls::Implicit | SmtpTls::Starttls => {
                // The system's certificates include those of an operator's own authority. A bare container has none.
                let system = rustls_native_certs::load_native_certs().certs;
                let store = if system.is_empty() { CertificateStore::WebpkiRoots } else { CertificateStore::Default };
                let parameters = TlsParameters::builder(host.clone()).certificate_store(store).build();
                Some(parameters.context("TLS to the mail server cannot be set up")?)
            }
        };
        let credentials = settings.username.clone().zip(settings.password.as_ref());
        Ok(Self {
            port: settings.port(),
            tls: settings.tls,
            tls_parameters,
            credentials: credentials.map(|(name, password)| Credentials::new(name, password.expose_secret().to_owned())),
            hello: ClientId::Domain(domain.to_owned()),
            from,
            limits,
            idle: Arc::default(),
            host,
        })
    }

    /// Returns the host and the port.
    pub(super) fn name(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    /// Delivers a message to the server.
    pub(super) async fn send(&self, to: &Address, message: &[u8]) -> Result<(), SendError> {
        let delivered = timeout(self.limits.mail, self.deliver(to, message)).await;
        delivered.unwrap_or_else(|_| Err(Failure::silent(Step::Mail, self.limits.mail))).map_err(|failure| {
            let text = line(&failure.describe(&self.host, &self.name()), to.as_ref());
            failure.class()(text)
        })
    }

    async fn deliver(&self, to: &Address, message: &[u8]) -> Result<(), Failure> {
        if let Some(connection) = self.take_idle() {
            match self.transact(connection, to, message).await {
                // The server has closed the connection since the last mail.
                Err(failure) if failure.is_stale() => {}
                result => return result,
            }
        }
        let connection = self.connect().await?;
        self.transact(connection, to, message).await
    }

    async fn transact(&self, mut connection: Connection, to: &Address, message: &[u8]) -> Result<(), Failure> {
        let result = self.give(&mut connection.smtp, to, message).await;
        connection.mails += 1;
        let is_usable = match &result {
            Ok(()) => true,
            // After a refusal the server expects the next mail.
            Err(failure) => failure.code.is_some_and(|code| code != 421) && self.reset(&mut connection.smtp).await,
        };
        if is_usable && connection.mails < MAILS {
            self.keep(connection);
        } else {
            _ = timeout(Duration::from_secs(1), connection.smtp.abort()).await;
        }
        result
    }

    async fn give(&self, smtp: &mut AsyncSmtpConnection, to: &Address, message: &[u8]) -> Result<(), Failure> {
        self.step(Step::Sender, smtp.command(Mail::new(Some(self.from.clone()), Vec::new()))).await?;
        self.step(Step::Recipient, smtp.command(Rcpt::new(to.clone(), Vec::new()))).await?;
        self.step(Step::Data, smtp.command(Data)).await?;
        self.step(Step::Message, smtp.message(message)).await?;
        Ok(())
    }

    async fn reset(&self, smtp: &mut AsyncSmtpConnection) -> bool {
        timeout(self.limits.answer, smtp.command(Rset)).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let resolve = tokio::net::lookup_host((self.host.as_str(), self.port));
        let addresses: Vec<SocketAddr> = self.step(Step::Resolve, resolve).await?.collect();
        let mut smtp = if let (SmtpTls::Implicit, Some(tls)) = (self.tls, &self.tls_parameters) {
            let (answer, tls) = (Some(self.limits.answer), Some(tls.clone()));
            self.step(Step::Connect, AsyncSmtpConnection::connect_tokio1(&addresses[..], answer, &self.hello, tls, None)).await?
        } else {
            let stream = self.step(Step::Connect, TcpStream::connect(&addresses[..])).await?;
            let stream = Box::new(GuardedStream::new(stream));
            self.step(Step::Greeting, AsyncSmtpConnection::connect_with_transport(stream, &self.hello)).await?
        };
        if let (SmtpTls::Starttls, Some(tls)) = (self.tls, &self.tls_parameters) {
            if !smtp.can_starttls() {
                return Err(Failure { step: Step::Starttls, code: None, text: "the server does not offer it".to_owned() });
            }
            self.step(Step::Starttls, smtp.starttls(tls.clone(), &self.hello)).await?;
        }
        if let Some(credentials) = &self.credentials {
            self.step(Step::Auth, smtp.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(Connection { smtp, mails: 0 })
    }

    /// Waits for one answer.
    async fn step<T, E: Into<Cause>>(&self, step: Step, answer: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
        match timeout(self.limits.answer, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let Cause { code, is_tls, text } = error.into();
                Err(Failure { step: if is_tls { Step::Tls } else { step }, code, text })
            }
            Err(_) => Err(Failure::silent(step, self.limits.answer)),
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        lock(&self.idle).waiting.pop().map(|(_, connection)| connection)
    }

    /// Keeps a connection for the next mail, for some time.
    fn keep(&self, connection: Connection) {
        let number = {
            let mut idle = lock(&self.idle);
            if idle.waiting.len() >= IDLE {
                return;
            }
            idle.last += 1;
            let number = idle.last;
            idle.waiting.push((number, connection));
            number
        };
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_TIME).await;
            let Some(idle) = idle.upgrade() else { return };
            let unused = {
                let waiting = &mut lock(&idle).waiting;
                waiting.iter().position(|(other, _)| *other == number).map(|at| waiting.swap_remove(at))
            };
            if let Some((_, mut connection)) = unused {
                _ = timeout(Duration::from_secs(1), connection.smtp.quit()).await;
            }
        });
    }
}

/// The connections that wait for the next mail.
#[derive(Default)]
struct Idle {
    /// The connections, each with a number that is never used again.
    waiting: Vec<(u64, Connection)>,
    last: u64,
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A step of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Resolve,
    Connect,
    Tls,
    Greeting,
    Starttls,
    Auth,
    Sender,
    Recipient,
    Data,
    Message,
    /// The delivery as a whole.
    Mail,
}

/// Why a step failed.
struct Failure {
    step: Step,
    /// The code of the server's answer.
    code: Option<u16>,
    text: String,
}

impl Failure {
    fn silent(step: Step, limit: Duration) -> Self {
        Self { step, code: None, text: format!("no answer within {} s", limit.as_secs_f32()) }
    }

    /// Returns whether the server has only closed an old connection.
    fn is_stale(&self) -> bool {
        self.step == Step::Sender && (self.code.is_none() || self.code == Some(421))
    }

    /// Returns the error that this failure is.
    fn class(&self) -> fn(String) -> SendError {
        match (self.step, self.code) {
            (_, Some(..500)) | (Step::Sender | Step::Recipient | Step::Data | Step::Message | Step::Mail, None) => {
                SendError::Temporary
            }
            // 530, 534, 535 and 538 ask for encryption or another authentication, for every mail (RFC 4954 section 6).
            (Step::Recipient | Step::Data | Step::Message, Some(code)) if !matches!(code, 530 | 534 | 535 | 538) => {
                SendError::Refused
            }
            // The server would refuse a sender again, too, for every recipient.
            _ => SendError::Transport,
        }
    }

    fn describe(&self, host: &str, server: &str) -> String {
        let command = match self.step {
            Step::Resolve => return format!("the host name {host} cannot be resolved: {}", self.text),
            Step::Connect => return format!("cannot connect to {server}: {}", self.text),
            Step::Tls => return format!("TLS with {server} failed: {}", self.text),
            Step::Mail => return format!("{server} was too slow: {}", self.text),
            Step::Greeting => "the connection",
            Step::Starttls => "STARTTLS",
            Step::Auth => "AUTH",
            Step::Sender => "MAIL FROM",
            Step::Recipient => "RCPT TO",
            Step::Data => "DATA",
            Step::Message => "the message",
        };
        match self.code {
            // Servers may quote the password or the message, and with it the link.
            Some(code) if matches!(self.step, Step::Auth | Step::Message) => {
                format!("{server} answered {command} with {code} {}", enhanced_code(&self.text)).trim_end().to_owned()
            }
            Some(code) => format!("{server} answered {command} with {code} {}", self.text),
            None => format!("{command} failed at {server}: {}", self.text),
        }
    }
}

/// Returns the enhanced status code at the beginning of an answer, such as `5.7.8` (RFC 3463); otherwise nothing.
fn enhanced_code(text: &str) -> &str {
    let first = text.split_whitespace().next().unwrap_or_default();
    let parts: Vec<_> = first.split('.').collect();
    let is_code = parts.len() == 3
        && parts.iter().all(|part| matches!(part.len(), 1..=3) && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_code { first } else { "" }
}

/// What is known of an error.
struct Cause {
    code: Option<u16>,
    is_tls: bool,
    text: String,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self { code: None, is_tls: false, text: error.to_string() }
    }
}

impl From<smtp::Error> for Cause {
    fn from(error: smtp::Error) -> Self {
        // An error of the TLS handshake is wrapped twice, others once.
        let is_tls = error.source().is_some_and(<dyn std::error::Error>::is::<smtp::Error>);
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self { code: error.status().map(u16::from), is_tls, text: innermost.to_string() }
    }
}
