//! The languages of mails.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;

use super::Invalid;

/// A language in which Vestibule writes mails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum Language {
    /// `en`: English.
    English,
    /// `de`: German.
    German,
}

impl Language {
    /// Every language.
    pub const ALL: &'static [Self] = &[Self::English, Self::German];

    /// Returns the tag (RFC 5646), as in settings, members, rows and `Content-Language`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Returns the language that an `Accept-Language` header prefers (RFC 9110 section 12.5.4); `None` if it accepts none. A
    /// regional variant, such as `de-AT`, counts as its language. Entries that are not valid are ignored.
    pub fn preferred(accept_language: &str) -> Option<Self> {
        let entries = accept_language.split(',').filter_map(|entry| {
            let (range, weight) =
                entry.split_once(';').map_or((entry, Some(1_000)), |(range, weight)| (range, thousandths(weight)));
            let primary = range.trim().split('-').next()?;
            let language = Self::ALL.iter().find(|language| language.as_str().eq_ignore_ascii_case(primary))?;
            Some((weight?, *language))
        });
        // Of equal weights, the first wins; `max_by_key` would return the last.
        let best = entries.filter(|(weight, _)| *weight > 0).reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, language)| language)
    }
}

/// Parses a weight, such as `q=0.5` (RFC 9110 section 12.4.2), into thousandths.
fn thousandths(weight: &str) -> Option<u32> {
    let (name, value) = weight.trim().split_once('=')?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    match (name.trim(), whole) {
        ("q" | "Q", "0") if is_number => Some(fraction),
        ("q" | "Q", "1") if is_number && fraction == 0 => Some(1_000),
        _ => None,
    }
}

impl fmt::Display for Language {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|language| language.as_str() == raw);
        found.copied().ok_or_else(|| Invalid::new("not_allowed", "Must be en or de."))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_language_is_written_as_its_tag() {
        for language in Language::ALL {
            assert_eq!(language.to_string().parse(), Ok(*language));
            let invalid = language.as_str().to_uppercase().parse::<Language>().unwrap_err();
            assert!(invalid.detail.contains(language.as_str()), "{invalid}");
        }
        for raw in ["", "fr", "de-AT", " de", "english"] {
            assert_eq!(raw.parse::<Language>().map_err(|invalid| invalid.code), Err("not_allowed"), "{raw}");
        }
    }

    #[rstest]
    #[case("de", Some("de"))]
    #[case("de-AT,de;q=0.9,en;q=0.8", Some("de"))]
    #[case("en;q=0.8, DE-ch;q=0.9", Some("de"))]
    #[case("fr,es;q=0.9,en;q=0.1", Some("en"))]
    #[case("de;q=0.5,en;q=0.5", Some("de"))]
    #[case("de;q=0,en;q=0.001", Some("en"))]
    #[case("de; q=1.000 , en", Some("de"))]
    #[case("en;Q=0.3,de;q=0.25", Some("en"))]
    #[case("fr", None)]
    #[case("*", None)]
    #[case("", None)]
    #[case("de;q=0", None)]
    #[case("den, deutsch", None)]
    #[case("de;q=2, de;q=1.001, de;q=-1, de;q=, de;q=0.1234, de;x=1, de;q=0.\u{e9}", None)]
    #[case(",;,=;-,q=1", None)]
    fn the_preferred_language_has_the_highest_weight(#[case] header: &str, #[case] expected: Option<&str>) {
        assert_eq!(Language::preferred(header).map(Language::as_str), expected);
    }
}
