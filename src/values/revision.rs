//! Revisions, and the entity tags and conditions by which HTTP names them.

use std::fmt;

use super::{Invalid, counters::Revision};

/// Writes the revision as a strong entity tag (RFC 9110 section 8.8.3).
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", i64::from(*self))
    }
}

/// The entity tags of an `If-Match` or `If-None-Match` header (RFC 9110 sections 13.1.1 and 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    /// `*`: every tag.
    Any,
    /// These opaque tags, each with its quotes. The list is empty if the header is malformed.
    Listed(Vec<Vec<u8>>),
}

impl EntityTags {
    /// Parses all lines of the header; `None` if there are none. Tags are bytes, because they need not be ASCII.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let lines: Vec<_> = lines.collect();
        if lines.is_empty() {
            return None;
        }
        let all = lines.join(&b',');
        Some(if all.trim_ascii() == b"*" { Self::Any } else { Self::Listed(opaque_tags(&all).unwrap_or_default()) })
    }

    /// Returns whether `tag` is listed as a strong or a weak tag. Compressing proxies turn strong tags into weak ones.
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|listed| listed == tag.as_bytes()),
        }
    }
}

/// Parses a list of strong and weak tags; `None` if the list is malformed (RFC 9110 sections 5.6.1 and 8.8.3).
fn opaque_tags(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut tags = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Some(tags),
            [b',', after @ ..] => rest = after,
            _ => {
                let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
                let length = opaque.strip_prefix(b"\"")?.iter().position(|byte| *byte == b'"')? + 2;
                let (tag, after) = opaque.split_at(length);
                rest = after.trim_ascii_start();
                if tag.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) || !(rest.is_empty() || rest.starts_with(b",")) {
                    return None;
                }
                tags.push(tag.to_vec());
            }
        }
    }
}

/// An `If-Match` condition of at most 1,024 characters. A malformed condition matches no revision, so that no change is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(EntityTags);

impl IfMatch {
    /// The maximum length, in characters.
    pub const LONGEST: usize = 1024;

    /// Parses all lines of the header; `None` if there are none. Fails with `too_long`.
    pub fn read<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Option<Self>, Invalid> {
        let lines: Vec<_> = lines.collect();
        if String::from_utf8_lossy(&lines.join(&b',')).chars().count() > Self::LONGEST {
            return Err(Invalid::new("too_long", "Must have at most 1,024 characters."));
        }
        Ok(EntityTags::read(lines.into_iter()).map(Self))
    }

    /// Returns whether the condition matches this revision.
    pub fn matches(&self, revision: Revision) -> bool {
        self.0.matches(&revision.to_string())
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
    #[case::beside_other_tags(&["\"999\u{e9}\", \"a,b\", \"7\""], true)]
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
    fn a_condition_matches_the_listed_revisions(#[case] lines: &[&str], #[case] expected: bool) {
        let condition = IfMatch::read(lines.iter().map(|line| line.as_bytes())).unwrap().unwrap();
        assert_eq!(condition.matches(7.into()), expected);
    }

    #[test]
    fn without_a_header_there_is_no_condition_and_a_long_header_is_rejected() {
        assert_eq!(IfMatch::read(std::iter::empty()), Ok(None));
        let half = "x".repeat(600);
        let read = |lines: &[&str]| IfMatch::read(lines.iter().map(|line| line.as_bytes())).map_err(|invalid| invalid.code);
        assert!(read(&[&half]).is_ok());
        assert_eq!(read(&[&half, &half]), Err("too_long"));
        assert_eq!(
            IfMatch::read([&b"\"\xff\""[..]].into_iter()).unwrap().map(|condition| condition.matches(7.into())),
            Some(false)
        );
    }
}
