//! The real program beside a mail server that works, that is down, and that does not answer: mails wait, and nothing else does.

use std::{fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};
use ureq::http::Method;

use crate::support::{
    binary::Server,
    directory,
    mail_server::{
        Answer::{self, Close, Hang},
        MailServer, Script,
    },
    mail_text,
};

const PASSWORD: &str = "ada likes tall ships";
const NEW_PASSWORD: &str = "nine grey gulls at noon";

/// Starts a service that sends its mails to this port.
fn start(dir: &Path, port: u16) -> Server {
    let port = port.to_string();
    Server::start(
        dir,
        &[
            ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
            ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
            ("VESTIBULE_MAIL__FROM", "Example <id@example.org>"),
            ("VESTIBULE_MAIL__SMTP__HOST", "127.0.0.1"),
            ("VESTIBULE_MAIL__SMTP__PORT", &port),
            ("VESTIBULE_MAIL__SMTP__TLS", "none"),
        ],
    )
}

fn request_reset(server: &Server) -> Value {
    let answer = server.post("/v1/password-resets", &json!({ "identifier": "ada@example.org" }));
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()
}

/// Returns the mails that an administrator sees.
fn listed(server: &Server, dir: &Path) -> Vec<Value> {
    let password = fs::read_to_string(dir.join("data/initial-admin-password")).unwrap();
    let admin = server.log_in("admin", password.trim()).json()["access_token"].as_str().unwrap().to_owned();
    server.send(Method::GET, "/v1/mails", &admin, None).json()["items"].as_array().unwrap().clone()
}

/// Waits until the mail server has received this command.
fn until_received(mail_server: &MailServer, verb: &str) {
    while mail_server.count(verb) == 0 {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_forgotten_password_is_set_anew_with_the_mail_from_the_mail_server() {
    let (dir, mail_server) = (directory::temporary(), MailServer::start(Script::default()));
    let server = start(dir.path(), mail_server.port);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let pending = request_reset(&server);
    until_received(&mail_server, ".");
    let mail = mail_server.mails().remove(0);
    assert_eq!(mail.to, "ada@example.org");
    assert!(mail_text::token(&mail.message).is_some(), "{}", mail.message);
    let proof = json!({ "kind": "code", "handle": pending["handle"], "code": mail_text::code(&mail.message).unwrap() });
    let complete = json!({ "proof": proof, "new_password": NEW_PASSWORD });
    assert_eq!(server.post("/v1/password-resets/complete", &complete).status, 204);
    assert_eq!(server.log_in("ada@example.org", NEW_PASSWORD).status, 201);
    assert!(server.stop().success());
}

#[test]
fn m06_a_mail_server_that_is_down_or_does_not_answer_delays_nothing_but_mails() {
    let behave = |answer: Answer| {
        let (dir, mail_server) =
            (directory::temporary(), MailServer::start(Script { answers: vec![("CONNECT", 0, answer)], ..Script::default() }));
        let (server, port) = (start(dir.path(), mail_server.port), mail_server.port);
        assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
        request_reset(&server);
        until_received(&mail_server, "CONNECT");
        request_reset(&server);
        assert_eq!(server.log_in("ada@example.org", PASSWORD).status, 201);
        assert_eq!(server.get("/readyz").status, 200);
        let waiting = listed(&server, dir.path()).remove(0);
        assert!(["queued", "sending"].contains(&waiting["state"].as_str().unwrap()), "{waiting}");
        let log = server.log.clone();
        // The mail that is being sent delays the end by three seconds at most.
        assert!(server.stop_within(Duration::from_secs(30)).is_some_and(|status| status.success()));
        assert!(!log.text().contains("ERROR"), "{}", log.text());
        // The service starts without its mail server.
        drop(mail_server);
        let again = start(dir.path(), port);
        assert_eq!(again.log_in("ada@example.org", PASSWORD).status, 201);
        assert!(again.stop().success());
    };
    behave(Close);
    behave(Hang);
}
