//! A TCP proxy in front of PostgreSQL that can stop forwarding without closing anything.

use std::{
    net::TcpListener as Bound,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    runtime::Runtime,
    sync::watch,
};

/// How many bytes of each client are kept. A connection is recognised by them.
const REMEMBERED: usize = 256 * 1024;

/// What a connection forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Both,
    /// Queries are forwarded, results are not.
    ToServer,
    /// Results are forwarded, queries are not.
    ToClient,
    Nothing,
    /// The connection is closed.
    Cut,
}

impl Flow {
    fn lets(self, direction: Self) -> bool {
        self == Self::Both || self == direction || self == Self::Cut
    }
}

/// A proxy that listens on a port of its own.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    /// The socket of the server to which new connections go.
    target: Mutex<PathBuf>,
    /// What new connections forward at first.
    flow: Mutex<Flow>,
    wires: Mutex<Vec<Arc<Wire>>>,
}

/// A connection through the proxy.
struct Wire {
    flow: watch::Sender<Flow>,
    sent: Mutex<Vec<u8>>,
}

impl Proxy {
    pub fn start(target: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bound = Bound::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let port = bound.local_addr().unwrap().port();
        let shared = Arc::new(Shared { target: Mutex::new(target), flow: Mutex::new(Flow::Both), wires: Mutex::default() });
        runtime.spawn(accept(bound, Arc::clone(&shared)));
        Self { port, shared, _runtime: runtime }
    }

    /// Sends new connections to another server.
    pub fn retarget(&self, target: PathBuf) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Changes what existing and new connections forward.
    pub fn set(&self, flow: Flow) {
        *self.shared.flow.lock().unwrap() = flow;
        self.set_existing(flow, "");
    }

    /// Changes what the existing connections forward on which the client has sent `text`. Returns their number.
    pub fn set_existing(&self, flow: Flow, text: &str) -> usize {
        let mut wires = self.shared.wires.lock().unwrap();
        wires.retain(|wire| wire.flow.receiver_count() > 0);
        let chosen = wires.iter().filter(|wire| text.is_empty() || wire.has_sent(text));
        chosen.inspect(|wire| _ = wire.flow.send_replace(flow)).count()
    }
}

impl Wire {
    fn has_sent(&self, text: &str) -> bool {
        self.sent.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }

    fn remember(&self, bytes: &[u8]) {
        let mut sent = self.sent.lock().unwrap();
        if sent.len() < REMEMBERED {
            sent.extend_from_slice(bytes);
        }
    }
}

async fn accept(bound: Bound, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(bound).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let wire = Arc::new(Wire { flow: watch::Sender::new(*shared.flow.lock().unwrap()), sent: Mutex::default() });
        shared.wires.lock().unwrap().push(Arc::clone(&wire));
        tokio::spawn(serve(client, wire, Arc::clone(&shared)));
    }
}

async fn serve(client: TcpStream, wire: Arc<Wire>, shared: Arc<Shared>) {
    let (mut forth, mut back) = (wire.flow.subscribe(), wire.flow.subscribe());
    if forth.wait_for(|flow| flow.lets(Flow::ToServer)).await.is_err() {
        return;
    }
    let target = shared.target.lock().unwrap().clone();
    let Ok(server) = UnixStream::connect(target).await else { return };
    let ((mut client_in, mut client_out), (mut server_in, mut server_out)) = (client.into_split(), server.into_split());
    let to_server = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = client_in.read(&mut bytes).await {
            wire.remember(&bytes[..length]);
            _ = forth.wait_for(|flow| flow.lets(Flow::ToServer)).await;
            if server_out.write_all(&bytes[..length]).await.is_err() {
                break;
            }
        }
        // While nothing is forwarded, the end of a connection is not forwarded either.
        _ = forth.wait_for(|flow| flow.lets(Flow::ToServer)).await;
    };
    let to_client = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = server_in.read(&mut bytes).await {
            _ = back.wait_for(|flow| flow.lets(Flow::ToClient)).await;
            if client_out.write_all(&bytes[..length]).await.is_err() {
                break;
            }
        }
        _ = back.wait_for(|flow| flow.lets(Flow::ToClient)).await;
    };
    let mut cut = wire.flow.subscribe();
    tokio::select! {
        () = to_server => {}
        () = to_client => {}
        _ = cut.wait_for(|flow| *flow == Flow::Cut) => {}
    }
}
