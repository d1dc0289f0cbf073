//! Storage: an acknowledged change is stored even if the process is killed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement};
use serde_json::{Value, json};
use vestibule::{
    entity::{audit_event, user},
    live::database::Database,
};

use crate::support::directory;

/// A server that is started as a user would start it, in a directory of its own. It is killed, never stopped.
struct Served {
    process: Child,
    address: String,
    /// Kept open, because the process continues to write to it.
    _output: BufReader<ChildStdout>,
}

impl Served {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .current_dir(directory)
            .env_clear()
            .env("VESTIBULE_SERVER__LISTEN", "127.0.0.1:0")
            .env("VESTIBULE_PASSWORD__BCRYPT_COST", "10")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split(". ").next().unwrap().trim_end_matches("/docs").to_owned();
        Self { process, address, _output: output }
    }

    /// Sends one request on a connection of its own. Returns the status and the body.
    fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let (mut connection, body) = (TcpStream::connect(&self.address).unwrap(), body.to_string());
        let head = format!("POST {path} HTTP/1.1\r\nHost: vestibule\r\nConnection: close\r\nContent-Type: application/json\r\n");
        write!(connection, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        _ = self.process.kill(); // SIGKILL
        _ = self.process.wait();
    }
}

async fn integrity(db: &Database) -> String {
    let check = Statement::from_string(DbBackend::Sqlite, "PRAGMA integrity_check");
    db.read().query_one_raw(check).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn d01_acknowledged_changes_survive_a_kill() {
    let directory = directory::temporary();
    let url = format!("sqlite://{}", directory.path().join("data/vestibule.db").display()).into();
    let mut kept = Vec::new();
    for round in 0..3 {
        let served = Served::start(directory.path());
        for number in 0..3 {
            let email = format!("ada{round}-{number}@example.org");
            let (status, answer) = served.post("/v1/accounts", &json!({ "email": email, "password": "seven tall ships" }));
            assert_eq!(status, 201, "{answer}");
            kept.push(email);
        }
        drop(served);

        let db = Database::connect(&url).await.unwrap();
        assert_eq!(integrity(&db).await, "ok");
        let users = user::Entity::find().all(db.read()).await.unwrap();
        assert!(kept.iter().all(|email| users.iter().any(|user| user.email == *email)), "{users:#?}");
        let events = audit_event::Entity::find().all(db.read()).await.unwrap();
        let registered: Vec<_> = events.iter().filter(|event| event.kind == "account.registered").collect();
        assert_eq!(registered.len(), kept.len());
        assert!(registered.iter().all(|event| event.address.as_deref() == Some("127.0.0.1") && event.request_id.is_some()));
        db.close().await;
    }
    let served = Served::start(directory.path());
    for email in kept {
        let (status, answer) = served.post("/v1/sessions", &json!({ "identifier": email, "password": "seven tall ships" }));
        assert_eq!(status, 201, "{answer}");
    }
}
