//! The transport `smtp` with encryption: the real program, which trusts the certificates of its environment.

use std::process::Output;

use rstest::rstest;

use crate::support::{
    binary::command,
    mail_server::{
        Answer::{self, Close, Say},
        Encryption, MailServer, Script,
    },
};

/// Runs `vestibule mail test` against a server. `trusted`: with the server's certificate among those of the system.
fn send(server: &MailServer, tls: &str, host: &str, trusted: bool) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let port = server.port.to_string();
    let other = MailServer::start(Script::default());
    let certificate = if trusted { server.certificate() } else { other.certificate() };
    let env = [
        ("VESTIBULE_SERVER__PUBLIC_URL", "https://id.example.org"),
        ("VESTIBULE_MAIL__TRANSPORT", "smtp"),
        ("VESTIBULE_MAIL__FROM", "Example <id@example.org>"),
        ("VESTIBULE_MAIL__SMTP__HOST", host),
        ("VESTIBULE_MAIL__SMTP__PORT", &port),
        ("VESTIBULE_MAIL__SMTP__TLS", tls),
        ("VESTIBULE_MAIL__SMTP__USERNAME", "id"),
        ("VESTIBULE_MAIL__SMTP__PASSWORD", "tr0ub4dor"),
        ("SSL_CERT_FILE", certificate.to_str().unwrap()),
    ];
    let Output { status, stdout, stderr } = command(dir.path(), &env).args(["mail", "test", "ada@example.org"]).output().unwrap();
    let [out, err] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!err.contains("tr0ub4dor") && !err.contains("panicked"), "{err}");
    if status.success() { Ok(out) } else { Err(err) }
}

fn script(encryption: Encryption) -> Script {
    Script { encryption, login: Some(("id", "tr0ub4dor")), ..Script::default() }
}

#[rstest]
#[case(Encryption::Implicit, "implicit")]
#[case(Encryption::Starttls, "starttls")]
fn mails_and_passwords_travel_encrypted(#[case] encryption: Encryption, #[case] tls: &str) {
    let server = MailServer::start(script(encryption));
    let out = send(&server, tls, "localhost", true).unwrap();
    assert!(out.contains(&format!("localhost:{} has accepted the test mail to ada@example.org", server.port)), "{out}");
    let mails = server.mails();
    assert!(mails.len() == 1 && mails[0].encrypted, "{mails:?}");

    let error = send(&server, tls, "localhost", false).unwrap_err();
    assert!(error.contains("TLS with localhost:") && error.contains("invalid peer certificate"), "{error}");
    let error = send(&server, tls, "127.0.0.1", true).unwrap_err();
    assert!(error.contains("TLS with 127.0.0.1:") && error.contains("not valid for name"), "{error}");
    assert_eq!((server.mails().len(), server.count("AUTH")), (1, 1), "nobody else learns the password");
}

#[test]
fn encryption_is_never_given_up() {
    let server = MailServer::start(script(Encryption::None));
    let error = send(&server, "starttls", "localhost", true).unwrap_err();
    assert!(error.contains("STARTTLS failed at localhost:") && error.contains("the server does not offer it"), "{error}");
    let error = send(&server, "implicit", "localhost", true).unwrap_err();
    assert!(error.contains("TLS with localhost:"), "{error}");
    assert_eq!((server.mails().len(), server.count("AUTH"), server.count("MAIL")), (0, 0, 0));
}

#[rstest]
#[case::refused(Say("454 4.7.0 TLS not available"), "answered STARTTLS with 454 4.7.0 TLS not available")]
#[case::closed(Close, "STARTTLS failed at localhost:")]
#[case::answers_in_clear(Say("220 go ahead\r\n250-sink\r\n250 AUTH PLAIN"), "TLS with localhost:")]
fn a_server_that_speaks_starttls_badly_gets_no_mail(#[case] answer: Answer, #[case] words: &str) {
    let server = MailServer::start(Script { answers: vec![("STARTTLS", 0, answer)], ..script(Encryption::Starttls) });
    let error = send(&server, "starttls", "localhost", true).unwrap_err();
    assert!(error.contains(words), "{error}");
    assert_eq!((server.mails().len(), server.count("AUTH"), server.count("MAIL")), (0, 0, 0));
}
