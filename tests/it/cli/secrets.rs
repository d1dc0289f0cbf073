//! No secret is stored in clear text: not in the log at any level, and not in the data directory, except in the mails of the
//! transport `file`.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};
use ureq::http::Method;
use uuid::Uuid;

use super::{empty_directory, files, initial_password, run_with, until};

use crate::{
    passkeys::ORIGIN,
    support::{binary::Server, mail_text, passkey_device::PasskeyDevice},
};

const CHOSEN: [&str; 8] = [
    "ada likes tall ships",
    "ada likes small ships",
    "wrong but somebody's: Tr0ub4dor&3",
    "typed into the wrong field",
    "sent as a list of one",
    "sent in broken json",
    "chosen by the operator",
    "Dvořák's ninth, in Unicode",
];

/// The most detailed log level, including modules that the service silences otherwise.
const EVERYTHING: &str = "trace,poem=trace,sea_orm_migration=trace";

/// Does everything that involves a secret: registering, logging in, mistakes of all kinds, and commands. Returns the secrets.
fn live_through(dir: &Path, server: &Server) -> Vec<String> {
    let [first, second, wrong, misplaced, listed, broken, operators, unicode] = CHOSEN;
    let mut secrets: Vec<String> = CHOSEN.map(str::to_owned).to_vec();
    secrets.push(initial_password(dir));
    let mut issued = Vec::new();
    let mut log_in = |identifier: &str, password: &str| {
        let tokens = server.log_in(identifier, password).json();
        for member in ["access_token", "refresh_token"] {
            issued.extend(tokens[member].as_str().map(str::to_owned));
        }
        tokens["access_token"].as_str().unwrap_or_default().to_owned()
    };

    assert_eq!(server.register("ada@example.org", first).status, 201);
    assert_eq!(server.register("ada@example.org", wrong).status, 409);
    assert_eq!(server.register("dvorak@example.org", unicode).status, 201);
    let ada = log_in("ada@example.org", first);
    assert_eq!(log_in("ada@example.org", wrong), "");
    assert_eq!(log_in(misplaced, misplaced), "");
    let admin = log_in("admin", &initial_password(dir));
    assert!(!ada.is_empty() && !admin.is_empty() && !log_in("dvorak@example.org", unicode).is_empty());

    let bad_types = json!({ "email": "x@example.org", "password": [listed] });
    assert_eq!(server.post("/v1/accounts", &bad_types).status, 422);
    let unknown = json!({ "identifier": "ada", "password": "x", listed: listed });
    assert_eq!(server.post("/v1/sessions", &unknown).status, 422);
    let cut = format!(r#"{{ "identifier": "ada", "password": "{broken}", "#);
    assert_eq!(server.send(Method::POST, "/v1/sessions", "", Some(cut)).status, 400);

    let change = |token: &str, current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        server.send(Method::PUT, "/v1/me/password", token, Some(body.to_string())).status
    };
    assert_eq!(change(&ada, wrong, second), 422);
    assert_eq!(change(&ada, first, second), 204);
    assert_eq!(server.get_as(&ada, &format!("/v1/me?access_token={ada}")).status, 200);
    let forged = format!("{ada}x");
    assert_eq!(server.get_as(&forged, "/v1/me").status, 401);
    assert_eq!(server.get_as(&ada, "/v1/users").status, 403);
    assert_eq!(server.get_as(&admin, "/v1/users").status, 200);
    assert_eq!(server.introspect(&admin, &ada).json()["active"], true);
    assert_eq!(server.introspect(&admin, &forged).json()["active"], false);
    secrets.push(forged);

    run_with(dir, "user create bea@example.org --password-stdin", &[("VESTIBULE_LOG__LEVEL", EVERYTHING)], operators).done();
    assert!(!log_in("bea@example.org", operators).is_empty());
    let close = json!({ "current_password": operators }).to_string();
    let bea = log_in("bea@example.org", operators);
    assert_eq!(server.send(Method::DELETE, "/v1/me", &bea, Some(close)).status, 204);
    let refresh =
        |tokens: &Value| server.post("/v1/sessions/refresh", &json!({ "refresh_token": tokens["refresh_token"] })).json();
    let first = server.log_in("dvorak@example.org", unicode).json();
    let second = refresh(&first);
    let third = refresh(&second);
    assert_eq!(refresh(&first)["code"], "invalid_refresh_token");
    secrets.extend([first, second, third].map(|tokens| tokens["refresh_token"].as_str().unwrap().to_owned()));
    let body = json!({ "identifier": "dvorak@example.org", "password": unicode, "transport": "cookie" });
    let answer = server.post("/v1/sessions", &body);
    let cookie = answer.header("set-cookie").split(['=', ';']).nth(1).unwrap().to_owned();
    assert!(cookie.starts_with("vrt_"), "{cookie}");
    secrets.push(cookie);
    secrets.extend(issued);
    secrets.extend(mailed(dir, server, "dvorak@example.org", unicode));
    secrets.extend(enrolled(dir, server, CHOSEN[0]));
    secrets
}

