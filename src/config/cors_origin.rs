//! Entries of `cors.origins`: the origins whose pages may call the API.

use std::str::FromStr;

use super::Origin;

/// Schemes without pages, or whose pages have no origin of their own (browsers send `null`).
const EXCLUDED_SCHEMES: [&str; 12] =
    ["about", "blob", "data", "file", "filesystem", "ftp", "javascript", "mailto", "view-source", "ws", "wss", "null"];

/// The origin of a web page (`https://app.example.org`), the origin of a page of an application or extension
/// (`capacitor://localhost`, `chrome-extension://…`), or a pattern for web origins in which `*.` stands for exactly one label
/// (`https://*.preview.example.org`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CorsOrigin(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Web(Origin),
    /// An origin with another scheme, in lower case. Not every browser writes the host of such an origin in lower case.
    App(String),
    /// The origin without the `*.`, and the whole pattern.
    Pattern {
        parent: Origin,
        pattern: String,
    },
}

impl CorsOrigin {
    /// Returns the origin or pattern in its canonical spelling.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Web(origin) => origin.as_str(),
            Kind::App(origin) => origin,
            Kind::Pattern { pattern, .. } => pattern,
        }
    }

    /// Returns whether a page with this `Origin` header may call the API.
    pub fn matches(&self, origin: &[u8]) -> bool {
        match &self.0 {
            Kind::Web(known) => known.as_str().as_bytes() == origin,
            Kind::App(known) => known.as_bytes().eq_ignore_ascii_case(origin),
            Kind::Pattern { parent, .. } => {
                let child = || {
                    let (scheme, rest) = std::str::from_utf8(origin).ok()?.split_once("://")?;
                    let (label, rest) = rest.split_once('.')?;
                    let is_label = !label.is_empty() && label.bytes().all(is_label_byte);
                    (is_label && parent.as_str() == format!("{scheme}://{rest}")).then_some(())
                };
                child().is_some()
            }
        }
    }
}

/// Returns whether a byte is allowed in a label as browsers write it.
fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
}

impl FromStr for CorsOrigin {
    type Err = ();

    /// Fails for `null`, `*`, paths, and patterns for several labels, for a part of a label or for a top-level domain.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let (scheme, rest) = raw.split_once("://").ok_or(())?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme != "http" && scheme != "https" {
            return app_origin(&scheme, rest).map(Kind::App).map(Self).ok_or(());
        }
        let Some(rest) = rest.strip_prefix("*.") else { return raw.parse().map(Kind::Web).map(Self) };
        let parent: Origin = format!("{scheme}://{rest}").parse()?;
        let (_, host) = parent.as_str().split_once("://").ok_or(())?;
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        // The owner of one name in a top-level domain does not own the others, and an IP address has no labels.
        let (_, top) = name.rsplit_once('.').ok_or(())?;
        if top.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(());
        }
        let pattern = format!("{scheme}://*.{host}");
        Ok(Self(Kind::Pattern { parent, pattern }))
    }
}

/// Parses the origin of a page of an application: a scheme of its own, a host, and an optional port.
fn app_origin(scheme: &str, rest: &str) -> Option<String> {
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'));
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let is_port = port
        .is_none_or(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|number| number > 0));
    let fits = is_scheme && is_host && is_port && rest.len() <= 255 && !EXCLUDED_SCHEMES.contains(&scheme);
    fits.then(|| format!("{scheme}://{}", rest.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://app.example.org", &["https://app.example.org"], &["https://APP.example.org", "http://app.example.org", "https://a.app.example.org"])]
    #[case("HTTPS://App.example.org:443", &["https://app.example.org"], &["https://app.example.org:443"])]
    #[case("capacitor://localhost", &["capacitor://localhost"], &["capacitor://localhost:1", "capacitor://", "ionic://localhost", "http://localhost"])]
    #[case("ionic://localhost", &["ionic://localhost"], &["ionic://localhosts"])]
    #[case("tauri://localhost", &["tauri://localhost"], &["tauri://tauri.localhost"])]
    #[case("http://tauri.localhost", &["http://tauri.localhost"], &["https://tauri.localhost"])]
    #[case("app://-", &["app://-"], &["app://."])]
    #[case("app://.", &["app://."], &["app://"])]
    #[case("vscode-webview://1a2b_3c", &["vscode-webview://1a2b_3c"], &[])]
    #[case("chrome-extension://abcdefghijklmnopabcdefghijklmnop", &["chrome-extension://abcdefghijklmnopabcdefghijklmnop"], &["chrome-extension://abcdefghijklmnopabcdefghijklmnoa"])]
    #[case("moz-extension://0198c5e0-0000-7000-8000-00000000000a", &["moz-extension://0198c5e0-0000-7000-8000-00000000000a"], &[])]
    #[case("safari-web-extension://0198C5E0-0000-7000", &["safari-web-extension://0198C5E0-0000-7000"], &[])]
    #[case("https://*.preview.example.org", &["https://a.preview.example.org", "https://pr-17_x.preview.example.org"],
        &["https://preview.example.org", "https://.preview.example.org", "https://a.b.preview.example.org", "http://a.preview.example.org",
          "https://a.preview.example.org:8443", "https://a.preview.example.org.evil.example", "https://evil.example/.preview.example.org",
          "https://u@a.preview.example.org", "https://apreview.example.org", "https://*.preview.example.org", "https://A.preview.example.org",
          "https://a.preview.example.org/", "https://a.preview.example.org ", "https://\u{e9}.preview.example.org", "null"])]
    #[case("http://*.example.org:3000", &["http://a.example.org:3000"], &["http://a.example.org", "http://a.example.org:3001"])]
    fn an_origin_is_compared_as_a_whole(#[case] written: &str, #[case] allowed: &[&str], #[case] rejected: &[&str]) {
        let origin: CorsOrigin = written.parse().unwrap();
        for page in allowed {
            assert!(origin.matches(page.as_bytes()), "{written} {page}");
        }
        for page in rejected.iter().chain(&["", "null", "*"]) {
            assert!(!origin.matches(page.as_bytes()), "{written} {page}");
        }
        assert_eq!(origin.as_str().parse(), Ok(origin.clone()));
    }

    #[rstest]
    fn other_texts_are_rejected(
        #[values(
            "",
            "*",
            "null",
            "null://x",
            "*://*",
            "://",
            "https://",
            "https://*",
            "https://*.",
            "https://*.example",
            "https://*.org",
            "https://*.*.example.org",
            "https://a*.example.org",
            "https://*a.example.org",
            "https://a.*.example.org",
            "https://**.example.org",
            "https://*.127.0.0.1",
            "https://*.[::1]",
            "https://*.example.org/",
            "https://*.example.org:0",
            "*.example.org",
            "https://a.example/",
            "https://a.example/x",
            "https://u@a.example",
            "file://",
            "file://x",
            "file:///x",
            "data://x",
            "blob://x",
            "javascript://x",
            "about://blank",
            "ws://a.example",
            "wss://a.example",
            "ftp://a.example",
            "capacitor://",
            "capacitor://*",
            "capacitor://localhost/",
            "capacitor://localhost/x",
            "capacitor://a b",
            "app://x?y",
            "app://x#y",
            "app://u@x",
            "app://x:",
            "app://x:0",
            "app://x:1:2",
            "app://\u{e9}",
            "1app://x",
            "a_b://x",
            "chrome-extension://*",
            "*://localhost",
            "app:x"
        )]
        raw: &str,
    ) {
        assert_eq!(raw.parse::<CorsOrigin>(), Err(()), "{raw}");
    }
}
