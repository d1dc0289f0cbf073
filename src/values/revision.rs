//! Revisions as HTTP says them: the entity tag of a row that counts its changes, and the condition that names some.

use std::fmt;

use super::Invalid;

/// The state of something that counts its changes, as a strong entity tag (RFC 9110 section 8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// The value of a header that names states by their entity tags: `If-Match` or `If-None-Match` (RFC 9110 sections 13.1.1 and
/// 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever the state is.
    Any,
    /// These opaque tags, each with its quotes. A header that cannot be understood names none.
    These(Vec<Vec<u8>>),
}

impl Tags {
    /// Reads all lines of the header; `None` where there is none. Tags are bytes: they need not be ASCII.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            return None;
        }
        let all = lines.join(&b',');
        Some(if all.trim_ascii() == b"*" { Self::Any } else { Self::These(opaque_tags(&all).unwrap_or_default()) })
    }

    /// Whether `tag` is named, as a strong or a weak tag: compressing proxies make weak tags from strong ones.
    #[must_use]
    pub fn name(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|it| it == tag.as_bytes()),
        }
    }
}

/// The opaque tags of a list, weak ones among them; `None` if it is not a list of tags (RFC 9110 sections 5.6.1 and 8.8.3).
fn opaque_tags(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Some(tags),
            [b',', after @ ..] => rest = after,
            _ => {
                let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
                let length = opaque.strip_prefix(b"\"")?.iter().position(|it| *it == b'"')? + 2;
                let (tag, after) = opaque.split_at(length);
                rest = after.trim_ascii_start();
                if tag.iter().any(|it| *it <= b' ' || *it == 0x7f) || !(rest.is_empty() || rest.starts_with(b",")) {
                    return None;
                }
                tags.push(tag.to_vec());
            }
        }
    }
}

/// An `If-Match` condition of at most 1,024 characters. A condition that cannot be understood holds for no state, so that no
/// change is made under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(Tags);

impl IfMatch {
    /// The greatest length, in characters.
    pub const LONGEST: usize = 1024;

    /// Reads all lines of the header; `None` where there is none.
    ///
    /// # Errors
    /// `too_long`.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<Self>, Invalid> {
        let lines: Vec<_> = lines.collect();
        if String::from_utf8_lossy(&lines.join(&b',')).chars().count() > Self::LONGEST {
            return Err(Invalid::new("too_long", "A condition has at most 1,024 characters."));
        }
        Ok(Tags::read(lines.into_iter()).map(Self))
    }

    /// Whether the condition holds for this state.
    #[must_use]
    pub fn allows(&self, revision: i64) -> bool {
        self.0.name(&Revision(revision).to_string())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::one(&["\"7\""], true)]
    #[case::weak(&["W/\"7\""], true)]
    #[case::any(&[" * "], true)]
    #[case::a_list(&["\"6\", \"7\""], true)]
    #[case::empty_elements(&[",\"6\",, W/\"7\" ,"], true)]
    #[case::two_lines(&["\"6\"", "\"7\""], true)]
    #[case::beside_foreign_ones(&["\"999\u{e9}\", \"a,b\", \"7\""], true)]
    #[case::another(&["\"8\""], false)]
    #[case::not_ascii(&["\"7\u{e9}\""], false)]
    #[case::without_quotes(&["7"], false)]
    #[case::half_a_quote(&["\"7"], false)]
    #[case::inside_another(&["\"x,\"7\",\""], false)]
    #[case::without_a_comma(&["\"6\" \"7\""], false)]
    #[case::a_quoted_star(&["\"*\""], false)]
    #[case::a_star_among_tags(&["\"6\", *"], false)]
    #[case::lower_case_w(&["w/\"7\""], false)]
    #[case::with_spaces(&["\" 7 \""], false)]
    #[case::empty(&[""], false)]
    fn a_condition_holds_for_the_states_it_names(#[case] lines: &[&str], #[case] holds: bool) {
        let condition = IfMatch::read(lines.iter().map(|it| it.as_bytes())).unwrap().unwrap();
        assert_eq!(condition.allows(7), holds);
    }

    #[test]
    fn no_header_is_no_condition_and_a_long_one_is_refused() {
        assert_eq!(IfMatch::read(std::iter::empty()), Ok(None));
        let half = "x".repeat(600);
        let read = |lines: &[&str]| IfMatch::read(lines.iter().map(|it| it.as_bytes())).map_err(|it| it.code);
        assert!(read(&[&half]).is_ok());
        assert_eq!(read(&[&half, &half]), Err("too_long"));
        assert_eq!(IfMatch::read([&b"\"\xff\""[..]].into_iter()).unwrap().map(|it| it.allows(7)), Some(false));
    }
}
