//! Codes of authenticator apps: six digits, which are valid for half a minute.

use std::{fmt, str::FromStr};

use super::{Invalid, digits};

/// The number of digits.
const DIGITS: usize = 6;

/// A code of six digits.
#[derive(Clone, Copy)]
pub struct TotpCode([u8; DIGITS]);

impl TotpCode {
    /// Returns the digits in ASCII.
    pub fn expose(&self) -> &str {
        str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

impl FromStr for TotpCode {
    type Err = Invalid;

    /// Accepts the digits of every script, and spaces and hyphens between them. Fails with `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        digits::parse(raw).map(Self).ok_or_else(|| Invalid::new("pattern", "A code must be six digits."))
    }
}

/// Hides the digits: with them, anybody who reads a log could use the code.
impl fmt::Debug for TotpCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TotpCode(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("123456")]
    #[case("123 456")]
    #[case(" 123-456\n")]
    #[case("١٢٣٤٥٦")]
    fn every_spelling_of_a_code_parses_to_it(#[case] raw: &str) {
        let code: TotpCode = raw.parse().unwrap();
        assert_eq!(code.expose(), "123456");
        assert!(!format!("{code:?}").contains('1'));
    }

    #[rstest]
    #[case("")]
    #[case("12345")]
    #[case("1234567")]
    #[case("12345a")]
    #[case("123.456")]
    fn other_texts_are_rejected(#[case] raw: &str) {
        assert_eq!(raw.parse::<TotpCode>().map(drop).map_err(|invalid| invalid.code), Err("pattern"));
    }
}
