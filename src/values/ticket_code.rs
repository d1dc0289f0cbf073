//! Codes of tickets: eight digits that a person types, for those who cannot follow the link beside them.

use std::{fmt, str::FromStr};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::{Invalid, digits};

/// The number of digits. With the limits of wrong codes, one of 10^8 codes is not found by guessing.
const DIGITS: usize = 8;

/// A code of eight digits.
#[derive(Clone, Copy)]
pub struct TicketCode([u8; DIGITS]);

impl TicketCode {
    /// Returns the code that these random bytes determine. Each code is as likely as any other, except for a difference of one
    /// in 10^11.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        let mut number = u64::from_be_bytes(bytes);
        let mut digits = [b'0'; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit += (number % 10) as u8;
            number /= 10;
        }
        Self(digits)
    }

    /// Returns whether both codes are equal. The time that this takes does not depend on the codes.
    pub fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// Returns the digits, as a mail shows them to the owner of the mailbox.
    pub fn expose(&self) -> String {
        self.0.iter().map(|digit| char::from(*digit)).collect()
    }
}

impl FromStr for TicketCode {
    type Err = Invalid;

    /// Accepts the digits of every script, and spaces and hyphens between them, because people copy codes as they see them.
    /// Fails with `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        digits::parse(raw).map(Self).ok_or_else(|| Invalid::new("pattern", "A code must be eight digits."))
    }
}

/// Hides the digits: with them, anybody who reads a log could use the code.
impl fmt::Debug for TicketCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TicketCode(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("12345678")]
    #[case("1234 5678")]
    #[case(" 1234-5678\n")]
    #[case("1234\u{2013}5678")]
    #[case("1 2 3 4 5 6 7 8")]
    #[case("١٢٣٤٥٦٧٨")]
    #[case("۱۲۳۴۵۶۷۸")]
    #[case("१२३४५६७८")]
    #[case("１２３４５６７８")]
    fn every_spelling_of_a_code_parses_to_it(#[case] raw: &str) {
        let code: TicketCode = raw.parse().unwrap();
        assert_eq!(code.expose(), "12345678");
        assert!(!format!("{code:?}").contains('1'));
    }

    #[rstest]
    #[case("")]
    #[case("1234567")]
    #[case("123456789")]
    #[case("1234567a")]
    #[case("+1234567")]
    #[case("1234.5678")]
    #[case("¹²³⁴⁵⁶⁷⁸")]
    #[case("ⅠⅡⅢⅣⅤⅥⅦⅧ")]
    fn other_texts_are_rejected(#[case] raw: &str) {
        assert_eq!(raw.parse::<TicketCode>().map(drop).map_err(|invalid| invalid.code), Err("pattern"));
    }

    proptest! {
        #[test]
        fn a_code_of_any_bytes_parses_to_itself_and_is_no_other(bytes: [u8; 8], other: [u8; 8]) {
            let (code, other) = (TicketCode::from_bytes(bytes), TicketCode::from_bytes(other));
            prop_assert_eq!(code.expose().len(), DIGITS);
            prop_assert!(code.expose().parse::<TicketCode>().unwrap().is(&code));
            prop_assert_eq!(code.is(&other), code.expose() == other.expose());
        }
    }

    #[test]
    fn leading_zeros_are_kept() {
        assert_eq!(TicketCode::from_bytes(7u64.to_be_bytes()).expose(), "00000007");
    }
}
