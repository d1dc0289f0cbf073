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

/// How much of what a client sends is remembered, by which a connection can be recognised.
const REMEMBERED: usize = 256 * 1024;

/// What a connection forwards at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Both,
    /// Queries arrive, and the answers do not.
    ToServer,
    /// Answers arrive, and the queries do not.
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
    /// What new connections begin with.
    flow: Mutex<Flow>,
    wires: Mutex<Vec<Arc<Wire>>>,
}

/// One connection.
struct Wire {
    flow: watch::Sender<Flow>,
    said: Mutex<Vec<u8>>,
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

    /// Changes what every connection forwards, and what new ones will.
    pub fn set(&self, flow: Flow) {
        *self.shared.flow.lock().unwrap() = flow;
        self.set_existing(flow, "");
    }

    /// Changes what those connections forward on which the client has sent `text`; returns how many there are. New
    /// connections are not affected.
    pub fn set_existing(&self, flow: Flow, text: &str) -> usize {
        let mut wires = self.shared.wires.lock().unwrap();
        wires.retain(|wire| wire.flow.receiver_count() > 0);
        let chosen = wires.iter().filter(|wire| text.is_empty() || wire.has_said(text));
        chosen.inspect(|wire| _ = wire.flow.send_replace(flow)).count()
    }
}

impl Wire {
    fn has_said(&self, text: &str) -> bool {
        self.said.lock().unwrap().windows(text.len()).any(|it| it == text.as_bytes())
    }

    fn remember(&self, bytes: &[u8]) {
        let mut said = self.said.lock().unwrap();
        if said.len() < REMEMBERED {
            said.extend_from_slice(bytes);
        }
    }
}

async fn accept(bound: Bound, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(bound).unwrap();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let wire = Arc::new(Wire { flow: watch::Sender::new(*shared.flow.lock().unwrap()), said: Mutex::default() });
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
        // The end of a connection does not arrive either while nothing is forwarded.
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
