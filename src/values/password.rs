//! Passwords: secrets that people choose. Any script, no composition rules, only not one that everybody tries first.

use std::{fmt, str::FromStr, sync::LazyLock};

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::Invalid;

/// In characters; a setting may ask for more (NIST SP 800-63B-4 section 3.1.1.2, ASVS 6.2.1).
const SHORTEST: usize = 8;
/// In bytes, so that nobody makes us hash a book.
const LONGEST: usize = 1024;

/// The passwords of at least [`SHORTEST`] characters among the 20,000 most common, from the package Django 5.2 of `PyPI`
/// (`django/contrib/auth/common-passwords.txt.gz`, BSD-3-Clause, see `common_passwords.LICENSE`): ASCII, lower-case, sorted.
static COMMON: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// A password as somebody presents it: NFC, 1 to 1,024 bytes, no NUL, nothing trimmed. Wiped from memory when dropped;
/// `Debug` does not show it.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The password itself, for the hasher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Password {
    type Err = Invalid;

    /// # Errors
    /// `too_short` (empty), `too_long` or `not_allowed` (NUL).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        // NFC is at most three times as long (Unicode's normalization FAQ). Room for all of it: growing would leave copies.
        let mut password = Zeroizing::new(String::with_capacity(raw.len() * 3));
        password.extend(raw.nfc());
        match password.len() {
            0 => Err(Invalid::new("too_short", "A password is needed.")),
            1..=LONGEST if password.contains('\0') => Err(Invalid::new("not_allowed", "A password has no NUL character.")),
            1..=LONGEST => Ok(Self(password)),
            _ => Err(Invalid::new("too_long", "A password has at most 1,024 bytes.")),
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// A password that may be set: a [`Password`] of at least 8 characters that is not among the most common ones, whatever
/// its letter case. Whether it fits an account is asked with [`NewPassword::fits`].
#[derive(Clone, Debug)]
pub struct NewPassword(Password);

impl NewPassword {
    /// The password itself, for the hasher.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Checks what depends on the settings and on whose password it is. `min_length` is in characters.
    ///
    /// A password is refused as *made of* the account's names when it is these names, once or repeated, in any letter case,
    /// with nothing but a little decoration. That is: take out the email, its two parts, the username, `vestibule` and every
    /// word of three letters or more in them; what is left has no letter and could not be a password by itself (under 8
    /// characters, or common). `Ada.Lovelace-1815` is made of `ada.lovelace@example.org`; `ada likes tall ships` is not.
    ///
    /// # Errors
    /// `too_short` or `contains_identity`.
    pub fn fits(&self, min_length: usize, email: &str, username: Option<&str>) -> Result<(), Invalid> {
        long_enough(self.expose(), min_length)?;
        let (local_part, domain) = email.split_once('@').unwrap_or((email, ""));
        let names = [email, local_part, domain, username.unwrap_or_default(), "vestibule"];
        if is_made_of(self.expose(), &names) {
            return Err(Invalid::new(
                "contains_identity",
                "A password must not be made of the account's e-mail address, its username or this service's name.",
            ));
        }
        Ok(())
    }
}

impl FromStr for NewPassword {
    type Err = Invalid;

    /// # Errors
    /// `too_short`, `too_long`, `not_allowed` (NUL) or `common_password`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let password: Password = raw.parse()?;
        long_enough(password.expose(), SHORTEST)?;
        if is_common(password.expose()) {
            return Err(Invalid::new("common_password", "This is one of the most common passwords."));
        }
        Ok(Self(password))
    }
}

impl From<NewPassword> for Password {
    fn from(new: NewPassword) -> Self {
        new.0
    }
}

fn long_enough(password: &str, min_length: usize) -> Result<(), Invalid> {
    if password.chars().count() < min_length {
        return Err(Invalid::new("too_short", format!("A password has at least {min_length} characters.")));
    }
    Ok(())
}

fn is_common(password: &str) -> bool {
    // The list is ASCII, so ASCII case is all the case there is.
    let password = Zeroizing::new(password.to_ascii_lowercase());
    COMMON.binary_search(&password.as_str()).is_ok()
}

fn is_made_of(password: &str, names: &[&str]) -> bool {
    let words = names.iter().flat_map(|name| name.split(|c: char| !c.is_ascii_alphabetic())).filter(|word| word.len() >= 3);
    let mut parts: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).chain(words).collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));

    let mut rest = Zeroizing::new(password.to_ascii_lowercase());
    for part in parts {
        // Leaves a mark that no password holds, so that what stood apart does not become a word.
        rest = Zeroizing::new(rest.replace(part, "\0"));
    }
    let rest = Zeroizing::new(rest.replace('\0', ""));
    !rest.contains(char::is_alphabetic) && (rest.chars().count() < SHORTEST || is_common(&rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn refusal<T>(parsed: Result<T, Invalid>) -> Option<&'static str> {
        parsed.err().map(|invalid| invalid.code)
    }

    #[test]
    fn the_common_passwords_are_lower_case_sorted_and_long_enough_to_matter() {
        assert!(COMMON.len() > 5_000);
        assert!(COMMON.is_sorted());
        for common in COMMON.iter() {
            assert!(common.len() >= SHORTEST && common.is_ascii() && *common == common.to_ascii_lowercase(), "{common}");
        }
    }

    #[rstest]
    #[case("password")]
    #[case("PassWord1")]
    #[case("12345678")]
    #[case("qwertyuiop")]
    #[case("P@ssw0rd")]
    fn p02_a_common_password_is_refused_in_any_letter_case(#[case] raw: &str) {
        assert_eq!(refusal(raw.parse::<NewPassword>()), Some("common_password"));
        assert_eq!(refusal(raw.parse::<Password>()), None);
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
    fn p01_any_script_counts_in_characters(#[case] raw: &str, #[case] presented: Option<&str>, #[case] new: Option<&str>) {
        assert_eq!(refusal(raw.parse::<Password>()), presented);
        assert_eq!(refusal(raw.parse::<NewPassword>()), new);
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
        assert_eq!(refusal("x".repeat(1024).parse::<NewPassword>()), None);
        assert_eq!(refusal("x".repeat(1025).parse::<Password>()), Some("too_long"));
        assert_eq!(refusal("é".repeat(513).parse::<Password>()), Some("too_long"));
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
    fn p02_a_password_made_of_the_accounts_names_is_refused(#[case] raw: &str) {
        let email = "ada.lovelace@engine.example";
        let username = "c3po";
        let password: NewPassword = raw.parse().unwrap();
        assert_eq!(refusal(password.fits(8, email, Some(username))), Some("contains_identity"));
    }

    #[rstest]
    #[case("ada likes tall ships")]
    #[case("canadair")]
    #[case("vestibules are cold")]
    #[case("ada 8317 2649 0175")]
    #[case("correct horse battery staple")]
    #[case("vesadatibule")]
    fn p02_a_password_that_merely_holds_a_name_is_fine(#[case] raw: &str) {
        let (email, username) = ("ada@engine.example", "ada");
        assert_eq!(raw.parse::<NewPassword>().unwrap().fits(8, email, Some(username)), Ok(()));
    }

    #[test]
    fn the_least_length_is_a_setting() {
        let password: NewPassword = "tall ships".parse().unwrap();
        let email = "ada@engine.example";
        assert_eq!(password.fits(10, email, None), Ok(()));
        let refused = password.fits(11, email, None).unwrap_err();
        assert_eq!((refused.code, refused.to_string().as_str()), ("too_short", "A password has at least 11 characters."));
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