/// Adds an authenticator app, and logs in with a recovery code. Returns what only its owner may know, except codes of six digits,
/// which any log contains by chance.
fn enrolled(dir: &Path, server: &Server, password: &str) -> Vec<String> {
    run_with(dir, "user create cleo@example.org --password-stdin", &[("VESTIBULE_LOG__LEVEL", EVERYTHING)], password).done();
    let token = server.log_in("cleo@example.org", password).json()["access_token"].as_str().unwrap().to_owned();
    let post = |path: &str, body: Value| server.send(Method::POST, path, &token, Some(body.to_string()));
    let started = post("/v1/me/factors/totp", json!({})).json();
    let secret = started["secret"].as_str().unwrap().to_owned();
    let totp = Builder::new().with_secret(Secret::try_from_base32(&secret).unwrap()).build().unwrap();
    let confirm = format!("/v1/me/factors/totp/{}/confirm", started["id"].as_str().unwrap());
    let enrolled = post(&confirm, json!({ "code": totp.generate_current().to_string() })).json();
    let codes: Vec<_> =
        enrolled["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    let challenge = server.log_in("cleo@example.org", password).json()["challenge"].as_str().unwrap().to_owned();
    for (code, status) in [("0000-0000-0000-0000", 401), (codes[0].as_str(), 201)] {
        let factor = json!({ "kind": "recovery_code", "code": code });
        let body = json!({ "challenge": challenge, "factor": factor });
        assert_eq!(server.post("/v1/sessions/second-factor", &body).status, status);
    }
    let plain = codes.iter().map(|code| code.replace('-', ""));
    let mut secrets = vec![secret, challenge.clone(), challenge.replace("vc1.", "")];
    secrets.extend(plain.chain(codes.clone()));
    secrets.extend(signed(server, enrolled["tokens"]["access_token"].as_str().unwrap()));
    secrets
}

/// Adds a passkey, logs in with it, and makes mistakes. Returns the ceremonies, and the handle of the account, which the passkey's
/// device keeps.
fn signed(server: &Server, token: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let post = |path: &str, body: Value| server.send(Method::POST, path, token, Some(body.to_string()));
    let begin = |path: &str| {
        let begun = post(path, json!({})).json();
        (begun["ceremony"].clone(), begun["options"].clone())
    };
    let (mut phone, (adding, options)) = (PasskeyDevice::default(), begin("/v1/me/factors/passkey/options"));
    let made = runtime.block_on(phone.make(ORIGIN, &options));
    let handle = options["user"]["id"].as_str().unwrap().to_owned();
    let body = json!({ "ceremony": adding, "credential": made });
    assert_eq!(post("/v1/me/factors/passkey", body.clone()).status, 201);
    assert_eq!(post("/v1/me/factors/passkey", body).status, 401);
    let (ceremony, options) = begin("/v1/passkeys/options");
    let credential = runtime.block_on(phone.sign(ORIGIN, &options));
    assert_eq!(credential["response"]["userHandle"], handle);
    let body = json!({ "ceremony": ceremony, "credential": credential });
    for status in [201, 401] {
        assert_eq!(server.post("/v1/sessions/passkey", &body).status, status);
    }
    let (unused, _) = begin("/v1/passkeys/options");
    let wrong = json!({ "ceremony": unused, "credential": credential });
    assert_eq!(server.post("/v1/sessions/passkey", &wrong).status, 401);
    let misplaced = json!({ "ceremony": unused, "credential": unused, "userHandle": handle });
    assert_eq!(server.post("/v1/sessions/passkey", &misplaced).status, 422);
    let ceremonies = [adding, ceremony, unused].map(|ceremony| ceremony.as_str().unwrap().to_owned());
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(&handle).unwrap().try_into().unwrap();
    ceremonies.into_iter().chain([handle, Uuid::from_bytes(bytes).to_string()]).collect()
}

/// Lets a user request mails and use what is in them. Returns the links, the codes and the handles.
fn mailed(dir: &Path, server: &Server, email: &str, password: &str) -> Vec<String> {
    let tokens = server.log_in(email, password).json();
    let token = tokens["access_token"].as_str().unwrap();
    let post = |path: &str, body: Value| server.send(Method::POST, path, token, Some(body.to_string()));
    let verification = server.send(Method::POST, "/v1/me/email/verification", token, None).json();
    let mut secrets = vec![tokens["access_token"].clone(), tokens["refresh_token"].clone(), verification["handle"].clone()];
    for identifier in [email, "nobody@example.org"] {
        secrets.push(post("/v1/password-resets", json!({ "identifier": identifier })).json()["handle"].clone());
    }
    let mut secrets: Vec<_> = secrets.iter().map(|secret| secret.as_str().unwrap().to_owned()).collect();

    // The address is sent one mail a minute, so an administrator sends the reset.
    let admin = server.log_in("admin", &initial_password(dir)).json()["access_token"].as_str().unwrap().to_owned();
    let users = server.get_as(&admin, &format!("/v1/users?search={email}")).json();
    let reset = format!("/v1/users/{}/password-reset", users["items"][0]["id"].as_str().unwrap());
    assert_eq!(server.send(Method::POST, &reset, &admin, None).status, 202);
    let folder = dir.join("data/mail");
    // Notices have no link.
    let messages = || {
        let names = if folder.exists() { files(&folder) } else { Vec::new() };
        let finished = names.into_iter().filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "eml"));
        let messages = finished.map(|name| fs::read_to_string(folder.join(name)).unwrap());
        messages.filter(|message| mail_text::token(message).is_some()).collect::<Vec<_>>()
    };
    until(|| messages().len() == 2);
    for message in messages() {
        let (token, code) = (mail_text::token(&message).unwrap(), mail_text::code(&message).unwrap());
        assert_eq!(post("/v1/tickets/read", json!({ "token": token })).status, 200);
        post("/v1/me/email/verification/complete", json!({ "code": code }));
        let proof = json!({ "kind": "code", "handle": secrets[3], "code": code });
        post("/v1/password-resets/complete", json!({ "proof": proof, "new_password": password }));
        secrets.extend([token, code]);
    }
    secrets
}

