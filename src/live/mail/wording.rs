//! Times and durations in words, and names that are safe to greet with.

use std::time::Duration;

use chrono::{DateTime, Datelike, Timelike, Utc};
use unicode_normalization::char::is_combining_mark;

use crate::values::{factor_kind::FactorKind, language::Language};

const MONTHS_EN: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const MONTHS_DE: [&str; 12] =
    ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"];

/// Returns a moment to the minute, such as `26 November 2026 at 14:30 UTC`. The recipient's time zone is not known.
pub(super) fn moment(language: Language, at: DateTime<Utc>) -> String {
    let (day, month, year, hour, minute) = (at.day(), at.month0() as usize, at.year(), at.hour(), at.minute());
    match language {
        Language::English => format!("{day} {} {year} at {hour:02}:{minute:02} UTC", MONTHS_EN[month]),
        Language::German => format!("{day}. {} {year} um {hour:02}:{minute:02} Uhr (UTC)", MONTHS_DE[month]),
    }
}

/// Returns a duration in its largest sensible unit, such as `30 minutes`, `24 hours` or `7 days`. Seconds are rounded to the
/// nearest minute, larger remainders are dropped, and the result is at least a minute.
pub(super) fn duration(language: Language, duration: Duration) -> String {
    let minutes = ((duration.as_secs() + 30) / 60).max(1);
    let (number, unit) = match minutes {
        0..120 => (minutes, 0),
        120..2_880 => (minutes / 60, 1),
        _ => (minutes / 1_440, 2),
    };
    let units = match language {
        Language::English => [["minute", "minutes"], ["hour", "hours"], ["day", "days"]],
        Language::German => [["Minute", "Minuten"], ["Stunde", "Stunden"], ["Tag", "Tage"]],
    };
    format!("{number} {}", units[unit][usize::from(number != 1)])
}

/// Returns the kind of a second factor in words that can follow `:` on a line.
pub(super) const fn factor(language: Language, kind: FactorKind) -> &'static str {
    match (language, kind) {
        (Language::English, FactorKind::Totp) => "authenticator app",
        (Language::German, FactorKind::Totp) => "Authentifizierungs-App",
        (Language::English, FactorKind::Passkey) => "passkey",
        (Language::German, FactorKind::Passkey) => "Passkey",
    }
}

/// Returns a name if it can be nothing but a name: letters, spaces, hyphens, apostrophes, and dots that end a word. Mail programs
/// make links of host names and telephone numbers, and people choose their own names.
pub(super) fn plain_name(name: &str) -> Option<&str> {
    let mut characters = name.chars().peekable();
    let mut count = 0;
    while let Some(character) = characters.next() {
        count += 1;
        let is_plain = match character {
            ' ' | '-' | '\'' | '\u{2019}' | '\u{b7}' => true,
            '.' => characters.peek().is_none_or(|next| *next == ' '),
            _ => character.is_alphabetic() || is_combining_mark(character),
        };
        if !is_plain || count > 60 {
            return None;
        }
    }
    name.chars().any(char::is_alphabetic).then_some(name)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_moment_is_written_in_each_language() {
        let at = Utc.with_ymd_and_hms(2027, 3, 1, 4, 5, 59).single().unwrap();
        assert_eq!(moment(Language::English, at), "1 March 2027 at 04:05 UTC");
        assert_eq!(moment(Language::German, at), "1. März 2027 um 04:05 Uhr (UTC)");
    }

    #[rstest]
    #[case(0, "1 minute", "1 Minute")]
    #[case(89, "1 minute", "1 Minute")]
    #[case(90, "2 minutes", "2 Minuten")]
    #[case(1_799, "30 minutes", "30 Minuten")]
    #[case(3_600, "60 minutes", "60 Minuten")]
    #[case(7_200, "2 hours", "2 Stunden")]
    #[case(86_395, "24 hours", "24 Stunden")]
    #[case(47 * 3_600, "47 hours", "47 Stunden")]
    #[case(48 * 3_600, "2 days", "2 Tage")]
    #[case(7 * 86_400 - 5, "7 days", "7 Tage")]
    fn a_duration_has_one_unit(#[case] seconds: u64, #[case] english: &str, #[case] german: &str) {
        assert_eq!(duration(Language::English, Duration::from_secs(seconds)), english);
        assert_eq!(duration(Language::German, Duration::from_secs(seconds)), german);
    }

    #[rstest]
    fn names_of_people_are_plain(
        #[values(
            "Ada Lovelace",
            "José",
            "Jean-Luc O'Neill",
            "Dr. Anna Groß",
            "Martin Luther King Jr.",
            "毛沢",
            "नरेन्द्र",
            "نور",
            "Sa\u{301}"
        )]
        name: &str,
    ) {
        assert_eq!(plain_name(name), Some(name));
    }

    #[rstest]
    fn names_that_could_be_a_link_a_number_or_markup_are_not_plain(
        #[values(
            "",
            " - ",
            "evil.example",
            "Win at evil.example now",
            "https://evil.example",
            "www.evil",
            "evil\u{3002}example",
            "evil\u{ff0e}example",
            "ada@example.org",
            "call 0800 1234567",
            "<b>Ada</b>",
            "Ada & Co",
            "\"Ada\"",
            "{{ code }}",
            "Ada\nBcc: x",
            "Ada\u{202e}",
            "[Ada](x)",
            "A very long name that goes on and on and on and is an advertisement"
        )]
        name: &str,
    ) {
        assert_eq!(plain_name(name), None);
    }
}
