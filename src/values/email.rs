//! E-mail addresses. All spellings of an address, in any letter case and any script of the domain, parse to one canonical
//! address, so that no address can have two accounts.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    Invalid,
    characters::{first_disallowed, is_invisible},
    string_newtype::string_newtype,
};

/// RFC 5321 section 4.5.3.1.3: 256 bytes with the angle brackets around the address.
const LONGEST: usize = 254;
/// RFC 5321 section 4.5.3.1.1.
const LONGEST_LOCAL_PART: usize = 64;

/// An e-mail address of at most 254 bytes: an ASCII dot-atom of at most 64 bytes, lower-cased; `@`; a domain as IDNA A-labels
/// (UTS 46, strict) with at least one dot. White space around the address is trimmed, because keyboards add it.
///
/// Quoted local parts, IP addresses, bare host names and trailing dots are rejected. In a domain, full-width letters and the
/// ideographic full stop are mapped to ASCII. Invisible characters are rejected although UTS 46 would drop them, because nobody
/// types them in good faith.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Email(String);

string_newtype!(Email);

impl Email {
    /// An address that the database stores.
    pub(crate) fn stored(address: &str) -> Self {
        Self(address.to_owned())
    }
}

impl TryFrom<String> for Email {
    type Error = Invalid;

    fn try_from(raw: String) -> Result<Self, Invalid> {
        raw.parse()
    }
}

impl FromStr for Email {
    type Err = Invalid;

    /// Fails with `too_long` (the address or its local part) or `format`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        if raw.chars().count() > LONGEST {
            return Err(too_long());
        }
        let (local, domain) =
            raw.rsplit_once('@').ok_or_else(|| Invalid::new("format", "An e-mail address must contain an @."))?;
        if let Some(which) = first_disallowed(local, is_atom_text) {
            let rule = "The part before the @ may contain only ASCII letters, digits, dots and !#$%&'*+-/=?^_`{|}~";
            return Err(Invalid::new("format", format!("{rule}, but {which}.")));
        }
        if local.split('.').any(str::is_empty) {
            return Err(Invalid::new(
                "format",
                "The part before the @ must not begin or end with a dot or contain two dots in a row.",
            ));
        }
        if local.len() > LONGEST_LOCAL_PART {
            return Err(Invalid::new("too_long", "The part before the @ must have at most 64 characters."));
        }
        let domain = canonical_domain(domain).ok_or_else(|| not_a_domain(domain))?;
        // ASCII only: `to_lowercase` would turn the Kelvin sign into a k.
        let address = format!("{}@{domain}", local.to_ascii_lowercase());
        if address.len() > LONGEST {
            return Err(too_long());
        }
        Ok(Self(address))
    }
}

fn too_long() -> Invalid {
    Invalid::new("too_long", "An e-mail address must have at most 254 characters.")
}

/// Returns whether a character is allowed in a dot-atom (RFC 5322 section 3.2.3).
fn is_atom_text(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
}

fn not_a_domain(raw: &str) -> Invalid {
    let is_allowed = |character: char| match character {
        '.' | '-' => true,
        ascii if ascii.is_ascii() => ascii.is_ascii_alphanumeric(),
        other => !is_invisible(other),
    };
    let which = first_disallowed(raw, is_allowed).map_or_else(String::new, |which| format!(": {which}"));
    Invalid::new("format", format!("The part after the @ is not a domain name{which}."))
}

