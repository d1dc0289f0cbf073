//! Characters that need care: those that are invisible, and those that an error message must name.

use unicode_normalization::char::is_combining_mark;

/// Returns whether a character is invisible: soft hyphen, zero-width space and joiners, bidi marks, variation selectors, and
/// so on.
///
/// Source: `Default_Ignorable_Code_Point` in Unicode 16, `DerivedCoreProperties.txt`.
pub fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Names the first character of `text` that is not allowed, and its position, as the second half of a sentence: `character 3
/// is "é"`. Nothing else of the text is repeated.
pub fn first_disallowed(text: &str, is_allowed: impl Fn(char) -> bool) -> Option<String> {
    let (position, character) = (1..).zip(text.chars()).find(|(_, character)| !is_allowed(*character))?;
    Some(format!("character {position} is {}", describe(character)))
}

/// Returns a character as error messages name it: the character itself if it is visible, otherwise its code point.
fn describe(character: char) -> String {
    match character {
        ' ' => "a space".into(),
        '\t' => "a tab".into(),
        '\n' | '\r' => "a line break".into(),
        other if is_visible(other) => format!("\"{other}\""),
        other => format!("U+{:04X}", u32::from(other)),
    }
}

fn is_visible(character: char) -> bool {
    !(character.is_control()
        || character.is_whitespace()
        || is_invisible(character)
        || overrides_direction(character)
        || is_combining_mark(character))
}

/// Returns whether a character reorders the text around it, which would let one name look like another (Unicode TR 36,
/// section 2.6).
pub fn overrides_direction(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("abc", None)]
    #[case("abC", Some("character 3 is \"C\""))]
    #[case("a b\u{e9}", Some("character 2 is a space"))]
    #[case("\u{e9}ab", Some("character 1 is \"\u{e9}\""))]
    #[case("ab\u{200B}", Some("character 3 is U+200B"))]
    #[case("ab\u{A0}", Some("character 3 is U+00A0"))]
    #[case("ab\u{301}", Some("character 3 is U+0301"))]
    #[case("a\n", Some("character 2 is a line break"))]
    fn a_disallowed_character_is_named_with_its_position(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(first_disallowed(text, |character| character.is_ascii_lowercase()).as_deref(), expected);
    }
}
