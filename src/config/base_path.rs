//! The path below which the service is served.

use std::{fmt, str::FromStr};

/// The most bytes that a base path may have.
const MAX_LENGTH: usize = 64;
/// The first part of the paths that are served at the root of a host and nowhere else (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// A path such as `/auth`, without a slash at its end; or nothing, if the service is served at the root of its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// Returns the path: `/auth`, or an empty text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the service is served at the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns which path of the service the path of a request means: `/v1/me` for `/auth/v1/me`, and `/` for `/auth`. Paths that
    /// begin with `/.well-known/` mean themselves, and nothing below the base path. Returns `None` for paths that are not the
    /// service's.
    pub fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_root() || path.starts_with(WELL_KNOWN) {
            return Some(path);
        }
        match path.strip_prefix(&self.0)? {
            "" => Some("/"),
            rest => (rest.starts_with('/') && !rest.starts_with(WELL_KNOWN)).then_some(rest),
        }
    }

    /// Returns the path under which callers find `path`, a path of the service.
    pub fn outside(&self, path: &str) -> String {
        if path.starts_with(WELL_KNOWN) { path.to_owned() } else { format!("{self}{path}") }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for BasePath {
    type Err = ();

    /// Accepts a slash at the end. Fails for everything that a proxy might pass on in another spelling.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let path = raw.strip_suffix('/').unwrap_or(raw);
        let is_plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
            !part.is_empty() && ![".", "..", ".well-known"].contains(&part) && part.bytes().all(allowed)
        };
        let is_valid = path.is_empty() || path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_plain));
        (is_valid && path.len() <= MAX_LENGTH).then(|| Self(path.to_owned())).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::BasePath;

    #[rstest]
    #[case("", Some(""))]
    #[case("/", Some(""))]
    #[case("/auth", Some("/auth"))]
    #[case("/auth/", Some("/auth"))]
    #[case("/my.app/Id_1~x", Some("/my.app/Id_1~x"))]
    #[case("auth", None)]
    #[case("//", None)]
    #[case("/auth//", None)]
    #[case("/a//b", None)]
    #[case("/../auth", None)]
    #[case("/a%20b", None)]
    #[case("/ä", None)]
    #[case("/a?b", None)]
    #[case("/.well-known", None)]
    #[case("https://id.example.org/auth", None)]
    #[case(
        "/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/123",
        Some("/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/123")
    )]
    #[case("/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/ten-bytes/12345", None)]
    fn a_base_path_has_plain_parts(#[case] raw: &str, #[case] parsed: Option<&str>) {
        assert_eq!(raw.parse::<BasePath>().ok().as_ref().map(BasePath::as_str), parsed);
    }

    #[rstest]
    #[case("/auth", Some("/"))]
    #[case("/auth/", Some("/"))]
    #[case("/auth/v1/me", Some("/v1/me"))]
    #[case("/auth//v1/me", Some("//v1/me"))]
    #[case("/auth/auth", Some("/auth"))]
    #[case("/.well-known/jwks.json", Some("/.well-known/jwks.json"))]
    #[case("/auth/.well-known/jwks.json", None)]
    #[case("/", None)]
    #[case("*", None)]
    #[case("/v1/me", None)]
    #[case("/authority/v1/me", None)]
    #[case("/Auth/v1/me", None)]
    #[case("/%61uth/v1/me", None)]
    #[case("//auth/v1/me", None)]
    fn only_paths_below_the_base_path_are_the_services(#[case] path: &str, #[case] inside: Option<&str>) {
        let base: BasePath = "/auth".parse().unwrap();
        assert_eq!(base.inside(path), inside);
        assert_eq!(BasePath::default().inside(path), Some(path));
    }
}
