//! Where a PostgreSQL trial takes place: a database server, and a proxy in front of it for each replica.

use std::{path::Path, sync::Arc, thread, time::Duration};

use tempfile::TempDir;

use super::{
    cluster::{self, Cluster},
    proxy::{Flow, Proxy},
    trial::{SETTINGS, Trial},
};
use crate::support::binary::{Server, command};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct Site {
    pub cluster: Cluster,
    /// One for each replica, and one for the server that is asked to stop during a fault.
    pub proxies: Vec<Arc<Proxy>>,
    directory: Arc<TempDir>,
}

impl Site {
    /// `None` where PostgreSQL is not installed.
    pub fn new() -> Option<Self> {
        Some(Self::around(Cluster::start()?))
    }

    pub fn around(cluster: Cluster) -> Self {
        let proxies = (0..3).map(|_| Arc::new(Proxy::start(cluster.socket()))).collect();
        Self { cluster, proxies, directory: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// The directory in which the servers run.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the replica of this number.
    pub fn server(&self, number: usize) -> Server {
        start(self.directory.path(), self.proxies[number].port)
    }

    /// Sets clients to work on two servers.
    pub fn trial(&self, name: &'static str, readers: usize) -> Trial {
        let servers = [self.server(0), self.server(1)];
        let (directory, port) = (Arc::clone(&self.directory), self.proxies[2].port);
        Trial::begin(name, servers, readers, move || start(directory.path(), port))
    }

    /// Changes what every replica's connections forward.
    pub fn set(&self, flow: Flow) {
        self.proxies.iter().for_each(|it| it.set(flow));
    }

    /// Changes what every replica's present connections forward.
    pub fn set_existing(&self, flow: Flow) {
        self.proxies.iter().for_each(|it| _ = it.set_existing(flow, ""));
    }
}

/// The settings of a server whose database is behind the proxy on this port.
pub fn settings(url: &str) -> Vec<(&str, &str)> {
    let mut settings = vec![("VESTIBULE_DATABASE__URL", url), ("VESTIBULE_MASTER_KEY", MASTER_KEY)];
    settings.extend(SETTINGS);
    settings
}

fn start(directory: &Path, port: u16) -> Server {
    Server::spawn(command(directory, &settings(&cluster::url(port))))
}

pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn wait(time: Duration) {
    thread::sleep(time);
}
