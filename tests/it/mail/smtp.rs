//! The transport `smtp` without encryption: what is sent, and what each failure means.

use std::time::Duration;

use rstest::rstest;
use vestibule::{
    config::Settings,
    live::mail::{Limits, SendError, Transport},
};

use super::{message, settings_for};
use crate::support::mail_server::{
    Answer::{self, Close, Hang, Say},
    MailServer, Script,
};

fn transport(settings: &Settings) -> Transport {
    Transport::new(settings, Limits::default()).unwrap()
}

/// Returns the name of the error's class, and its text.
fn class(error: SendError) -> (&'static str, String) {
    match error {
        SendError::Refused(text) => ("refused", text),
        SendError::Transport(text) => ("transport", text),
        SendError::Temporary(text) => ("temporary", text),
    }
}

#[tokio::test]
async fn a_mail_reaches_the_server_as_it_was_written() {
    let server = MailServer::start(Script::default());
    let settings = settings_for(&server);
    transport(&settings).send(&message(&settings)).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!((mails[0].from.as_str(), mails[0].to.as_str()), ("id@mail.example.org", "ada@example.org"));
    let sent = &mails[0].message;
    assert!(sent.contains("Message-ID: <01a21691-d860-72e2-8565-8e06a6acb53a@mail.example.org>\r\n"), "{sent}");
    assert!(sent.contains("From: Example <id@mail.example.org>\r\n"), "{sent}");
    // The name of this machine or container is told to nobody.
    assert_eq!(server.commands()[1], "EHLO mail.example.org");
    assert_eq!(server.count("AUTH"), 0, "without a user name, no log-in is tried");
}

#[tokio::test]
async fn mails_share_a_connection_and_a_refused_one_does_not_end_it() {
    let unknown = Say("550 5.1.1 <Ada@example.org>: no such user");
    let server = MailServer::start(Script { answers: vec![("RCPT", 2, unknown)], ..Script::default() });
    let settings = settings_for(&server);
    let (transport, message) = (transport(&settings), message(&settings));
    transport.send(&message).await.unwrap();
    let (class, text) = class(transport.send(&message).await.unwrap_err());
    assert_eq!(class, "refused");
    assert!(text.ends_with("answered RCPT TO with 550 5.1.1 <(recipient)>: no such user"), "{text}");
    transport.send(&message).await.unwrap();
    assert_eq!((server.mails().len(), server.count("CONNECT"), server.count("RSET")), (2, 1, 1));
}

#[rstest]
#[case(Close)]
#[case(Say("421 4.4.2 idle for too long"))]
#[tokio::test]
async fn a_connection_that_the_server_has_closed_meanwhile_is_replaced(#[case] answer: Answer) {
    let server = MailServer::start(Script { answers: vec![("MAIL", 2, answer)], ..Script::default() });
    let settings = settings_for(&server);
    let (transport, message) = (transport(&settings), message(&settings));
    transport.send(&message).await.unwrap();
    transport.send(&message).await.unwrap();
    assert_eq!((server.mails().len(), server.count("CONNECT")), (2, 2));
}

