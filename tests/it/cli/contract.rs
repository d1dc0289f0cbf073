//! The OpenAPI document, from the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use super::{empty_directory, files, run, run_with};

use crate::support::binary::{Server, command};

#[test]
fn openapi_prints_the_served_contract_without_settings() {
    let dir = empty_directory();
    let printed = run_with(dir.path(), "openapi", &[("VESTIBULE_NONSENSE", "1")], "").done();
    assert_eq!(files(dir.path()), [""; 0]);
    assert_eq!(Server::start(dir.path(), &[]).get("/openapi.json").text, printed);
}

#[test]
fn openapi_check_finds_an_edit_and_states_the_remedy() {
    let dir = empty_directory();
    let said = run(dir.path(), "openapi --write").refused(1);
    assert!(said.contains("cannot write openapi/openapi.json"), "{said}");

    fs::create_dir(dir.path().join("openapi")).unwrap();
    let said = run(dir.path(), "openapi --check").refused(1);
    assert!(said.contains("cannot read openapi/openapi.json"), "{said}");
    run(dir.path(), "openapi --write").done();
    assert_eq!(files(&dir.path().join("openapi")), ["access.md", "openapi.json"]);
    run(dir.path(), "openapi --check").done();
    for file in ["openapi/access.md", "openapi/openapi.json"] {
        let path = dir.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text} ")).unwrap();
        let said = run(dir.path(), "openapi --check").refused(1);
        assert!(said.contains(file) && said.contains("vestibule openapi --write"), "{said}");
        fs::write(&path, text).unwrap();
    }
    run(dir.path(), "openapi --check --write").refused(2);
}

#[test]
fn a_closed_output_pipe_is_not_an_error() {
    let dir = empty_directory();
    let mut child = command(dir.path(), &[]).arg("openapi").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
