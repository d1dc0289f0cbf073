//! Other services verify access tokens: the README's programs for Node, Python and Rust, taken out of it and run.

#[rustfmt::skip] // as in the README
mod verify;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::binary::{Server, not_tested};

const NODE: &str = r#"
import { errors } from "jose";
import { verify } from "./verify.mjs";
const refused = (error) => { if (error instanceof errors.JOSEError) return "refused"; throw error; };
for (const token of process.argv.slice(1)) console.log(await verify(token).then(({ sub, roles }) => `${sub} ${roles}`, refused));
"#;
const PYTHON: &str = r#"
import jwt, sys, verify
for token in sys.argv[1:]:
    try: claims = verify.verify(token); print(claims["sub"], ",".join(claims["roles"]))
    except jwt.PyJWTError: print("refused")
"#;

#[test]
fn other_services_tell_good_tokens_from_bad_ones() {
    let Some(verifiers) = Verifiers::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let issuer = format!("http://{listen}");
    let start =
        |name: &str, value: &str| Server::start(directory.path(), &[("VESTIBULE_SERVER__LISTEN", &listen), (name, value)]);

    let other = tempfile::tempdir().unwrap();
    let (_, of_another_key) = log_in(&Server::start(other.path(), &[("VESTIBULE_TOKENS__ISSUER", &issuer)]), other.path());
    let (_, for_another_audience) = log_in(&start("VESTIBULE_TOKENS__AUDIENCE", "shop"), directory.path());
    let (_, expired) = log_in(&start("VESTIBULE_TOKENS__ACCESS_TTL", "1"), directory.path());
    thread::sleep(Duration::from_secs(1)); // other people's clocks cannot be moved
    let server = start("VESTIBULE_LOG__LEVEL", "info");
    let (somebody, good) = log_in(&server, directory.path());

    let tokens = [&*good, &of_another_key, &for_another_audience, &expired, "nonsense"];
    verifiers.assert(&issuer, &tokens, &[&format!("{somebody} admin,user"), "refused", "refused", "refused", "refused"]);
    assert!(server.stop().success());
}

#[test]
fn other_services_take_access_tokens_alone() {
    let Some(verifiers) = Verifiers::new() else { return };
    let issuer = Issuer::start();
    let header = || Header { kid: Some("1".into()), typ: Some("at+jwt".into()), ..Header::new(Algorithm::EdDSA) };
    let good = issuer.sign(&header(), |_| {});
    let an_id_token = issuer.sign(&Header { typ: Some("JWT".into()), ..header() }, |_| {});
    let of_no_kind = issuer.sign(&Header { typ: None, ..header() }, |_| {});
    let without_end = issuer.sign(&header(), |claims| _ = claims.as_object_mut().unwrap().remove("exp"));
    let of_another_issuer = issuer.sign(&header(), |claims| claims["iss"] = json!("https://evil.example"));

    let tokens = [&*good, &an_id_token, &of_no_kind, &without_end, &of_another_issuer];
    verifiers.assert(&issuer.url, &tokens, &["somebody user", "refused", "refused", "refused", "refused"]);
}

#[test]
fn the_readme_shows_the_rust_that_is_tested() {
    assert_eq!(shown("rust"), include_str!("elsewhere/verify.rs"));
}

/// The README's programs, ready to run.
struct Verifiers {
    directory: TempDir,
    python: PathBuf,
}

impl Verifiers {
    /// `None` where this machine cannot run them, which it says.
    fn new() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (modules, python) = (root.join("tests/elsewhere/node_modules"), root.join("target/python/bin/python"));
        if !modules.join("jose").exists() || !python.exists() {
            let missing = "jose and PyJWT are not installed: run `.ci/client prepare`";
            not_tested("in other languages", missing);
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("verify.mjs"), shown("js")).unwrap();
        fs::write(directory.path().join("verify.py"), shown("py")).unwrap();
        symlink(modules, directory.path().join("node_modules")).unwrap();
        Some(Self { directory, python })
    }

    /// Each of them says this of these tokens: subject and roles, or that it is refused.
    fn assert(&self, issuer: &str, tokens: &[&str], expected: &[&str]) {
        let node = Command::new("node").args(["--input-type=module", "-e", NODE, "--"]).args(tokens).told(self, issuer);
        assert_eq!(node, expected, "Node");
        let python = Command::new(&self.python).args(["-c", PYTHON]).args(tokens).told(self, issuer);
        assert_eq!(python, expected, "Python");
        let keys = verify::keys(issuer).unwrap();
        let rust = tokens.iter().map(|token| match verify::verify(&keys, issuer, token) {
            Some(claims) => format!("{} {}", claims.sub, claims.roles.join(",")),
            None => "refused".into(),
        });
        assert_eq!(rust.collect::<Vec<_>>(), expected, "Rust");
    }
}

trait Told {
    fn told(&mut self, verifiers: &Verifiers, issuer: &str) -> Vec<String>;
}

impl Told for Command {
    /// What the program prints, by lines.
    fn told(&mut self, verifiers: &Verifiers, issuer: &str) -> Vec<String> {
        let told = self.current_dir(&verifiers.directory).env("VESTIBULE", issuer).env("NO_PROXY", "127.0.0.1").output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

/// The program in this language under the README's heading.
fn shown(language: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Verifying tokens elsewhere\n").unwrap();
    let (_, program) = section.split_once(&format!("\n```{language}\n")).unwrap();
    program.split_once("```").unwrap().0.to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Logs the first administrator in: their id, and an access token.
fn log_in(server: &Server, directory: &Path) -> (String, String) {
    let password = fs::read_to_string(directory.join("data/initial-admin-password")).unwrap();
    let credentials = json!({ "identifier": "admin", "password": password.trim() });
    let mut answer = ureq::post(format!("{}/v1/sessions", server.url)).send_json(credentials).unwrap();
    let token = answer.body_mut().read_json::<Value>().unwrap()["access_token"].as_str().unwrap().to_owned();
    let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&token).unwrap().claims;
    (claims["sub"].as_str().unwrap().to_owned(), token)
}

/// Somebody whose keys are published as Vestibule's are, and who signs other things with them too.
struct Issuer {
    url: String,
    key: EncodingKey,
}

impl Issuer {
    fn start() -> Self {
        let key = EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap().as_ref());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
        public.common.key_id = Some("1".into());
        let keys = json!({ "keys": [public] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                assert!(asked.count() > 0);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nConnection: close";
                write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{keys}", keys.len()).unwrap();
            }
        });
        Self { url, key }
    }

    /// A token that is good but for its header and what is changed in its claims.
    fn sign(&self, header: &Header, change: impl FnOnce(&mut Value)) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "iss": self.url, "aud": "vestibule", "sub": "somebody", "roles": ["user"], "iat": now, "exp": now + 60,
        });
        change(&mut claims);
        jsonwebtoken::encode(header, &claims, &self.key).unwrap()
    }
}
