//! `vestibule mail`, and what the start and `config check` say about mail.

use std::{fs, path::Path};

use serde_json::json;

use super::{empty_directory, files, run, run_with, until};
use crate::support::{
    binary::Server,
    mail_server::{Answer::Say, MailServer, Script},
    mail_text,
};

#[test]
fn a_preview_is_the_message_or_one_of_its_texts() {
    let dir = empty_directory();
    let message = run(dir.path(), "mail preview reset --language de").done();
    assert!(message.contains("\r\nSubject: Neues =?utf-8?") || message.contains("\r\nSubject: "), "{message}");
    for part in ["Auto-Submitted: auto-generated\r\n", "Content-Language: de\r\n", "multipart/alternative", "text/html"] {
        assert!(message.contains(part), "{message}");
    }
    let text = run(dir.path(), "mail preview reset --language de --text").done();
    assert!(text.starts_with("Neues Passwort für Vestibule\n\nGuten Tag Ada Lovelace,\n"), "{text}");
    assert!(text.contains("\n4815 1623\n") && text.contains("http://127.0.0.1:0/account/reset#t=vt1."), "{text}");
    let env = [("VESTIBULE_MAIL__FROM", "Example <id@example.org>"), ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org")];
    let html = run_with(dir.path(), "mail preview invite --html --name Grace", &env, "").done();
    assert!(html.starts_with("<!doctype html>") && html.contains("Hello Grace,"), "{html}");
    assert!(html.contains("href=\"https://id.example.org/account/accept#t=vt1."), "{html}");
    let html = run(dir.path(), "mail preview invite --html --name <b>Grace</b>").done();
    assert!(!html.contains("<b>") && html.contains("<p style=\"margin:0 0 16px;\">Hello,</p>"), "{html}");

    let said = run(dir.path(), "mail preview welcome").refused(2);
    assert!(said.contains("sign_up") && said.contains("account_closed"), "{said}");
    run(dir.path(), "mail preview reset --language fr").refused(2);
    assert_eq!(files(dir.path()), [""; 0], "a preview creates nothing");
}

#[test]
fn a_test_mail_says_where_it_went_or_what_failed() {
    let dir = empty_directory();
    fs::create_dir(dir.path().join("data")).unwrap();
    let said = run(dir.path(), "mail test ada@example.org --language de").done();
    let (_, file) = said.trim().split_once("The test mail to ada@example.org is in ").unwrap();
    let written = fs::read_to_string(dir.path().join(file.trim_end_matches('.'))).unwrap();
    assert!(written.contains("Subject: Testmail von Vestibule\r\n"), "{written}");

    for transport in ["none", "log"] {
        let said = run_with(dir.path(), "mail test a@example.org", &[("VESTIBULE_MAIL__TRANSPORT", transport)], "").refused(1);
        assert!(said.contains(&format!("no mail can be sent, because `mail.transport` is `{transport}`")), "{said}");
    }
    let public = [("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org")];
    let said = run_with(dir.path(), "mail test a@example.org", &public, "").refused(1);
    assert!(said.contains("`mail.transport` is `none`"), "{said}");
    run(dir.path(), "mail test nobody").refused(2);

    let refusal = Say("553 5.7.1 the sender address belongs to another user");
    let server = MailServer::start(Script { answers: vec![("MAIL", 1, refusal)], ..Script::default() });
    let port = server.port.to_string();
    let env = [
        public[0],
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "id@example.org"),
        ("VESTIBULE_MAIL__SMTP__HOST", "127.0.0.1"),
        ("VESTIBULE_MAIL__SMTP__TLS", "none"),
        ("VESTIBULE_MAIL__SMTP__PORT", &port),
    ];
    let said = run_with(dir.path(), "mail test ada@example.org", &env, "").refused(1);
    let expected = format!("127.0.0.1:{port} answered MAIL FROM with 553 5.7.1 the sender address belongs to another user");
    assert!(said.contains(&expected), "{said}");
    let said = run_with(dir.path(), "mail test ada@example.org", &env, "").done();
    assert!(said.contains(&format!("127.0.0.1:{port} has accepted the test mail to ada@example.org, <")), "{said}");
    assert!(server.mails()[0].message.contains("Subject: Test mail from id.example.org\r\n"), "{:?}", server.mails());
}

