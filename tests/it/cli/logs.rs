//! The log: one line a request, for machines where standard error is no terminal.

use serde_json::{Value, json};
use ureq::http::Method;

use super::{empty_directory, initial_password};
use crate::support::binary::Server;

#[test]
fn a_request_is_one_line_that_names_it_and_tells_no_query() {
    let dir = empty_directory();
    let server = Server::start(dir.path(), &[]);
    let password = initial_password(dir.path());
    let log_in = server.log_in("admin", &password);
    let token = log_in.json()["access_token"].as_str().unwrap().to_owned();
    let me = server.get_as(&token, "/v1/me?access_token=hunter2");
    let answers = [
        (log_in, "POST", "logIn", false),
        (server.get_as(&token, "/v1/users?search=hunter2"), "GET", "listUsers", true),
        (server.get("/v1/users?access_token=hunter2"), "GET", "listUsers", false),
        (server.get("/hunter2?hunter2"), "GET", "", false),
        (server.send(Method::PATCH, "/v1/me", &token, Some(json!({ "hunter2": 1 }).to_string())), "PATCH", "updateMe", true),
        (server.send(Method::DELETE, "/v1/me?hunter2", "", None), "DELETE", "closeAccount", false),
        (server.get("/healthz"), "GET", "readHealth", false),
    ];
    let id = server.get_as(&token, "/v1/me").json()["id"].clone();
    let log = server.log.clone();
    assert!(server.stop().success());
    assert!(!log.text().contains("hunter2"), "{}", log.text());

    let lines: Vec<Value> = log.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |request_id: &str| {
        let mut of_it = lines.iter().filter(|line| line["request_id"] == request_id);
        let line = of_it.next().unwrap_or_else(|| panic!("no line about {request_id}: {}", log.text()));
        assert!(of_it.next().is_none(), "more than one line about {request_id}: {}", log.text());
        line
    };
    for (answer, method, operation, knows_user) in &answers {
        let line = line(answer.header("x-request-id"));
        assert_eq!(line["message"], "request");
        assert_eq!(line["method"], *method);
        assert_eq!(line["operation"].as_str().unwrap_or_default(), *operation, "{line}");
        assert_eq!(line["status"], answer.status);
        assert!(line["duration_us"].as_u64().is_some_and(|it| it > 0), "{line}");
        assert_eq!(line.get("user"), knows_user.then_some(&id), "{line}");
        if answer.status >= 400 {
            assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        }
    }
    assert_eq!(line(me.header("x-request-id"))["operation"], "readMe");
}
