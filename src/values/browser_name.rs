//! The names of browsers, as notices mention them. They consist of words of this file only, because anybody can send any
//! `User-Agent`, and a mail must not repeat text of a stranger.

use super::language::Language;

/// What a browser says about itself, and its name. The first that matches counts: most browsers also claim to be others.
const BROWSERS: [(&str, &str); 11] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// The same for systems.
const SYSTEMS: [(&str, &str); 8] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
    ("FreeBSD", "FreeBSD"),
];

/// Returns the name of the browser with this `User-Agent`, such as `Firefox on Linux`; `None` for one that is not known.
pub fn browser_name(user_agent: &str, language: Language) -> Option<String> {
    let find = |list: &[(&str, &'static str)]| list.iter().find(|(text, _)| user_agent.contains(text)).map(|(_, name)| *name);
    let browser = find(&BROWSERS)?;
    let on = match language {
        Language::English => "on",
        Language::German => "unter",
    };
    Some(find(&SYSTEMS).map_or_else(|| browser.to_owned(), |system| format!("{browser} {on} {system}")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", "Firefox on Linux")]
    #[case(
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
        "Edge on Windows"
    )]
    #[case(
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
        "Safari on macOS"
    )]
    #[case(
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1",
        "Chrome on iPhone"
    )]
    #[case(
        "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
        "Chrome on Android"
    )]
    #[case("Firefox/145.0 evil.example", "Firefox")]
    fn a_browser_is_named_by_words_of_this_program(#[case] user_agent: &str, #[case] name: &str) {
        assert_eq!(browser_name(user_agent, Language::English).as_deref(), Some(name));
    }

    #[test]
    fn the_name_is_in_the_language_of_the_mail_and_other_programs_have_none() {
        let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
        assert_eq!(browser_name(firefox, Language::German).as_deref(), Some("Firefox unter Linux"));
        assert_eq!(browser_name("curl/8.14.1 (Linux) https://evil.example", Language::English), None);
    }
}
