//! The beginning of the links in mails.

use std::{fmt, str::FromStr};

use super::{BasePath, Origin};

/// An origin, and perhaps a path: `https://id.example.org` or `https://www.example.org/id`, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkBase(String);

impl LinkBase {
    /// Returns the base path of the service at this origin.
    pub fn below(origin: impl fmt::Display, base_path: &BasePath) -> Self {
        Self(format!("{origin}{base_path}"))
    }

    /// Returns the text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkBase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for LinkBase {
    type Err = ();

    /// Fails for queries, fragments and everything else that cannot be continued with `/account/…`.
    fn from_str(raw: &str) -> Result<Self, ()> {
        let (scheme, rest) = raw.split_once("://").ok_or(())?;
        let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        let origin: Origin = format!("{scheme}://{host}").parse()?;
        let path = path.map(|path| path.strip_suffix('/').unwrap_or(path)).filter(|path| !path.is_empty());
        let Some(path) = path else { return Ok(Self(origin.to_string())) };
        let is_plain = |part: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed)
        };
        if path.len() > 200 || !path.split('/').all(is_plain) {
            return Err(());
        }
        Ok(Self(format!("{origin}/{path}")))
    }
}
