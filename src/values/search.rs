//! Search for users: how a search term and the texts that it is compared with are normalised.

use std::{collections::BTreeSet, str::FromStr};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::{Invalid, characters::is_invisible, email::Email};

/// The maximum length of a text that is compared, in characters. PostgreSQL indexes at most 2,704 bytes.
const LONGEST: usize = 254;

/// A search term: the beginning of an e-mail address, a username or a word of a name. It has 1 to 254 characters, in any letter
/// case; white space around it is trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchTerm {
    text: String,
    address_prefix: Option<String>,
}

impl SearchTerm {
    /// Returns the normalised term, a prefix of the [`index_terms`] that it matches.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the prefix of the canonical e-mail addresses that the term matches. `None` if the term ends inside an
    /// internationalised label: its A-label is unknown until the label is complete, so only the Unicode form can be compared.
    pub fn address_prefix(&self) -> Option<&str> {
        self.address_prefix.as_deref()
    }
}

impl FromStr for SearchTerm {
    type Err = Invalid;

    /// Fails with `too_short`, `too_long` or `not_allowed` (NUL).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        if raw.contains('\0') {
            return Err(Invalid::new("not_allowed", "Must not contain the character NUL."));
        }
        if raw.chars().count() > LONGEST {
            return Err(Invalid::new("too_long", "Must have at most 254 characters."));
        }
        let text = truncate(&fold(raw)).to_owned();
        if text.is_empty() {
            return Err(Invalid::new("too_short", "Must have at least 1 visible character."));
        }
        Ok(Self { address_prefix: address_prefix(raw, &text), text })
    }
}

fn address_prefix(raw: &str, text: &str) -> Option<String> {
    if let Ok(email) = raw.parse::<Email>() {
        return Some(email.into_string());
    }
    // The labels before the last dot are complete, so their A-labels are known.
    let with_a_labels = raw.rsplit_once('@').and_then(|(local, domain)| {
        let (labels, last) = domain.rsplit_once(is_dot)?;
        let labels = idna::domain_to_ascii(labels).ok().filter(|labels| !labels.is_empty())?;
        Some(format!("{}@{labels}.{}", fold(local), fold(last)))
    });
    Some(with_a_labels.unwrap_or_else(|| text.to_owned())).filter(|prefix| prefix.is_ascii())
}

/// Returns whether a character is a full stop or one of those that UTS 46 maps to it.
fn is_dot(character: char) -> bool {
    matches!(character, '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}')
}

/// Returns the texts under which a search finds a user, in addition to the e-mail address and the username: the name from each
/// of its words to the end, and the Unicode form of an address with an internationalised domain.
pub fn index_terms(email: &str, name: Option<&str>) -> BTreeSet<String> {
    let mut terms: BTreeSet<_> = name.map(fold).iter().flat_map(|name| suffixes(name)).collect();
    if let Some((local, domain)) = email.split_once('@').filter(|(_, domain)| domain.contains("xn--")) {
        terms.insert(fold(&format!("{local}@{}", idna::domain_to_unicode(domain).0)));
    }
    terms.iter().map(|term| truncate(term).to_owned()).collect()
}

/// Returns the rest of a folded name from each of its words. A word begins after white space, and at a letter or digit after
/// any other character (`jean-luc`, `o'hara`); a combining mark belongs to the letter before it.
fn suffixes(name: &str) -> impl Iterator<Item = String> {
    let mut before = ' ';
    name.char_indices().filter_map(move |(at, character)| {
        let after_space = before.is_whitespace() && !character.is_whitespace();
        let after_sign = character.is_alphanumeric() && !before.is_alphanumeric() && !is_combining_mark(before);
        before = character;
        (after_space || after_sign).then(|| name[at..].to_owned())
    })
}

