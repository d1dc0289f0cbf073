//! E-mail addresses: one account, one spelling, whatever the letter case or the domain's script.

use std::str::FromStr;

use super::{
    Invalid,
    characters::{first_foreign, is_invisible},
    word::word,
};

/// RFC 5321 section 4.5.3.1.3: 256 with the angle brackets around it.
const LONGEST: usize = 254;
/// RFC 5321 section 4.5.3.1.1.
const LONGEST_LOCAL_PART: usize = 64;

/// An e-mail address: ASCII dot-atom, lower-cased, at most 64 bytes; `@`; domain as IDNA A-labels (UTS 46, strict) with at
/// least one dot; at most 254 bytes. White space around it is trimmed, because keyboards add it.
///
/// Quoted local parts, IP addresses, bare host names and trailing dots are refused. Full-width letters and the ideographic
/// full stop in a domain are other spellings of ASCII and are mapped; characters that are drawn as nothing are refused
/// although UTS 46 would drop them, because nobody types them in good faith.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

word!(Email);

impl Email {
    /// What stands before the `@`, lower-case ASCII.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(local, _)| local)
    }

    /// What stands after the `@`, as A-labels.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for Email {
    type Err = Invalid;

    /// # Errors
    /// `too_long` (address or local part) or `format`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        if raw.chars().count() > LONGEST {
            return Err(too_long());
        }
        let (local, domain) = raw.rsplit_once('@').ok_or_else(|| Invalid::new("format", "An e-mail address needs an @."))?;
        if let Some(which) = first_foreign(local, is_atom_text) {
            let rule = "The part before the @ takes ASCII letters, digits, dots and !#$%&'*+-/=?^_`{|}~";
            return Err(Invalid::new("format", format!("{rule}, but {which}.")));
        }
        if local.split('.').any(str::is_empty) {
            return Err(Invalid::new("format", "The part before the @ has single dots, and none at either end."));
        }
        if local.len() > LONGEST_LOCAL_PART {
            return Err(Invalid::new("too_long", "The part before the @ has at most 64 characters."));
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
    Invalid::new("too_long", "An e-mail address has at most 254 characters.")
}

/// Whether a character may stand in a dot-atom (RFC 5322 section 3.2.3).
fn is_atom_text(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
}

fn not_a_domain(raw: &str) -> Invalid {
    let can_stand = |it: char| !is_invisible(it) && (!it.is_ascii() || it.is_ascii_alphanumeric() || matches!(it, '.' | '-'));
    let which = first_foreign(raw, can_stand).map_or_else(String::new, |which| format!(": {which}"));
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
    fn p04_one_account_has_one_spelling(#[case] raw: &str, #[case] expected: &str) {
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
    fn p04_look_alikes_and_invisible_letters_are_refused(#[case] raw: &str) {
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
    fn what_is_no_address_is_refused(#[case] raw: &str) {
        assert_eq!(canonical(raw), Err("format"));
    }

    #[test]
    fn lengths_are_those_of_the_canonical_spelling() {
        let label = "d".repeat(63);
        let longest = format!("{}@{label}.{label}.{}", "l".repeat(64), "d".repeat(61));
        assert_eq!(longest.len(), 254);
        assert_eq!(canonical(&longest), Ok(longest.clone()));
        assert_eq!(canonical(&format!("{longest}d")), Err("too_long"));
        assert_eq!(canonical(&format!("{}@example.org", "l".repeat(65))), Err("too_long"));
        assert_eq!(canonical(&format!("ada@{}.org", "d".repeat(64))), Err("format"));
        // 124 characters, but 278 bytes once they are A-labels.
        assert_eq!(canonical(&format!("{}@{}org", "l".repeat(64), "日本語.".repeat(14))), Err("too_long"));
    }

    #[test]
    fn an_address_knows_its_two_parts() {
        let email: Email = "Ada@Bücher.example".parse().unwrap();
        assert_eq!((email.local_part(), email.domain()), ("ada", "xn--bcher-kva.example"));
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
        fn letter_case_makes_no_second_account(
            local in "[a-z0-9+_.-]{1,12}",
            domain in "([a-zäöüßéñκλд日本]{1,8}\\.){1,2}[a-zéд]{2,6}"
        ) {
            let lower = canonical(&format!("{local}@{domain}"));
            prop_assert_eq!(canonical(&format!("{}@{domain}", local.to_uppercase())), lower);
        }
    }
}