#[rstest]
#[case("CONNECT", Say("554 5.3.2 no service"), "transport", "554 5.3.2 no service")]
#[case("CONNECT", Say("421 4.3.2 busy"), "temporary", "421 4.3.2 busy")]
#[case("CONNECT", Say("SSH-2.0-OpenSSH_9.2"), "transport", "the connection")]
#[case("CONNECT", Close, "transport", "the connection")]
#[case("EHLO", Say("550 5.7.1 bad name"), "transport", "550 5.7.1 bad name")]
#[case("MAIL", Say("553 5.7.1 not your address"), "transport", "answered MAIL FROM with 553 5.7.1 not your address")]
#[case("MAIL", Say("530 5.7.0 authentication required"), "transport", "530 5.7.0")]
#[case("MAIL", Say("451 4.3.0 later"), "temporary", "451 4.3.0 later")]
#[case("MAIL", Close, "temporary", "MAIL FROM")]
#[case("RCPT", Say("550-5.1.1 no such user\r\n550 5.1.1 really"), "refused", "no such user")]
#[case("RCPT", Say("530 5.7.0 must issue STARTTLS first"), "transport", "530 5.7.0")]
#[case("RCPT", Say("450 4.2.0 greylisted"), "temporary", "answered RCPT TO with 450 4.2.0 greylisted")]
#[case("RCPT", Close, "temporary", "RCPT TO")]
#[case("DATA", Say("554 5.6.0 no"), "refused", "answered DATA with 554 5.6.0 no")]
#[case("DATA", Close, "temporary", "DATA")]
#[case(".", Say("552 5.2.2 mailbox full"), "refused", "answered the message with 552 5.2.2")]
#[case(".", Say("451 4.7.1 try again"), "temporary", "answered the message with 451 4.7.1")]
#[case(".", Close, "temporary", "the message")]
#[tokio::test]
async fn the_class_of_a_failure_follows_from_the_command(
    #[case] command: &'static str,
    #[case] answer: Answer,
    #[case] expected: &str,
    #[case] words: &str,
) {
    let server = MailServer::start(Script { answers: vec![(command, 0, answer)], ..Script::default() });
    let settings = settings_for(&server);
    let (class, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(class, expected, "{text}");
    assert!(text.contains(words) && text.contains(&format!("127.0.0.1:{}", server.port)), "{text}");
    assert!(!text.contains("ada@example.org") && text.lines().count() == 1, "{text}");
}

#[rstest]
#[case("CONNECT", "transport")]
#[case("MAIL", "temporary")]
#[case("DATA", "temporary")]
#[case(".", "temporary")]
#[tokio::test]
async fn a_silent_server_is_given_up(#[case] command: &'static str, #[case] expected: &str) {
    let server = MailServer::start(Script { answers: vec![(command, 0, Hang)], ..Script::default() });
    let settings = settings_for(&server);
    let limits = Limits { answer: Duration::from_millis(500), ..Limits::default() };
    let (class, text) = class(Transport::new(&settings, limits).unwrap().send(&message(&settings)).await.unwrap_err());
    assert_eq!(class, expected, "{text}");
    assert!(text.contains("no answer within 0.5 s"), "{text}");
    // A server that answers each command in time, but takes too long for the whole mail, is given up, too.
    let limits = Limits { mail: Duration::from_millis(500), ..Limits::default() };
    let (class, text) = self::class(Transport::new(&settings, limits).unwrap().send(&message(&settings)).await.unwrap_err());
    assert_eq!(class, "temporary", "{text}");
    assert!(text.contains("was too slow"), "{text}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_a_fault_of_the_transport() {
    let server = MailServer::start(Script::default());
    let mut settings = settings_for(&server);
    settings.mail.smtp.host = Some("mail.invalid".to_owned());
    let (name, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(name, "transport");
    assert!(text.starts_with("the host name mail.invalid cannot be resolved: "), "{text}");

    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    settings.mail.smtp.host = Some("127.0.0.1".to_owned());
    settings.mail.smtp.port = Some(unused);
    let (name, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(name, "transport");
    assert!(text.starts_with(&format!("cannot connect to 127.0.0.1:{unused}: ")), "{text}");
}

/// What a server quotes ends up in the log and in the database.
#[rstest]
#[case("AUTH", "535 5.7.8 bad credentials AUTH PLAIN AGlkAGh1bnRlcjI=", "answered AUTH with 535 5.7.8")]
#[case("AUTH", "535 AGlkAGh1bnRlcjI=", "answered AUTH with 535")]
#[case(".", "451 4.7.1 URL https://id.example.org/account/reset#t=vt1.a.b", "answered the message with 451 4.7.1")]
#[case(".", "550-5.7.1 4815 1623\r\n550 5.7.1 vt1.a.b", "answered the message with 550 5.7.1")]
#[tokio::test]
async fn m01_an_error_quotes_neither_the_password_nor_the_message(
    #[case] command: &'static str,
    #[case] answer: &'static str,
    #[case] expected: &str,
) {
    let server = MailServer::start(Script {
        login: Some(("id", "hunter2")),
        answers: vec![(command, 0, Say(answer))],
        ..Script::default()
    });
    let mut settings = settings_for(&server);
    settings.mail.smtp.username = Some("id".to_owned());
    settings.mail.smtp.password = Some("hunter2".into());
    let (_, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn the_server_may_require_a_log_in() {
    let server = MailServer::start(Script { login: Some(("id", "tr0ub4dor")), ..Script::default() });
    let mut settings = settings_for(&server);
    let (name, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(name, "transport");
    assert!(text.ends_with("answered MAIL FROM with 530 5.7.0 authentication required"), "{text}");

    settings.mail.smtp.username = Some("id".to_owned());
    settings.mail.smtp.password = Some("hunter2".into());
    settings.validate().unwrap();
    let (name, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(name, "transport");
    assert!(text.ends_with("answered AUTH with 535 5.7.8"), "{text}");

    settings.mail.smtp.password = Some("tr0ub4dor".into());
    transport(&settings).send(&message(&settings)).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_server_that_offers_no_log_in_is_told_no_password() {
    let server = MailServer::start(Script::default());
    let mut settings = settings_for(&server);
    settings.mail.smtp.username = Some("id".to_owned());
    settings.mail.smtp.password = Some("hunter2".into());
    let (name, text) = class(transport(&settings).send(&message(&settings)).await.unwrap_err());
    assert_eq!(name, "transport");
    assert!(text.contains("AUTH failed at 127.0.0.1"), "{text}");
    assert_eq!((server.count("AUTH"), server.mails().len()), (0, 0));
}