/// Normalises a text for comparison: compatibility characters, letter case, invisible characters and the amount of white space
/// make no difference; accents do.
fn fold(raw: &str) -> String {
    // Lower, upper, lower: `ẞ`, `ß` and `SS` become equal, and so do `Σ`, `σ` and `ς`.
    let cased = raw.nfkd().filter(|character| !is_invisible(*character)).flat_map(char::to_lowercase);
    let cased = cased.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    // Turkish writes `i` for the lower-case letter of `İ`.
    let text = cased.nfkc().collect::<String>().replace("i\u{307}", "i").replace('\u{3002}', ".");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn truncate(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::values::name::Name;

    fn term(raw: &str) -> SearchTerm {
        raw.parse().unwrap()
    }

    /// Returns whether a search finds a user with this address and name.
    fn finds(raw: &str, email: &str, name: &str) -> bool {
        let (term, email) = (term(raw), email.parse::<Email>().unwrap());
        let name = name.parse::<Name>().ok();
        let index_terms = index_terms(email.as_str(), name.as_ref().map(Name::as_str));
        term.address_prefix().is_some_and(|prefix| email.as_str().starts_with(prefix))
            || index_terms.iter().any(|text| text.starts_with(term.text()))
    }

    #[rstest]
    #[case("Ada Lovelace", &["ada lovelace", "lovelace"])]
    #[case("Jean-Luc O'Hara", &["hara", "jean-luc o'hara", "luc o'hara", "o'hara"])]
    #[case("Jose\u{301} A\u{30A}ngstro\u{308}m", &["josé ångström", "ångström"])]
    #[case("हिन्दी", &["हिन्दी"])]
    #[case("d\u{323}\u{307}q\u{323}\u{307}x", &["ḍ\u{307}q\u{323}\u{307}x"])]
    #[case("(Ada)  LOVELACE", &["(ada) lovelace", "ada) lovelace", "lovelace"])]
    #[case("Strauß ΟΔΥΣΣΕΎΣ", &["strauss οδυσσεύσ", "οδυσσεύσ"])]
    #[case("İbrahim IŞIK", &["ibrahim işik", "işik"])]
    #[case("毛沢 東", &["東", "毛沢 東"])]
    #[case("علی\u{200C}رضا", &["علیرضا"])]
    #[case("👩\u{200D}🚀 Ada", &["ada", "👩🚀 ada"])]
    fn a_name_is_indexed_from_each_of_its_words(#[case] name: &str, #[case] expected: &[&str]) {
        let found = index_terms("ada@example.org", Some(name));
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.iter().copied().collect());
    }

    #[rstest]
    #[case("eva@exämple.org")]
    #[case(" EVA@EXÄMPLE.ORG\u{A0}")]
    #[case("eva@exa\u{308}mple.org")]
    #[case("eva@xn--exmple-cua.org")]
    #[case("eva@XN--EXMPLE-CUA")]
    #[case("eva@xn--ex")]
    #[case("eva@exäm")]
    #[case("eva@exämple.")]
    #[case("eva@exämple.o")]
    #[case("eva@exämple。o")]
    #[case("eva@ｅｘämple．ｏｒｇ")]
    #[case("eva@e")]
    #[case("eva@")]
    #[case("EV")]
    #[case("bräu")]
    #[case("braun-br")]
    #[case("BRÄ\u{200B}U")]
    fn p04_every_prefix_of_every_spelling_of_an_address_finds_the_account(#[case] raw: &str) {
        assert!(finds(raw, "eva@exämple.org", "Eva Braun-Bräu"));
    }

    #[rstest]
    #[case("va")]
    #[case("example")]
    #[case("eva@exam")]
    #[case("eva@exämple.de")]
    #[case("eva@exämpel.org")]
    #[case("brau eva")]
    #[case("räu")]
    fn other_terms_do_not_find_it(#[case] raw: &str) {
        assert!(!finds(raw, "eva@exämple.org", "Eva Braun-Bräu"));
    }

    #[test]
    fn an_index_term_fits_into_an_index_even_if_normalising_makes_it_longer() {
        let longest = "\u{FDFA}-".repeat(50);
        assert!(index_terms("ada@example.org", Some(&longest)).iter().all(|term| term.len() <= 1_016));
        assert!(finds(&longest, "ada@example.org", &longest));
    }

    #[test]
    fn a_search_term_has_1_to_254_characters_at_least_one_of_them_visible() {
        let code = |raw: &str| raw.parse::<SearchTerm>().unwrap_err().code;
        assert_eq!([code(""), code(" \u{3000}"), code("\u{200B}")], ["too_short"; 3]);
        assert_eq!([code("a\0"), code(&"a".repeat(255))], ["not_allowed", "too_long"]);
        assert_eq!(term(&format!(" {} ", "a".repeat(254))).text().len(), 254);
    }

    proptest! {
        #[test]
        fn every_prefix_of_a_word_of_any_name_finds_it(raw in "[\\p{L}\\p{M} '-]{1,100}", letters in 1..20_usize) {
            if let Ok(name) = raw.parse::<Name>() {
                for word in name.as_str().split_whitespace().chain([name.as_str()]) {
                    let word = fold(word);
                    let beginning: String = word.chars().take(letters).collect();
                    let found = index_terms("a@b.example", Some(name.as_str())).iter().any(|term| term.starts_with(&beginning));
                    prop_assert!(found, "{:?} in {:?}", beginning, name);
                }
            }
        }

        #[test]
        fn folding_twice_changes_nothing(raw in "\\PC{0,40}") {
            let once = fold(&raw);
            prop_assert_eq!(&fold(&once), &once);
        }
    }
}
