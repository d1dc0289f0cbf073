//! An app that listens on a socket, and clients that send bytes which no HTTP library would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use vestibule::server::{self, Limits, Timeouts};

use super::TestApp;

/// Longer than any response takes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// Returns the limits of a service, with the changes that a test needs.
pub fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits { timeouts: Timeouts::default(), connections: 100 };
    change(&mut limits);
    limits
}

/// An app that listens until this is dropped.
pub struct Listening {
    pub address: SocketAddr,
    _stop: oneshot::Sender<()>,
    pub app: TestApp,
}

impl Listening {
    pub async fn start(limits: Limits) -> Self {
        // One hashing thread, which `hold_hashing` can keep busy.
        let test_app = Box::pin(TestApp::start_with(|settings| {
            settings.server.listen = "127.0.0.1:0".parse().unwrap();
            settings.password.hash_threads = Some(1);
            settings.password.lanes = 1;
        }))
        .await;
        let ((stop, stopped), (listens, address)) = (oneshot::channel::<()>(), oneshot::channel());
        let app = test_app.app.clone();
        let bound = server::bind(&app.settings).unwrap();
        tokio::spawn(async move {
            let ready = |url: &str| listens.send(url.strip_prefix("http://").unwrap().parse().unwrap()).unwrap();
            let stop = async {
                _ = stopped.await;
                Duration::ZERO
            };
            server::serve(app, bound, limits, ready, stop).await.unwrap();
        });
        Self { address: address.await.unwrap(), _stop: stop, app: test_app }
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

/// A connection to the service.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads one response and returns its status and its whole text.
    pub async fn answer(&mut self) -> (u16, String) {
        let mut answer = Vec::new();
        loop {
            let mut part = [0; 4096];
            let read = timeout(RESPONSE_TIMEOUT, self.0.read(&mut part)).await.expect("an answer").unwrap_or(0);
            answer.extend_from_slice(&part[..read]);
            let text = String::from_utf8_lossy(&answer);
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                body.len() >= length
            });
            if whole || read == 0 {
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
                return (status, text.into_owned());
            }
        }
    }

    /// Reads until the server closes the connection.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset also closes the connection.
        _ = timeout(RESPONSE_TIMEOUT, self.0.read_to_end(&mut rest)).await.expect("the end of the connection");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// Returns whether the connection is still open after `wait`, without a byte from the server.
    pub async fn is_open_after(&mut self, wait: Duration) -> bool {
        timeout(wait, self.0.read(&mut [0])).await.is_err()
    }
}