#[test]
fn a_faulty_template_stops_the_start_and_names_its_file_and_line() {
    let dir = empty_directory();
    fs::create_dir_all(dir.path().join("texts/de")).unwrap();
    fs::write(dir.path().join("texts/de/reset.txt"), "Guten Tag,\n\n{{ lnik }}\n").unwrap();
    let env = [("VESTIBULE_MAIL__TEMPLATES_DIR", "texts")];
    for arguments in ["", "config check", "mail preview test"] {
        let said = run_with(dir.path(), arguments, &env, "").refused(78);
        assert!(said.contains("texts/de/reset.txt, line 3 cannot be used: undefined value"), "{arguments}: {said}");
    }
    assert_eq!(files(dir.path()), ["texts"], "nothing was created");
}

#[test]
fn a_mail_server_that_is_down_does_not_stop_the_start() {
    let dir = empty_directory();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let env = [
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "id@example.org"),
        ("VESTIBULE_MAIL__SMTP__HOST", "localhost"),
        ("VESTIBULE_MAIL__SMTP__PORT", &unused),
    ];
    let server = Server::start(dir.path(), &env);
    assert_eq!(server.get("/readyz").status, 200);
    assert!(server.stop().success());
}

#[test]
fn the_start_says_where_mails_go_and_warns_of_a_port_for_another_encryption() {
    let dir = empty_directory();
    for (transport, said) in [("file", "mails are written to files and reach nobody"), ("none", "no mail is sent")] {
        let server = Server::start(dir.path(), &[("VESTIBULE_MAIL__TRANSPORT", transport)]);
        let log = server.log.clone();
        assert!(server.stop().success());
        assert!(log.text().contains(said), "{}", log.text());
    }

    let env = [
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "id@example.org"),
        ("VESTIBULE_MAIL__SMTP__HOST", "email-smtp.eu-west-1.amazonaws.com"),
        ("VESTIBULE_MAIL__SMTP__PORT", "587"),
    ];
    let ran = run_with(dir.path(), "config check", &env, "");
    let hint = "`mail.smtp.tls` is `implicit`, but servers expect `starttls` on port 587";
    assert!(ran.err.contains(hint) && ran.err.contains("Amazon SES can replace the links in mails"), "{}", ran.err);
    assert!(!ran.err.contains("nobody can sign up"), "{}", ran.err);
    ran.done();

    let env = [("VESTIBULE_REGISTRATION__MODE", "verified"), ("VESTIBULE_MAIL__TRANSPORT", "none")];
    let ran = run_with(dir.path(), "config check", &env, "");
    assert!(
        ran.err.contains("nobody can sign up: `registration.mode` is `verified`, but `mail.transport` is `none`"),
        "{}",
        ran.err
    );
    ran.done();
}

#[test]
fn links_lead_to_the_port_that_the_system_chose() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let account = json!({ "email": "ada@example.org", "password": "seven tall ships at dawn" });
    assert_eq!(server.post("/v1/accounts", &account).status, 201);
    assert_eq!(server.post("/v1/password-resets", &json!({ "identifier": "ada@example.org" })).status, 202);
    let folder = dir.path().join("data/mail");
    let mail = || {
        let names = if folder.exists() { files(&folder) } else { Vec::new() };
        names.into_iter().find(|name| Path::new(name).extension().is_some_and(|ending| ending == "eml"))
    };
    until(|| mail().is_some());
    let text = mail_text::plain(&fs::read_to_string(folder.join(mail().unwrap())).unwrap());
    assert!(text.contains(&format!("\r\n{}/account/reset#t=vt1.", server.url)), "{text}");
    assert_eq!(server.get("/account/reset").status, 200);
}

#[test]
fn a_start_and_a_check_report_links_to_pages_that_are_off() {
    let dir = empty_directory();
    let hint = "the links in mails lead to pages that are not served";
    let off = ("VESTIBULE_ACCOUNT_PAGES__ENABLED", "false");
    let ran = run_with(dir.path(), "config check", &[off], "");
    assert!(ran.code == Some(0) && ran.err.contains(hint), "{}", ran.err);
    let server = Server::start(dir.path(), &[off]);
    let log = server.log.clone();
    assert!(server.stop().success());
    assert!(log.text().contains(hint), "{}", log.text());
    for other in [("VESTIBULE_MAIL__LINK_BASE", "https://www.example.org"), ("VESTIBULE_MAIL__TRANSPORT", "none")] {
        let ran = run_with(dir.path(), "config check", &[off, other], "");
        assert!(ran.code == Some(0) && !ran.err.contains(hint), "{}", ran.err);
    }
}
