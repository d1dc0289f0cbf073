//! The servers of a PostgreSQL trial: a database server, and a proxy in front of it for each replica.

use std::{path::Path, sync::Arc, thread, time::Duration};

use tempfile::TempDir;

use super::{
    cluster::{self, Cluster},
    proxy::{Flow, Proxy},
    trial::{SETTINGS, Trial},
};

use crate::support::binary::{Server, command};

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub struct PostgresServers {
    pub cluster: Cluster,
    /// One for each replica, and one for the server that is stopped during a fault.
    pub proxies: Vec<Arc<Proxy>>,
    directory: Arc<TempDir>,
}

impl PostgresServers {
    /// Returns `None` if PostgreSQL is not installed.
    pub fn new() -> Option<Self> {
        Some(Self::around(Cluster::start()?))
    }

    pub fn around(cluster: Cluster) -> Self {
        let proxies = (0..3).map(|_| Arc::new(Proxy::start(cluster.socket()))).collect();
        Self { cluster, proxies, directory: Arc::new(tempfile::tempdir().unwrap()) }
    }

    /// Returns the directory in which the servers run.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the replica of this number.
    pub fn server(&self, number: usize) -> Server {
        start(self.directory.path(), self.proxies[number].port)
    }

    /// Starts two servers and their clients.
    pub fn trial(&self, name: &'static str, readers: usize) -> Trial {
        let servers = [self.server(0), self.server(1)];
        let (directory, port) = (Arc::clone(&self.directory), self.proxies[2].port);
        Trial::begin(name, servers, readers, move || start(directory.path(), port))
    }

    /// Changes what the connections of all replicas forward.
    pub fn set(&self, flow: Flow) {
        self.proxies.iter().for_each(|proxy| proxy.set(flow));
    }

    /// Changes what the existing connections of all replicas forward.
    pub fn set_existing(&self, flow: Flow) {
        self.proxies.iter().for_each(|proxy| _ = proxy.set_existing(flow, ""));
    }
}

/// Returns the settings of a server that reaches its database at this URL, through a proxy.
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
