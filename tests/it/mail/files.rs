//! The transports that send nothing: `file`, `log` and `none`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use vestibule::{
    config::{MailTransport, Settings},
    live::mail::{Limits, SendError, Transport},
};

use super::message;

fn settings(data_dir: &Path) -> Settings {
    Settings { data_dir: data_dir.to_owned(), ..Settings::default() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[tokio::test]
async fn each_mail_becomes_a_file_that_only_its_owner_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let transport = Transport::new(&settings, Limits::default()).unwrap();
    assert!(transport.can_send() && !dir.path().join("mail").exists());
    let mut message = message(&settings);
    transport.send(&message).await.unwrap();
    let file = dir.path().join("mail/01a21691-d860-72e2-8565-8e06a6acb53a.eml");
    assert_eq!((mode(&dir.path().join("mail")), mode(&file)), (0o700, 0o600));
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.contains("Subject: ") && first.contains("To: ada@example.org\r\n"), "{first}");

    // The same mail again replaces the file as a whole: a reader that has opened it keeps the first.
    let before = fs::metadata(&file).unwrap().ino();
    message.subject = "Another".to_owned();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    transport.send(&message).await.unwrap();
    assert_ne!(fs::metadata(&file).unwrap().ino(), before);
    assert_eq!(mode(&file), 0o600);
    assert!(fs::read_to_string(&file).unwrap().contains("Subject: Another\r\n"));
    assert_eq!(fs::read_dir(dir.path().join("mail")).unwrap().count(), 1, "no unfinished file is left");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_a_fault_of_the_transport() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir.path().join("missing"));
    let transport = Transport::new(&settings, Limits::default()).unwrap();
    let Err(SendError::Transport(text)) = transport.send(&message(&settings)).await else { panic!("it was written") };
    assert!(text.contains("missing/mail") && text.contains("No such file"), "{text}");
    fs::write(dir.path().join("mail"), "a file in the place of the directory").unwrap();
    let settings = self::settings(dir.path());
    let transport = Transport::new(&settings, Limits::default()).unwrap();
    assert!(matches!(transport.send(&message(&settings)).await, Err(SendError::Transport(_))));
}

#[tokio::test]
async fn log_and_none_send_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.mail.transport = Some(MailTransport::Log);
    let transport = Transport::new(&settings, Limits::default()).unwrap();
    transport.send(&message(&settings)).await.unwrap();
    assert!(!transport.can_send());
    settings.mail.transport = None;
    settings.server.public_url = Some("https://id.example.org".parse().unwrap());
    let transport = Transport::new(&settings, Limits::default()).unwrap();
    assert!(!transport.can_send());
    let Err(SendError::Transport(text)) = transport.send(&message(&settings)).await else { panic!("it was sent") };
    assert_eq!(text, "mail.transport is none");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
