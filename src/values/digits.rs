//! Codes of digits, as people type them: the digits of every script, with spaces and hyphens between them.

/// Returns the digits in ASCII if the text has exactly `N` of them, and otherwise only spaces and hyphens.
pub(super) fn parse<const N: usize>(raw: &str) -> Option<[u8; N]> {
    let mut digits = [0; N];
    let mut given = raw.chars().filter(|character| !is_separator(*character));
    for digit in &mut digits {
        *digit = b'0' + given.next().and_then(value_of_digit)?;
    }
    given.next().is_none().then_some(digits)
}

pub(super) fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}')
}

/// Returns the value of a decimal digit of any script that people write numbers in. In each of them the digits from zero to
/// nine follow each other.
fn value_of_digit(character: char) -> Option<u8> {
    const ZEROS: &[char] = &[
        '0', '\u{660}', '\u{6F0}', '\u{7C0}', '\u{966}', '\u{9E6}', '\u{A66}', '\u{AE6}', '\u{B66}', '\u{BE6}', '\u{C66}',
        '\u{CE6}', '\u{D66}', '\u{DE6}', '\u{E50}', '\u{ED0}', '\u{F20}', '\u{1040}', '\u{17E0}', '\u{1810}', '\u{FF10}',
    ];
    ZEROS
        .iter()
        .find_map(|zero| u8::try_from(u32::from(character).checked_sub(u32::from(*zero))?).ok().filter(|value| *value < 10))
}
