//! Passwords. They may use any script, and there are no composition rules, but common passwords cannot be set.

use std::{cmp::Reverse, fmt, str::FromStr};

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::{Invalid, common_passwords};

/// In characters. The setting `password.min_length` may require more (NIST SP 800-63B-4 section 3.1.1.2, ASVS 6.2.1).
const SHORTEST: usize = 8;
/// In bytes. Hashing a longer text would cost too much.
const LONGEST: usize = 1024;

/// A password as a caller presents it: 1 to 1,024 bytes in NFC, without NUL. Nothing is trimmed. The password is wiped from
/// memory when the value is dropped, and `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Returns the password, to hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = Invalid;

    /// Fails with `too_short` (empty), `too_long` or `not_allowed` (NUL).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        // NFC is at most three times as long (Unicode's normalization FAQ). Reserve all of it: a string that grows leaves
        // copies.
        let mut password = Zeroizing::new(String::with_capacity(raw.len() * 3));
        password.extend(raw.nfc());
        match password.len() {
            0 => Err(Invalid::new("too_short", "A password must not be empty.")),
            1..=LONGEST if password.contains('\0') => {
                Err(Invalid::new("not_allowed", "A password must not contain the character NUL."))
            }
            1..=LONGEST => Ok(Self(password)),
            _ => Err(Invalid::new("too_long", "A password must have at most 1,024 bytes.")),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// A password that may be set: a [`Password`] of at least 8 characters that is not a common password in any letter case. Call
/// [`NewPassword::check_policy`] before you store it.
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

impl NewPassword {
    /// Returns the password, to hash it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Checks the rules that depend on the settings and on the account. `min_length` is in characters.
    ///
    /// Fails with `too_short`, or with `contains_identity` if the password consists of the account's names, in any letter case,
    /// and a little decoration. The names are the e-mail address, its two parts, the username, `vestibule`, and every word of
    /// three letters or more in these. They are removed from the password. The password fails if the rest has no letter and
    /// could not be a password by itself, because it has fewer than 8 characters or is a common password. For
    /// `ada.lovelace@example.org`, `Ada.Lovelace-1815` fails and `ada likes tall ships` does not.
    pub fn check_policy(&self, min_length: usize, email: &str, username: Option<&str>) -> Result<(), Invalid> {
        check_length(self.expose(), min_length)?;
        let (local_part, domain) = email.split_once('@').unwrap_or((email, ""));
        let names = [email, local_part, domain, username.unwrap_or_default(), "vestibule"];
        if consists_of(self.expose(), &names) {
            return Err(Invalid::new(
                "contains_identity",
                "A password must not consist of the account's e-mail address, its username or this service's name.",
            ));
        }
        Ok(())
    }
}

impl FromStr for NewPassword {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long`, `not_allowed` (NUL) or `common_password`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let password: Password = raw.parse()?;
        check_length(password.expose(), SHORTEST)?;
        if common_passwords::contains(password.expose()) {
            return Err(Invalid::new("common_password", "This is a common password."));
        }
        Ok(Self(password))
    }
}

impl From<NewPassword> for Password {
    fn from(new: NewPassword) -> Self {
        new.0
    }
}

fn check_length(password: &str, min_length: usize) -> Result<(), Invalid> {
    if password.chars().count() < min_length {
        return Err(Invalid::new("too_short", format!("A password must have at least {min_length} characters.")));
    }
    Ok(())
}

fn consists_of(password: &str, names: &[&str]) -> bool {
    let words = names
        .iter()
        .flat_map(|name| name.split(|character: char| !character.is_ascii_alphabetic()))
        .filter(|word| word.len() >= 3);
    let mut parts: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).chain(words).collect();
    parts.sort_by_key(|part| Reverse(part.len()));

    let mut rest = Zeroizing::new(password.to_ascii_lowercase());
    for part in parts {
        // NUL occurs in no password. It keeps apart the texts on both sides of the name that is removed.
        rest = Zeroizing::new(rest.replace(part, "\0"));
    }
    let rest = Zeroizing::new(rest.replace('\0', ""));
    !rest.contains(char::is_alphabetic) && (rest.chars().count() < SHORTEST || common_passwords::contains(&rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn code<T>(parsed: Result<T, Invalid>) -> Option<&'static str> {
        parsed.err().map(|invalid| invalid.code)
    }

    #[rstest]
    #[case("password")]
    #[case("PassWord1")]
    #[case("12345678")]
    #[case("qwertyuiop")]
    #[case("P@ssw0rd")]
    fn p02_a_common_password_is_rejected_in_any_letter_case(#[case] raw: &str) {
        assert_eq!(code(raw.parse::<NewPassword>()), Some("common_password"));
        assert_eq!(code(raw.parse::<Password>()), None);
    }

    #[rstest]
    #[case("", Some("too_short"), Some("too_short"))]
    #[case("x", None, Some("too_short"))]
    #[case("1234567", None, Some("too_short"))]
    #[case("наступил", None, None)]
    #[case("        ", None, None)]
    #[case(" correct horse ", None, None)]
    #[case("🐎🔋📎🐎🔋📎🐎", None, Some("too_short"))]
    #[case("battery\0staple", Some("not_allowed"), Some("not_allowed"))]
    fn p01_any_script_is_allowed_and_the_length_is_counted_in_characters(
        #[case] raw: &str,
        #[case] presented: Option<&str>,
        #[case] new: Option<&str>,
    ) {
        assert_eq!(code(raw.parse::<Password>()), presented);
        assert_eq!(code(raw.parse::<NewPassword>()), new);
    }

    #[test]
    fn p01_nothing_is_trimmed_or_cut() {
        assert_eq!(" correct horse ".parse::<Password>().unwrap().expose(), " correct horse ");
        for ending in ["A", "B"] {
            let raw = "a".repeat(72) + ending;
            assert_eq!(raw.parse::<NewPassword>().unwrap().expose(), raw);
        }
    }

    #[test]
    fn p01_the_limit_is_1024_bytes_after_nfc() {
        assert_eq!(code("x".repeat(1024).parse::<NewPassword>()), None);
        assert_eq!(code("x".repeat(1025).parse::<Password>()), Some("too_long"));
        assert_eq!(code("é".repeat(513).parse::<Password>()), Some("too_long"));
        assert_eq!("e\u{301}".repeat(512).parse::<Password>().unwrap().expose(), "é".repeat(512));
    }

    #[test]
    fn debug_hides_a_password() {
        let new: NewPassword = "correct horse".parse().unwrap();
        assert_eq!(format!("{new:?}"), "NewPassword(Password(hidden))");
        assert_eq!(Password::from(new).expose(), "correct horse");
    }

    #[rstest]
    #[case::local_part("Ada.Lovelace")]
    #[case::decorated("Ada.Lovelace-1815!")]
    #[case::without_dot("adalovelace")]
    #[case::half_of_it("lovelace99")]
    #[case::repeated("adaAdaADA")]
    #[case::email("ada.lovelace@engine.example")]
    #[case::domain("engine.example1")]
    #[case::username("C3PO1852")]
    #[case::service("Vestibule")]
    #[case::service_decorated("_vestibule2026_")]
    #[case::mixed("c3po-vestibule-ada")]
    #[case::common_digits("lovelace12345678")]
    fn p02_a_password_that_consists_of_the_accounts_names_is_rejected(#[case] raw: &str) {
        let email = "ada.lovelace@engine.example";
        let username = "c3po";
        let password: NewPassword = raw.parse().unwrap();
        assert_eq!(code(password.check_policy(8, email, Some(username))), Some("contains_identity"));
    }

    #[rstest]
    #[case("ada likes tall ships")]
    #[case("canadair")]
    #[case("vestibules are cold")]
    #[case("ada 8317 2649 0175")]
    #[case("correct horse battery staple")]
    #[case("vesadatibule")]
    fn p02_a_password_that_only_contains_a_name_is_accepted(#[case] raw: &str) {
        let (email, username) = ("ada@engine.example", "ada");
        assert_eq!(raw.parse::<NewPassword>().unwrap().check_policy(8, email, Some(username)), Ok(()));
    }

    #[test]
    fn the_minimum_length_is_a_setting() {
        let password: NewPassword = "tall ships".parse().unwrap();
        let email = "ada@engine.example";
        assert_eq!(password.check_policy(10, email, None), Ok(()));
        let invalid = password.check_policy(11, email, None).unwrap_err();
        assert_eq!((invalid.code, invalid.to_string().as_str()), ("too_short", "A password must have at least 11 characters."));
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_password_is_the_same_password(raw in "[\\pL\\pM\\pN\\pP ]{1,60}") {
            let composed: Password = raw.parse().unwrap();
            let decomposed: Password = raw.nfd().collect::<String>().parse().unwrap();
            prop_assert_eq!(composed.expose(), decomposed.expose());
            let again: Password = composed.expose().parse().unwrap();
            prop_assert_eq!(again.expose(), composed.expose());
        }
    }
}
