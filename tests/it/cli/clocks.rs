//! The real binary with a wrong clock: libfaketime shows the process another time.

use std::{fs, path::PathBuf};

use super::{empty_directory, initial_password, run, sql};

use crate::support::binary::{self, Server};

const PASSWORD: &str = "ada likes tall ships";

/// Returns the path of Debian's `libfaketime`.
fn libfaketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|path| path.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists())
}

#[test]
fn s08_no_start_with_a_wrong_clock_revives_a_token_or_deletes_a_row() {
    let Some(library) = libfaketime() else {
        return binary::not_tested("starts with a wrong clock", "libfaketime is missing");
    };
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.register("ada@example.org", PASSWORD).status, 201);
    let log_in = || server.log_in("ada@example.org", PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let (out, disabled) = (log_in(), log_in());
    assert_eq!(server.send(ureq::http::Method::DELETE, "/v1/me/sessions/current", &out, None).status, 204);
    run(dir.path(), "user disable ada@example.org").done();
    assert_eq!(server.log_in("admin", &initial_password(dir.path())).status, 201);
    assert_eq!(server.log_in("admin", "this is not it").status, 401);
    assert!(server.stop().success());

    let tables = [
        "audit_events",
        "challenges",
        "factors",
        "known_networks",
        "mails",
        "pending_totps",
        "recovery_codes",
        "revocations",
        "sessions",
        "signing_keys",
        "tallies",
        "throttles",
        "ticket_handles",
        "tickets",
    ];
    let rows = || tables.map(|table| sql(dir.path(), &format!("SELECT count(*) || '' FROM {table}")).remove(0));
    let before = rows();
    for wrong in ["+62m", "+25h", "+400d", "-1d", "-400d"] {
        let mut command = binary::command(dir.path(), &[("FAKETIME", wrong)]);
        command.env("LD_PRELOAD", &library);
        let server = Server::spawn(command);
        assert_eq!(server.get("/readyz").status, 200);
        let log = server.log.clone();
        assert!(server.stop().success());
        let doubted = log.text().contains("this machine's clock may be wrong");
        assert_eq!(doubted, wrong != "+62m", "{wrong}: {}", log.text());

        let server = Server::start(dir.path(), &[]);
        for token in [&out, &disabled] {
            assert_eq!(server.get_as(token, "/v1/token").problem(), (401, "session_ended".into()), "{wrong}");
        }
        assert!(server.stop().success());
        assert_eq!(rows(), before, "{wrong}");
    }
    let said = run(dir.path(), "clock accept").done();
    assert!(
        said.starts_with("The clock is accepted: it is 20") && said.ends_with("Z. Servers delete old data again.\n"),
        "{said}"
    );
}
