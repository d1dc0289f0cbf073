//! Recovery codes: 80 random bits that a user keeps on paper, in the alphabet of Crockford, which has no letter that looks like
//! another one.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

use super::{Invalid, digits::is_separator};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The number of characters, of 5 bits each.
const LENGTH: usize = 16;
/// The number of characters between two hyphens.
const GROUP: usize = 4;

/// A recovery code of 16 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<[u8; LENGTH]>);

impl RecoveryCode {
    /// Returns the code that these random bytes determine.
    pub fn from_bytes(bytes: &[u8; 10]) -> Self {
        let bits = bytes.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut characters = Zeroizing::new([0; LENGTH]);
        for (at, character) in characters.iter_mut().rev().enumerate() {
            *character = ALPHABET[(bits >> (5 * at) & 31) as usize];
        }
        Self(characters)
    }

    /// Returns the characters without hyphens.
    pub fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// Returns the text as it is shown to the user, once: `0000-0000-0000-0000`.
    pub fn expose(&self) -> String {
        let groups: Vec<_> = self.0.chunks(GROUP).map(|group| str::from_utf8(group).expect("the alphabet is ASCII")).collect();
        groups.join("-")
    }
}

impl FromStr for RecoveryCode {
    type Err = Invalid;

    /// Accepts small letters, spaces and hyphens, and letters that people confuse with digits. Fails with `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("pattern", "A recovery code must be 16 letters and digits.");
        let mut characters = Zeroizing::new([0; LENGTH]);
        let mut given = raw.chars().filter(|character| !is_separator(*character));
        for character in &mut *characters {
            let read = match given.next().ok_or_else(invalid)?.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            *character = u8::try_from(read).ok().filter(|read| ALPHABET.contains(read)).ok_or_else(invalid)?;
        }
        if given.next().is_some() { Err(invalid()) } else { Ok(Self(characters)) }
    }
}

/// Hides the characters: with them, anybody who reads a log could use the code.
impl fmt::Debug for RecoveryCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RecoveryCode(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    proptest! {
        #[test]
        fn a_code_of_any_bytes_parses_to_itself_and_is_no_other(bytes: [u8; 10], other: [u8; 10]) {
            let (code, different) = (RecoveryCode::from_bytes(&bytes), RecoveryCode::from_bytes(&other));
            prop_assert_eq!(code.expose().parse::<RecoveryCode>(), Ok(code.clone()));
            prop_assert_eq!(code.expose().len(), LENGTH + 3);
            prop_assert_eq!(code == different, bytes == other);
            let shown = format!("{code:?}");
            prop_assert!(!shown.contains(&code.expose()[..4]));
        }
    }

    #[rstest]
    #[case("ABCD-EFGH-JK01-MNPQ")]
    #[case("abcdefghjk01mnpq")]
    #[case(" abcd efgh jkOl mnpq ")]
    #[case("ABCD-EFGH-JK0I-MNPQ")]
    fn every_spelling_of_a_code_parses_to_it(#[case] raw: &str) {
        assert_eq!(raw.parse::<RecoveryCode>().unwrap().expose(), "ABCD-EFGH-JK01-MNPQ");
    }

    #[rstest]
    #[case("")]
    #[case("ABCD-EFGH-JK01-MNP")]
    #[case("ABCD-EFGH-JK01-MNPQR")]
    #[case("UBCD-EFGH-JK01-MNPQ")]
    #[case("ÄBCD-EFGH-JK01-MNPQ")]
    fn other_texts_are_rejected(#[case] raw: &str) {
        assert_eq!(raw.parse::<RecoveryCode>().map(drop).map_err(|invalid| invalid.code), Err("pattern"));
    }
}
