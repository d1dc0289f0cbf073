//! Behind a proxy: nginx with the configuration of the guide, at the root of a host and below a path; and the form of the other
//! configurations (row H13).

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
};

use config::{Config, File, FileFormat};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::{HeaderMap, HeaderName};

use super::{http::Answer, initial_password, metrics_address};
use crate::{
    support::{
        PASSWORD,
        binary::{Server, command},
        daemon::{self, Daemon},
        directory,
    },
    trouble::metrics,
};

const PAGE: &str = include_str!("../../../src/guide/proxies.md");
const HOST: &str = "id.example.org";
/// An address of this machine that is not the proxy's, so that it can be told from the client's.
const CLIENT: &str = "127.0.0.2";

/// Returns the blocks of a language in the page, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("\n```{language}\n");
    PAGE.split(&begin).skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect()
}

/// Replaces what is in `text` exactly once.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}

/// The configuration of nginx for a service at the root, or below the path of the page's example.
fn nginx_configuration(is_below: bool) -> String {
    let [root, below] = blocks("nginx")[..] else { panic!("two configurations of nginx") };
    if !is_below {
        return root.to_owned();
    }
    replace(root, "    location / {\n        proxy_pass http://vestibule;\n    }", below)
}

/// A server behind nginx, with the settings and the configuration of the page.
struct Site {
    server: Server,
    nginx: Daemon,
    /// The addresses at which nginx listens for https and for http.
    https: SocketAddr,
    http: SocketAddr,
    certificate: PathBuf,
    /// The base path.
    base: &'static str,
    dir: TempDir,
}

impl Site {
    /// Starts both; `None` where nginx or curl is not installed.
    fn start(is_below: bool) -> Option<Self> {
        let program = daemon::find("nginx", "behind nginx")?;
        daemon::find("curl", "behind nginx")?;
        let dir = directory::temporary();
        let settings = blocks("toml").into_iter().filter(|block| block.starts_with("[server]")).nth(usize::from(is_below));
        fs::write(dir.path().join("vestibule.toml"), settings.unwrap()).unwrap();
        let server = Server::spawn(command(dir.path(), &[("VESTIBULE_METRICS__LISTEN", "127.0.0.1:0")]));

        let directory = tempfile::Builder::new().prefix("vestibule-nginx-").tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        fs::write(path("certificate"), made.cert.pem()).unwrap();
        fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (https, http) = (free(), free());
        let [https, http] = [https, http].map(|listener| listener.local_addr().unwrap());
        let mut site = nginx_configuration(is_below);
        for (from, to) in [
            ("127.0.0.1:8080", server.url.strip_prefix("http://").unwrap()),
            ("listen 443 ", &format!("listen {https} ")),
            ("listen 80;", &format!("listen {http};")),
            ("/etc/nginx/id.example.org.pem", &path("certificate")),
            ("/etc/nginx/id.example.org.key", &path("key")),
        ] {
            site = replace(&site, from, to);
        }
        let folders =
            ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|name| format!("{name}_temp_path {};\n", path(name)));
        let main = format!("daemon off;\nmaster_process off;\npid {};\nerror_log {};\nevents {{}}\n", path("pid"), path("log"));
        let file = path("nginx.conf");
        fs::write(&file, format!("{main}http {{\naccess_log off;\n{}{site}\n}}\n", folders.concat())).unwrap();
        let certificate = directory.path().join("certificate");
        let log = path("log");
        let nginx = Daemon::start(&program, &["-c", &file, "-e", &log], directory, || TcpStream::connect(https).is_ok());
        Some(Self { server, nginx, https, http, certificate, base: if is_below { "/auth" } else { "" }, dir })
    }

    /// Sends a request to nginx over HTTP/2 with the name and the port of the public address.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
        let mut curl = self.curl();
        curl.args(["--http2", "--request", method]);
        for (name, value) in headers {
            curl.arg("--header").arg(format!("{name}: {value}"));
        }
        if let Some(body) = body {
            curl.args(["--header", "content-type: application/json", "--data-binary", &body.to_string()]);
        }
        self.run(curl.arg(format!("https://{HOST}{path}")), "HTTP/2")
    }

    fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    /// A command that connects from the client's address to nginx, whatever the port in the URL.
    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--compressed", "--interface", CLIENT])
            .arg("--cacert")
            .arg(&self.certificate);
        curl.arg("--connect-to")
            .arg(format!("{HOST}:443:{}", self.https))
            .arg("--connect-to")
            .arg(format!("{HOST}:80:{}", self.http));
        curl
    }

    fn run(&self, curl: &mut Command, version: &str) -> Answer {
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stderr), self.nginx.log());
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (first, lines) = head.split_once("\r\n").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.lines().filter_map(|line| line.split_once(": ")) {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let status = first.strip_prefix(version).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("{first}")), headers, text: body.to_owned() }
    }

    /// Logs the administrator in, in a browser. Returns an access token and the refresh cookie.
    fn log_in(&self) -> (String, String) {
        let credentials = json!({ "identifier": "admin", "password": initial_password(self.dir.path()), "transport": "cookie" });
        let origin = format!("https://{HOST}");
        let headers = [("origin", origin.as_str()), ("x-forwarded-for", "203.0.113.9")];
        let answer = self.send("POST", &format!("{}/v1/sessions", self.base), &headers, Some(&credentials));
        assert_eq!(answer.status, 201, "{}", answer.text);
        (answer.json()["access_token"].as_str().unwrap().to_owned(), refresh_cookie(&answer))
    }
}

