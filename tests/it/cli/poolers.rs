//! Behind PgBouncer: session pooling works, and the server explains why other kinds of pooling do not.

use super::{empty_directory, files, initial_password, run_with, until};
use crate::{
    faults::cluster::{Cluster, DATABASE, ROLE},
    support::{PASSWORD, binary::Server, pgbouncer::PgBouncer},
};

const KEY: (&str, &str) = ("VESTIBULE_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");

/// Starts PostgreSQL and a pooler in front of it; `None` where one of them is not installed.
fn pooled(settings: &str) -> Option<(Cluster, PgBouncer)> {
    let cluster = Cluster::start()?;
    let pooler = PgBouncer::start(cluster.socket().parent()?, ROLE, settings)?;
    Some((cluster, pooler))
}

#[test]
fn d05_two_servers_share_a_database_behind_a_session_pooler() {
    let Some((cluster, pooler)) = pooled("pool_mode = session\ndefault_pool_size = 60") else { return };
    let (dir, url) = (empty_directory(), pooler.url(DATABASE));
    let env = [KEY, ("VESTIBULE_DATABASE__URL", url.as_str())];
    let servers = [Server::start(dir.path(), &env), Server::start(dir.path(), &env)];

    assert_eq!(servers[0].register("ada@example.org", PASSWORD).status, 201);
    let tokens = servers[1].log_in("ada@example.org", PASSWORD).json();
    let refresh = serde_json::json!({ "refresh_token": tokens["refresh_token"] });
    let tokens = servers[0].post("/v1/sessions/refresh", &refresh).json();
    let token = tokens["access_token"].as_str().unwrap();
    for server in &servers {
        assert_eq!(server.get_as(token, "/v1/me").json()["email"], "ada@example.org");
    }

    let refresh = serde_json::json!({ "refresh_token": tokens["refresh_token"] });
    assert_eq!(servers[0].post("/v1/sessions/end", &refresh).status, 204);
    assert_eq!(servers[0].get_as(token, "/v1/me").problem(), (401, "session_ended".into()));
    until(|| servers[1].get_as(token, "/v1/me").problem() == (401, "session_ended".into()));

    assert_eq!(servers[1].log_in("admin", &initial_password(dir.path())).status, 201);

    // Each listens for notifications, again when its session has ended. A listener tests its session if there are none.
    until(|| {
        cluster.terminate("query = 'SELECT 1'");
        cluster.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'") == "2"
    });
}

#[test]
fn d05_transaction_and_statement_pooling_are_explained_and_nothing_is_created() {
    for settings in [
        "pool_mode = transaction",
        "pool_mode = statement",
        "pool_mode = transaction\ndefault_pool_size = 1",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 2",
        "pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 5",
    ] {
        let Some((cluster, pooler)) = pooled(settings) else { return };
        let (dir, url) = (empty_directory(), pooler.url(DATABASE));
        let env = [KEY, ("VESTIBULE_DATABASE__URL", url.as_str())];
        // Again and again, because the pooler keeps the sessions of earlier attempts.
        for command in ["serve", "migrate up", "user list", "migrate status", "serve"] {
            let said = run_with(dir.path(), command, &env, "").refused(78);
            assert!(said.contains("pool_mode = session") && said.contains("another session"), "{settings}, {command}: {said}");
            assert_eq!(said.lines().count(), 1, "{settings}, {command}: {said}");
        }
        assert_eq!(cluster.sql(DATABASE, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0", "{settings}");
        assert!(!files(dir.path()).contains(&"data/initial-admin-password".to_owned()));

        // The same settings serve where the URL leads to PostgreSQL itself.
        let url = format!("postgres://{ROLE}@localhost/{DATABASE}?host={}", cluster.socket().parent().unwrap().display());
        run_with(dir.path(), "migrate up", &[KEY, ("VESTIBULE_DATABASE__URL", &url)], "").done();
    }
}

#[test]
fn a_pooler_whose_database_is_away_is_not_taken_for_another_kind_of_pooler() {
    let Some((cluster, pooler)) = pooled("pool_mode = session\nserver_login_retry = 1") else { return };
    let (dir, url) = (empty_directory(), pooler.url(DATABASE));
    cluster.stop("fast");
    let env = [KEY, ("VESTIBULE_DATABASE__URL", url.as_str()), ("VESTIBULE_DATABASE__WAIT", "1")];
    let said = run_with(dir.path(), "serve", &env, "").refused(1);
    assert!(said.contains("No database answers") && !said.contains("pool_mode"), "{said}");
    cluster.start_again(100);
    run_with(dir.path(), "migrate up", &[KEY, ("VESTIBULE_DATABASE__URL", &url)], "").done();
}