/// Returns where a secret is in a place. Eight digits of a longer number are no code.
fn position(place: &[u8], secret: &str) -> Option<usize> {
    let is_code = secret.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |byte: Option<&u8>| is_code && byte.is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.');
    let is_it = |at: usize| {
        !is_number(at.checked_sub(1).and_then(|before| place.get(before))) && !is_number(place.get(at + secret.len()))
    };
    (0..place.len()).find(|at| place[*at..].starts_with(secret.as_bytes()) && is_it(*at))
}

#[test]
fn p10_no_password_token_or_secret_of_a_factor_is_in_the_log_or_the_database() {
    let dir = empty_directory();
    let env = [
        ("VESTIBULE_LOG__LEVEL", EVERYTHING),
        ("VESTIBULE_LOG__FORMAT", "json"),
        ("VESTIBULE_SIGNING__ALGORITHM", "HS256"),
        ("VESTIBULE_SIGNING__SECRET", "a secret that services share today"),
        ("VESTIBULE_THROTTLE__ENABLED", "false"),
        ("VESTIBULE_SERVER__PUBLIC_URL", ORIGIN),
        ("VESTIBULE_MAIL__TRANSPORT", "file"),
    ];
    let server = Server::start(dir.path(), &env);
    let mut secrets = live_through(dir.path(), &server);
    secrets.push("a secret that services share today".into());
    let data = dir.path().join("data");
    secrets.push(fs::read_to_string(data.join("master.key")).unwrap().trim().to_owned());

    // The database while the server runs, with its write-ahead log; the server's log after it has stopped.
    let kept = ["master.key", "initial-admin-password", "mail"];
    let mut places: Vec<(String, Vec<u8>)> = files(&data)
        .into_iter()
        .filter(|name| !kept.contains(&name.as_str()))
        .map(|name| (name.clone(), fs::read(data.join(name)).unwrap()))
        .collect();
    assert_eq!(places.len(), 4, "expected the database, the write-ahead log, its index and the lock");
    let (stdout, log) = (server.stdout.clone(), server.log.clone());
    assert!(server.stop().success());
    places.push(("vestibule.db, closed".into(), fs::read(data.join("vestibule.db")).unwrap()));
    places.push(("standard output".into(), stdout.text().into_bytes()));
    places.push(("log".into(), log.text().into_bytes()));
    assert!(log.text().lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", log.text());
    assert!(log.text().contains("Applying all pending migrations"), "the log level is too low: {}", log.text());

    for secret in &secrets {
        // A token is usable without its first two parts, and JSON may have escaped a quote.
        for form in [secret.as_str(), secret.rsplit('.').next().unwrap()] {
            for (place, bytes) in &places {
                if let Some(at) = position(bytes, form) {
                    let around = &bytes[at.saturating_sub(300)..(at + form.len() + 100).min(bytes.len())];
                    panic!("{form:?} is in {place}: {}", String::from_utf8_lossy(around));
                }
            }
        }
    }
}