/// Returns the refresh cookie that a response sets, as a browser sends it.
fn refresh_cookie(answer: &Answer) -> String {
    let mut cookies = answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap());
    let cookie = cookies.find(|cookie| cookie.starts_with("__Host-vestibule_refresh=")).unwrap();
    assert!(cookie.contains("; Path=/;") && cookie.contains("; Secure") && !cookie.contains("Domain"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// Returns the addresses in the `href` and `src` of a page that are not absolute, relative to the page.
fn references(html: &str, page: &str) -> Vec<String> {
    let values = [" href=\"", " src=\""].into_iter().flat_map(|attribute| html.split(attribute).skip(1));
    let values = values.map(|rest| rest.split('"').next().unwrap());
    let folder = page.rsplit_once('/').unwrap().0;
    values.map(|value| format!("{folder}/{}", value.trim_start_matches("./"))).collect()
}

/// Everything that browsers and programs do, at the root of a host or below a path of it.
fn works(is_below: bool) {
    let Some(site) = Site::start(is_below) else { return };
    let base = site.base;

    // The pages and their files, compressed.
    for page in ["/docs", "/account/"] {
        let page = format!("{base}{page}");
        let html = site.get(&page);
        assert_eq!((html.status, html.header("content-type")), (200, "text/html; charset=utf-8"), "{page}");
        assert_eq!(html.header("strict-transport-security"), "max-age=31536000", "{page}");
        let files = references(&html.text, &page);
        assert!(files.len() >= 3, "{page}: {files:?}");
        for file in files {
            let answer = site.get(&file);
            assert_eq!(answer.status, 200, "{file}");
            if ["js", "css"].iter().any(|end| file.ends_with(end)) && answer.text.len() > 1_000 {
                assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("gzip", "Accept-Encoding"), "{file}");
            }
        }
    }
    let home = site.send("GET", &format!("{base}/"), &[("accept", "text/html")], None);
    assert_eq!((home.status, home.header("location")), (302, format!("{base}/account/").as_str()));
    assert_eq!(site.get("/.well-known/change-password").header("location"), format!("{base}/account/password"));
    let document = site.get(&format!("{base}/openapi.json"));
    assert_eq!(document.json()["servers"][0]["url"], if is_below { base } else { "/" });

    // What Vestibule has compressed, and what is too short to be compressed, keeps its tag.
    for (path, encoding) in [(format!("{base}/openapi.json"), "gzip"), ("/.well-known/jwks.json".to_owned(), "")] {
        let first = site.get(&path);
        let tag = first.header("etag").to_owned();
        assert_eq!((first.header("content-encoding"), tag.starts_with('"')), (encoding, true), "{path}: {tag}");
        let again = site.send("GET", &path, &[("if-none-match", &tag)], None);
        assert_eq!((again.status, again.text.len()), (304, 0), "{path}");
    }

    // The cookie, and the client's address in spite of a forged header.
    let (token, cookie) = site.log_in();
    let origin = ("origin", "https://id.example.org");
    let refreshed = site.send("POST", &format!("{base}/v1/sessions/refresh"), &[origin, ("cookie", &cookie)], None);
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    assert_ne!(refresh_cookie(&refreshed), cookie);
    let foreign = site.send(
        "POST",
        &format!("{base}/v1/sessions/refresh"),
        &[("origin", "https://evil.example"), ("cookie", &cookie)],
        None,
    );
    assert_eq!(foreign.problem(), (403, "csrf_rejected".into()));
    let bearer = format!("Bearer {token}");
    let authorized = ("authorization", bearer.as_str());
    let sessions = site.send("GET", &format!("{base}/v1/me/sessions"), &[authorized], None).json();
    assert_eq!(sessions["items"][0]["address"], CLIENT, "{sessions}");

    // A change with the tag that the client has seen, weak because the response was compressed, and with one that is outdated.
    let me = format!("{base}/v1/me");
    let weak = site.send("GET", &me, &[authorized], None).header("etag").to_owned();
    let strong = weak.strip_prefix("W/").unwrap().to_owned();
    let rename =
        |tag: &str, name: &str| site.send("PATCH", &me, &[authorized, ("if-match", tag)], Some(&json!({ "name": name })));
    let renamed = rename(&weak, "Ada");
    assert_eq!((renamed.status, &renamed.json()["name"]), (200, &json!("Ada")), "{}", renamed.text);
    for stale in [&weak, &strong] {
        assert_eq!(rename(stale, "Bob").problem(), (412, "precondition_failed".into()));
    }

    // A new account, and lists page by page.
    let account = json!({ "email": "ada@example.org", "password": PASSWORD });
    let created = site.send("POST", &format!("{base}/v1/accounts"), &[], Some(&account));
    assert_eq!((created.status, created.header("location")), (201, me.as_str()), "{}", created.text);
    let users = site.send("GET", &format!("{base}/v1/users?limit=1"), &[authorized], None);
    let next = users.header("link").strip_prefix('<').and_then(|link| link.split('>').next()).unwrap();
    assert_eq!(site.send("GET", next, &[authorized], None).json()["items"].as_array().unwrap().len(), 1);

    // nginx keeps its connection to the service for the next request. A second one may have been needed.
    let metrics = metrics(&metrics_address(&site.server));
    let connections = metrics.lines().find_map(|line| line.strip_prefix("vestibule_connections ")).unwrap();
    assert!(["1", "2"].contains(&connections), "{connections} connections");

    // Other paths are not the service's, and http leads to https.
    let health = site.get(&format!("{base}/healthz"));
    assert!(health.status == 200 && health.headers.contains_key("x-request-id"));
    if is_below {
        for path in ["/", "/v1/me", "/docs", "/account/", "/healthz", "/authority", "/.well-known/other"] {
            let other = site.get(path);
            assert!(!other.headers.contains_key("x-request-id"), "{path}: {}", other.text);
        }
    }
    let plain = site.run(site.curl().arg(format!("http://{HOST}{base}/docs?x=1")), "HTTP/1.1");
    assert_eq!((plain.status, plain.header("location")), (301, format!("https://{HOST}{base}/docs?x=1").as_str()));
}

#[test]
fn h13_everything_works_behind_nginx() {
    works(false);
}

#[test]
fn h13_everything_works_behind_nginx_below_a_path() {
    works(true);
}

#[test]
fn the_configurations_of_caddy_and_traefik_are_well_formed() {
    let caddy = blocks("caddyfile");
    assert_eq!(caddy.len(), 2);
    for block in caddy {
        let mut depth = 0_i32;
        for line in block.lines() {
            depth -= i32::from(line.trim() == "}");
            assert_eq!(line.len() - line.trim_start_matches('\t').len(), usize::try_from(depth).unwrap(), "{line}");
            let words: Vec<_> = line.split_whitespace().collect();
            let is_known = match words[..] {
                [HOST, "{"] | ["}"] | ["reverse_proxy", "127.0.0.1:8080"] => true,
                [matcher, "path", ..] => matcher.starts_with('@') && words[2..].iter().all(|path| path.starts_with('/')),
                ["encode", matcher, "gzip"] | ["reverse_proxy", matcher, "127.0.0.1:8080"] => {
                    block.contains(&format!("\t{matcher} path "))
                }
                _ => false,
            };
            assert!(is_known, "{line}");
            depth += i32::from(line.ends_with('{'));
        }
        assert_eq!(depth, 0);
    }

    let traefik: Vec<_> = blocks("toml").into_iter().filter(|block| block.starts_with("[http.")).collect();
    assert_eq!(traefik.len(), 2);
    for block in traefik {
        let parsed = Config::builder().add_source(File::from_str(block, FileFormat::Toml)).build().unwrap();
        let parsed: Value = parsed.try_deserialize().unwrap();
        let router = &parsed["http"]["routers"]["vestibule"];
        let service = &parsed["http"]["services"][router["service"].as_str().unwrap()]["loadBalancer"];
        assert_eq!(service["servers"][0]["url"], "http://127.0.0.1:8080");
        let rule = router["rule"].as_str().unwrap();
        assert_eq!(rule.matches('(').count(), rule.matches(')').count(), "{rule}");
        assert!(rule.starts_with(&format!("Host(`{HOST}`)")) && rule.matches('`').count().is_multiple_of(2), "{rule}");
    }

    // Each proxy passes on the same paths.
    let well_known = |text: &str| -> BTreeSet<String> {
        let names = text.split("/.well-known/").skip(1);
        names
            .map(|rest| rest.split(|next: char| next != '-' && next != '.' && !next.is_alphanumeric()).next().unwrap().to_owned())
            .collect()
    };
    let paths = [blocks("nginx")[1], blocks("caddyfile")[1], blocks("toml").pop().unwrap()].map(well_known);
    assert_eq!(paths[0].len(), 3);
    assert!(paths.iter().all(|names| *names == paths[0]), "{paths:?}");
}