fn canonical_domain(raw: &str) -> Option<String> {
    if raw.contains(is_invisible) {
        return None;
    }
    let domain = idna::domain_to_ascii_strict(raw).ok()?;
    let (_, top) = domain.rsplit_once('.')?;
    // An all-numeric last label would be an IPv4 address (RFC 3696 section 2).
    (!top.bytes().all(|byte| byte.is_ascii_digit())).then_some(domain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn canonical(raw: &str) -> Result<String, &'static str> {
        raw.parse::<Email>().map(Email::into_string).map_err(|invalid| invalid.code)
    }

    #[rstest]
    #[case("ada@example.org", "ada@example.org")]
    #[case("Ada.Lovelace+Notes@Example.ORG", "ada.lovelace+notes@example.org")]
    #[case("admin@vestibule.invalid", "admin@vestibule.invalid")]
    #[case("o'hara@mail.example.co.uk", "o'hara@mail.example.co.uk")]
    #[case("ada@bücher.example", "ada@xn--bcher-kva.example")]
    #[case("ada@BÜCHER.example", "ada@xn--bcher-kva.example")]
    #[case("ada@bu\u{308}cher.example", "ada@xn--bcher-kva.example")]
    #[case("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example")]
    #[case("ada@ｅｘａｍｐｌｅ。ｏｒｇ", "ada@example.org")]
    #[case("ada@例え.テスト", "ada@xn--r8jz45g.xn--zckzah")]
    #[case("\t ada@example.org\u{A0}\r\n", "ada@example.org")]
    #[case("\u{3000}ada@bücher.example ", "ada@xn--bcher-kva.example")]
    fn p04_every_spelling_parses_to_the_canonical_address(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(canonical(raw).as_deref(), Ok(expected));
    }

    #[rstest]
    #[case::dotless_i("adm\u{131}n@example.org")]
    #[case::kelvin_sign("\u{212A}elvin@example.org")]
    #[case::long_s("\u{17F}ue@example.org")]
    #[case::full_width("\u{FF41}da@example.org")]
    #[case::cyrillic("\u{430}da@example.org")]
    #[case::umlaut("jürgen@example.org")]
    #[case::zero_width("a\u{200B}da@example.org")]
    #[case::soft_hyphen("a\u{AD}da@example.org")]
    #[case::bidi("a\u{202E}da@example.org")]
    #[case::zero_width_in_the_domain("ada@exam\u{200B}ple.org")]
    #[case::joiner_in_the_domain("ada@exam\u{200D}ple.org")]
    #[case::soft_hyphen_in_the_domain("ada@exam\u{AD}ple.org")]
    #[case::bidi_in_the_domain("ada@\u{202E}example.org")]
    #[case::byte_order_mark("ada@example.org\u{FEFF}")]
    fn p04_look_alikes_and_invisible_letters_are_rejected(#[case] raw: &str) {
        assert_eq!(canonical(raw), Err("format"));
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_at("ada.example.org")]
    #[case::no_local_part("@example.org")]
    #[case::no_domain("ada@")]
    #[case::two_ats("ada@home@example.org")]
    #[case::full_width_at("ada@home\u{FF20}example.org")]
    #[case::bare_host("ada@localhost")]
    #[case::trailing_dot("ada@example.org.")]
    #[case::ideographic_trailing_dot("ada@example.org。")]
    #[case::leading_dot("ada@.example.org")]
    #[case::double_dot("ada@example..org")]
    #[case::dots_in_the_local_part("ada..l@example.org")]
    #[case::local_dot_first(".ada@example.org")]
    #[case::local_dot_last("ada.@example.org")]
    #[case::quoted("\"ada l\"@example.org")]
    #[case::ip_literal("ada@[127.0.0.1]")]
    #[case::ipv6_literal("ada@[IPv6:::1]")]
    #[case::ip("ada@127.0.0.1")]
    #[case::full_width_ip("ada@１２７.０.０.１")]
    #[case::underscore("ada@ex_ample.org")]
    #[case::hyphen_first("ada@-example.org")]
    #[case::bad_a_label("ada@xn--zzzzzzzzz999.org")]
    #[case::nul("ada\0@example.org")]
    #[case::nul_in_the_domain("ada@example.org\0")]
    #[case::space_inside("ada @example.org")]
    #[case::space_in_the_domain("ada@example .org")]
    #[case::no_break_space("ada@\u{A0}example.org")]
    #[case::new_line("ada@example.org\ngrace@example.org")]
    #[case::white_space(" \n")]
    #[case::display_name("Ada <ada@example.org>")]
    fn other_texts_are_rejected(#[case] raw: &str) {
        assert_eq!(canonical(raw), Err("format"));
    }

    #[test]
    fn the_length_of_the_canonical_address_is_limited() {
        let label = "d".repeat(63);
        let longest = format!("{}@{label}.{label}.{}", "l".repeat(64), "d".repeat(61));
        assert_eq!(longest.len(), 254);
        assert_eq!(canonical(&longest), Ok(longest.clone()));
        assert_eq!(canonical(&format!("{longest}d")), Err("too_long"));
        assert_eq!(canonical(&format!("{}@example.org", "l".repeat(65))), Err("too_long"));
        assert_eq!(canonical(&format!("ada@{}.org", "d".repeat(64))), Err("format"));
        // 124 characters, but 278 bytes as A-labels.
        assert_eq!(canonical(&format!("{}@{}org", "l".repeat(64), "日本語.".repeat(14))), Err("too_long"));
    }

    proptest! {
        #[test]
        fn p04_canonicalising_twice_changes_nothing(
            raw in "[!-~]{1,12}@([\\w\u{AD}-]{1,8}[.。．]){1,3}\\w{2,8}|\\PC{0,9}@\\PC{0,20}\\.\\PC{1,9}"
        ) {
            if let Ok(once) = raw.parse::<Email>() {
                prop_assert!(once.as_str().is_ascii() && once.as_str().len() <= 254);
                prop_assert_eq!(once.as_str(), once.as_str().to_ascii_lowercase());
                prop_assert_eq!(once.as_str().parse::<Email>(), Ok(once.clone()));
            }
        }

        #[test]
        fn letter_case_makes_no_difference(
            local in "[a-z0-9+_.-]{1,12}",
            domain in "([a-zäöüßéñκλд日本]{1,8}\\.){1,2}[a-zéд]{2,6}"
        ) {
            let lower = canonical(&format!("{local}@{domain}"));
            prop_assert_eq!(canonical(&format!("{}@{domain}", local.to_uppercase())), lower);
        }
    }
}
