//! Searching for people: how a search term and the texts it is compared with are brought into one spelling.

use std::{collections::BTreeSet, str::FromStr};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::{Invalid, characters::is_invisible, email::Email};

/// The longest text that is compared, in characters. PostgreSQL indexes at most 2,704 bytes.
const LONGEST: usize = 254;

/// The beginning of an e-mail address, a username or a word of a name: 1 to 254 characters, in any letter case, without
/// the white space around them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    text: String,
    address: Option<String>,
}

impl Search {
    /// The term as [`words`] spells what it may find.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The beginning of the canonical e-mail addresses that the term finds. `None` if it ends inside an internationalised
    /// label: no beginning of the A-label is known then, and only the Unicode spelling can be compared.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }
}

impl FromStr for Search {
    type Err = Invalid;

    /// # Errors
    /// `too_short`, `too_long` or `not_allowed` (NUL).
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        if raw.contains('\0') {
            return Err(Invalid::new("not_allowed", "Must not hold the character NUL."));
        }
        if raw.chars().count() > LONGEST {
            return Err(Invalid::new("too_long", "A search has at most 254 characters."));
        }
        let text = cut(&fold(raw)).to_owned();
        if text.is_empty() {
            return Err(Invalid::new("too_short", "A search has at least 1 character that can be seen."));
        }
        Ok(Self { address: address(raw, &text), text })
    }
}

/// What a term finds among the canonical addresses.
fn address(raw: &str, text: &str) -> Option<String> {
    if let Ok(email) = raw.parse::<Email>() {
        return Some(email.into_string());
    }
    // The labels before the last dot are whole, so their A-labels are known.
    let whole = raw.rsplit_once('@').and_then(|(local, domain)| {
        let (labels, last) = domain.rsplit_once(is_dot)?;
        let labels = idna::domain_to_ascii(labels).ok().filter(|it| !it.is_empty())?;
        Some(format!("{}@{labels}.{}", fold(local), fold(last)))
    });
    Some(whole.unwrap_or_else(|| text.to_owned())).filter(|it| it.is_ascii())
}

/// The full stop, and what UTS 46 takes for one in a domain.
fn is_dot(character: char) -> bool {
    matches!(character, '.' | '\u{3002}' | '\u{FF0E}' | '\u{FF61}')
}

/// The texts under which a search finds a user beside the e-mail address and the username themselves: the name from each
/// of its words on, and an address whose domain is internationalised as people write it.
pub fn words(email: &str, name: Option<&str>) -> BTreeSet<String> {
    let mut words: BTreeSet<_> = name.map(fold).iter().flat_map(|name| beginnings(name)).collect();
    if let Some((local, domain)) = email.split_once('@').filter(|(_, domain)| domain.contains("xn--")) {
        words.insert(fold(&format!("{local}@{}", idna::domain_to_unicode(domain).0)));
    }
    words.iter().map(|it| cut(it).to_owned()).collect()
}

/// The rest of a folded name from each of its words on. A word begins after white space, and where letters or digits begin
/// after anything else (`jean-luc`, `o'hara`); marks belong to the letter before them.
fn beginnings(name: &str) -> impl Iterator<Item = String> {
    let mut before = ' ';
    name.char_indices().filter_map(move |(at, character)| {
        let after_space = before.is_whitespace() && !character.is_whitespace();
        let after_sign = character.is_alphanumeric() && !before.is_alphanumeric() && !is_combining_mark(before);
        before = character;
        (after_space || after_sign).then(|| name[at..].to_owned())
    })
}

/// A text as it is compared: compatibility characters, letter case, invisible characters and the amount of white space make
/// no difference. Accents do.
fn fold(raw: &str) -> String {
    // Lower, upper, lower: `ẞ`, `ß` and `SS` become one, and so do `Σ`, `σ` and `ς`.
    let cased = raw.nfkd().filter(|it| !is_invisible(*it)).flat_map(char::to_lowercase);
    let cased = cased.flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    // The lower-case letter of the Turkish `İ` is an `i` for the people who write it.
    let text = cased.nfkc().collect::<String>().replace("i\u{307}", "i").replace('\u{3002}', ".");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(LONGEST).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::values::name::Name;

    fn search(raw: &str) -> Search {
        raw.parse().unwrap()
    }

    /// Whether a search finds a user with this address and name.
    fn finds(raw: &str, email: &str, name: &str) -> bool {
        let (search, email) = (search(raw), email.parse::<Email>().unwrap());
        let name = name.parse::<Name>().ok();
        let words = words(email.as_str(), name.as_ref().map(Name::as_str));
        search.address().is_some_and(|it| email.as_str().starts_with(it)) || words.iter().any(|it| it.starts_with(search.text()))
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
    fn a_name_is_found_from_each_of_its_words_on(#[case] name: &str, #[case] expected: &[&str]) {
        let found = words("ada@example.org", Some(name));
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
    fn p04_every_spelling_of_an_address_and_every_beginning_of_it_finds_the_account(#[case] raw: &str) {
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
    fn nothing_else_does(#[case] raw: &str) {
        assert!(!finds(raw, "eva@exämple.org", "Eva Braun-Bräu"));
    }

    #[test]
    fn what_is_compared_fits_into_an_index_however_long_it_becomes() {
        let longest = "\u{FDFA}-".repeat(50);
        assert!(words("ada@example.org", Some(&longest)).iter().all(|it| it.len() <= 1_016));
        assert!(finds(&longest, "ada@example.org", &longest));
    }

    #[test]
    fn a_search_has_1_to_254_characters_that_can_be_seen() {
        let code = |raw: &str| raw.parse::<Search>().unwrap_err().code;
        assert_eq!([code(""), code(" \u{3000}"), code("\u{200B}")], ["too_short"; 3]);
        assert_eq!([code("a\0"), code(&"a".repeat(255))], ["not_allowed", "too_long"]);
        assert_eq!(search(&format!(" {} ", "a".repeat(254))).text().len(), 254);
    }

    proptest! {
        #[test]
        fn every_beginning_of_a_word_of_any_name_finds_it(raw in "[\\p{L}\\p{M} '-]{1,100}", letters in 1..20_usize) {
            if let Ok(name) = raw.parse::<Name>() {
                for word in name.as_str().split_whitespace().chain([name.as_str()]) {
                    let word = fold(word);
                    let beginning: String = word.chars().take(letters).collect();
                    let found = words("a@b.example", Some(name.as_str())).iter().any(|it| it.starts_with(&beginning));
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
