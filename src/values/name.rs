//! Display names of people, in any script. Two people may have the same name.

use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;

use super::{
    Invalid,
    characters::{first_disallowed, is_invisible, overrides_direction},
    string_newtype::string_newtype,
};

/// A display name: one line of 1 to 100 characters in NFC, at least one of them visible, and none that reorders the text around
/// it. White space around the name is trimmed, because people add it by accident.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

string_newtype!(Name);

impl Name {
    /// Parses one line of at most `longest` characters by the rules of a name.
    pub(super) fn parse_line(raw: &str, longest: usize) -> Result<String, Invalid> {
        let line: String = raw.trim().nfc().collect();
        let is_allowed = |character: char| {
            !character.is_control() && !overrides_direction(character) && !matches!(character, '\u{2028}' | '\u{2029}')
        };
        if let Some(which) = first_disallowed(&line, is_allowed) {
            let rule = "Must not contain control characters or line breaks";
            return Err(Invalid::new("not_allowed", format!("{rule}, but {which}.")));
        }
        if line.chars().all(|character| character.is_whitespace() || is_invisible(character)) {
            return Err(Invalid::new("too_short", "Must have at least 1 visible character."));
        }
        if line.chars().count() > longest {
            return Err(Invalid::new("too_long", format!("Must have at most {longest} characters.")));
        }
        Ok(line)
    }
}

impl FromStr for Name {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long` or `not_allowed` (control characters, such as NUL, line breaks and bidi overrides).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        Self::parse_line(raw, 100).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn parse(raw: &str) -> Result<String, &'static str> {
        raw.parse::<Name>().map(Name::into_string).map_err(|invalid| invalid.code)
    }

    #[rstest]
    #[case("Ada Lovelace", "Ada Lovelace")]
    #[case("  Ada\u{A0}", "Ada")]
    #[case("Jose\u{301}", "José")]
    #[case("毛沢", "毛沢")]
    #[case("نور", "نور")]
    #[case("👩\u{200D}🚀", "👩\u{200D}🚀")]
    #[case("X", "X")]
    fn a_name_may_be_in_any_script(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(parse(raw).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case::empty("", "too_short")]
    #[case::white("  \u{3000}", "too_short")]
    #[case::zero_width("\u{200B}\u{2060}", "too_short")]
    #[case::nul("A\0da", "not_allowed")]
    #[case::line_break("Ada\nLovelace", "not_allowed")]
    #[case::line_separator("Ada\u{2028}Lovelace", "not_allowed")]
    #[case::escape("\u{1B}[31mAda", "not_allowed")]
    #[case::c1("Ada\u{85}L", "not_allowed")]
    #[case::bidi_override("Ada\u{202E}", "not_allowed")]
    #[case::bidi_isolate("\u{2066}Ada", "not_allowed")]
    fn a_name_is_visible_and_on_one_line(#[case] raw: &str, #[case] code: &str) {
        assert_eq!(parse(raw), Err(code));
    }

    #[test]
    fn a_hundred_characters_are_counted_after_nfc() {
        assert_eq!(parse(&"e\u{301}".repeat(100)), Ok("é".repeat(100)));
        assert_eq!(parse(&"é".repeat(101)), Err("too_long"));
    }

    proptest! {
        #[test]
        fn parsing_twice_changes_nothing(raw in "\\PC{0,30}|[\\pL\\pM\\pZ]{0,30}") {
            if let Ok(name) = raw.parse::<Name>() {
                prop_assert_eq!(name.as_str().parse::<Name>(), Ok(name.clone()));
            }
        }
    }
}
