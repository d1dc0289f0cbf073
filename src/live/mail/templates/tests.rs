use std::{collections::BTreeSet, fs};

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::live::mail::{Sender, Values};

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.mail.from = Some("Example & Söhne <id@example.org>".parse().unwrap());
    settings.mail.link_base = Some("https://id.example.org/a".parse().unwrap());
    settings
}

/// Returns a directory with one template, and settings that name it.
fn with_file(name: &str, text: &str) -> (TempDir, Settings) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
    let mut settings = settings();
    settings.mail.templates_dir = Some(directory.path().to_owned());
    (directory, settings)
}

/// Returns the error of a template that replaces one of the program, without its directory.
fn error_of(name: &str, text: &str) -> String {
    let (directory, settings) = with_file(name, text);
    let error = Templates::load(&settings).err().unwrap_or_else(|| panic!("{name} was accepted: {text}"));
    error.to_string().replace(&format!("{}/", directory.path().display()), "")
}

fn all() -> impl Iterator<Item = (MailKind, Language)> {
    MailKind::ALL.iter().flat_map(|kind| Language::ALL.iter().map(|language| (*kind, *language)))
}

#[test]
fn every_kind_has_three_templates_in_every_language_and_there_are_no_others() {
    let mut expected: BTreeSet<_> = ["layout.html", "parts.html"].map(str::to_owned).into();
    for language in Language::ALL {
        expected.extend(["layout.html", "footer.txt"].map(|name| format!("{language}/{name}")));
    }
    for (kind, language) in all() {
        expected.extend(EXTENSIONS.map(|extension| format!("{language}/{kind}.{extension}")));
    }
    let embedded: BTreeSet<_> = TEXTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(embedded, expected);
}

#[test]
fn the_templates_of_the_program_can_be_used() {
    Templates::load(&settings()).unwrap().try_all().unwrap();
}

#[test]
fn a_mail_contains_its_link_and_its_code_in_both_texts_and_not_in_the_subject() {
    let templates = Templates::load(&settings()).unwrap();
    for (kind, language) in all() {
        for full in [true, false] {
            let draft = Draft::sample(kind, language, full);
            let message = templates.render(&draft).unwrap();
            let texts = [&message.text, &message.html];
            let count = |needle: &str| texts.map(|text| text.matches(needle).count());
            let fragment = draft.values.token.as_deref().unwrap_or("#t=");
            let expected = if kind.proof() == Proof::None { [0, 0] } else { [1, 3] };
            assert_eq!(count(fragment), expected, "{kind} {language}");
            let code = if kind.proof() == Proof::LinkAndCode { [1, 1] } else { [0, 0] };
            assert_eq!(count("4815 1623"), code, "{kind} {language}");
            assert!(!message.subject.contains("4815") && !message.subject.contains("vt1"), "{}", message.subject);
            assert!(texts.iter().all(|text| text.contains("ada@example.org")), "{kind} {language}");
        }
    }
}

#[test]
fn the_html_loads_nothing_and_runs_nothing() {
    let templates = Templates::load(&settings()).unwrap();
    for (kind, language) in all() {
        let html = templates.render(&Draft::sample(kind, language, true)).unwrap().html;
        for part in ["<img", "<script", "<link", "<form", "@import", "@font-face", "url(", "src=", "javascript:", " on"] {
            let found = html.contains(part)
                && (part != " on" || html.split('<').any(|tag| tag.split('>').next().unwrap().contains(" on")));
            assert!(!found, "{kind} {language} contains {part}");
        }
        assert!(html.contains(&format!("<html lang=\"{language}\">")) && html.contains("max-width:600px"), "{html}");
        assert!(!html.contains("{{") && !html.contains("{%") && !html.contains(">none<"), "{kind} {language}: {html}");
    }
}

#[test]
fn the_texts_of_a_mail_say_the_same() {
    let templates = Templates::load(&settings()).unwrap();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (kind, language) in all() {
        let message = templates.render(&Draft::sample(kind, language, true)).unwrap();
        let html = message.html.replace("&amp;", "&");
        let body = words(
            &html
                .split_once("<body")
                .unwrap()
                .1
                .split('<')
                .map(|part| part.split_once('>').map_or(part, |p| p.1))
                .fold(String::new(), |all, part| all + " " + part),
        );
        for line in message.text.lines().filter(|line| !line.is_empty() && *line != "-- ") {
            let parts = line.split_once(": ").filter(|_| line.len() < 60).map_or(vec![line], |(label, value)| vec![label, value]);
            for part in parts {
                assert!(body.contains(&words(part)), "{kind} {language}: the HTML lacks {part:?}: {body}");
            }
        }
    }
}

#[test]
fn the_service_is_named_and_escaped_once() {
    let message = Templates::load(&settings()).unwrap().render(&Draft::sample(MailKind::Test, Language::German, true)).unwrap();
    assert_eq!(message.subject, "Testmail von Example & Söhne");
    assert!(message.text.contains("Example & Söhne"));
    assert!(message.html.contains("Example &amp; Söhne") && !message.html.contains("&amp;amp;"));
    assert!(message.html.contains("<title>Testmail von Example &amp; Söhne</title>"));
}

#[rstest]
fn a_name_cannot_carry_a_link_markup_or_a_header(
    #[values(
        "<b>Ada</b>",
        "<script>alert(1)</script>",
        "evil.example",
        "Ada\r\nBcc: eve@example.org",
        "\" onclick=\"x",
        "{{ code }}",
        "0800 1234567"
    )]
    name: &str,
) {
    let templates = Templates::load(&settings()).unwrap();
    for (kind, language) in all() {
        let mut draft = Draft::sample(kind, language, true);
        let without =
            templates.render(&Draft { values: Values { name: None, ..draft.values.clone() }, ..draft.clone() }).unwrap();
        draft.values.name = Some(name.to_owned());
        let message = templates.render(&draft).unwrap();
        assert_eq!((message.subject, message.text, message.html), (without.subject, without.text, without.html));
    }
}

#[test]
fn mails_to_a_mailbox_that_nobody_has_proven_do_not_greet_by_name() {
    let templates = Templates::load(&settings()).unwrap();
    for (kind, language) in all() {
        let text = templates.render(&Draft::sample(kind, language, true)).unwrap().text;
        let unproven = ["sign_up", "account_exists", "verify", "change", "test"].contains(&kind.as_str());
        assert_eq!(text.contains("Ada Lovelace"), !unproven, "{kind}");
    }
}

#[test]
fn addresses_with_special_characters_are_escaped_in_html() {
    let templates = Templates::load(&settings()).unwrap();
    let mut draft = Draft::sample(MailKind::EmailChangeRequested, Language::English, true);
    draft.values.new_address = Some("o'hara&co@example.org".parse().unwrap());
    let message = templates.render(&draft).unwrap();
    assert!(message.text.contains("New address: o'hara&co@example.org"));
    assert!(message.html.contains("o&#39;hara&amp;co@example.org") && !message.html.contains("hara&co"));
}

#[test]
fn a_mail_without_a_value_that_it_needs_is_an_error() {
    let templates = Templates::load(&settings()).unwrap();
    let mut draft = Draft::sample(MailKind::Reset, Language::English, true);
    draft.values.code = None;
    assert_eq!(templates.render(&draft).unwrap_err().to_string(), "a mail of the kind reset needs a code");
    draft.values.token = None;
    assert_eq!(templates.render(&draft).unwrap_err().to_string(), "a mail of the kind reset needs a token");
    let mut draft = Draft::sample(MailKind::AccountClosed, Language::English, true);
    draft.values.at = None;
    let error = templates.render(&draft).unwrap_err().to_string();
    assert!(error.contains("en/account_closed.txt") && error.contains("line 3"), "{error}");
}

#[test]
fn a_file_of_the_operator_replaces_one_template() {
    let (_directory, settings) = with_file("de/reset.subject", "Passwort vergessen? ({{ service }})\n");
    let templates = Templates::load(&settings).unwrap();
    let subject = |kind, language| templates.render(&Draft::sample(kind, language, true)).unwrap().subject;
    assert_eq!(subject(MailKind::Reset, Language::German), "Passwort vergessen? (Example & Söhne)");
    assert_eq!(subject(MailKind::Reset, Language::English), "Reset your password for Example & Söhne");
    assert_eq!(subject(MailKind::Test, Language::German), "Testmail von Example & Söhne");

    let (_directory, settings) = with_file("en/footer.txt", "-- \nExample, 1 Long Street, London\n");
    let templates = Templates::load(&settings).unwrap();
    let text = templates.render(&Draft::sample(MailKind::Invite, Language::English, true)).unwrap().text;
    assert!(text.ends_with("\n\n-- \nExample, 1 Long Street, London\n"), "{text}");
}

#[rstest]
#[case("en/reset.txt", "Hello\n\n{{ lnik }}\n", "en/reset.txt, line 3 cannot be used: undefined value")]
#[case("en/reset.txt", "Hello\n{% if name %}\n{{ link }}\n", "en/reset.txt, line ")]
#[case("en/reset.txt", "\n\n\n{{ link | nope }}", "en/reset.txt, line 4 cannot be used: unknown filter")]
#[case("de/reset.html", "<p>\n{% include 'de/fuss.html' %}", "de/reset.html, line 2 cannot be used: ")]
#[case("en/footer.txt", "-- \n{{ nothing }}", "en/footer.txt, line 2 cannot be used: undefined value")]
#[case("layout.html", "<p>\n\n{{ nothing }}</p>", "layout.html, line 3 cannot be used: undefined value")]
#[case("en/invite.txt", "{{ link }}\n{{ code }}", "en/invite.txt, line 2 cannot be used: undefined value")]
#[case("en/reset.txt", "See {{ link }} {{ code }}\n", "en/reset.txt must contain {{ link }} on a line of its own.")]
#[case("en/reset.txt", "{{ link }}\n", "en/reset.txt must contain {{ code }}.")]
#[case("en/reset.html", "<p>{{ code }} {{ link }}</p>", "en/reset.html must contain the link: <a href=\"{{ link }}\">.")]
#[case("en/reset.html", "<a href=\"{{ link }}\">x</a>", "en/reset.html must contain {{ code }}.")]
#[case("en/reset.subject", "{{ code }}", "en/reset.subject must not contain the code: subjects are shown on locked screens.")]
#[case("en/reset.subject", "{{ link }}", "en/reset.subject must not contain the link: subjects are shown on locked screens.")]
#[case("en/reset.subject", " \n", "en/reset.subject must be one line of 1 to 200 characters.")]
#[case("en/reset.subject", "a\nb", "en/reset.subject must be one line of 1 to 200 characters.")]
#[case("en/test.txt", "{% for a in range(9000) %}{% for b in range(9000) %}x{% endfor %}{% endfor %}", "en/test.txt")]
#[case("en/rest.html", "x", "en/rest.html is not used: no template is called en/rest.html; did you mean en/reset.html?")]
#[case("fr/reset.html", "x", "fr/reset.html is not used: no template is called fr/reset.html; did you mean")]
#[case("reset.html", "x", "reset.html is not used: no template is called reset.html; did you mean")]
#[case(
    "en/completely_unlike_any.html",
    "x",
    "en/completely_unlike_any.html is not used: no template is called en/completely_unlike_any.html."
)]
fn a_faulty_template_is_reported_with_its_file_and_line(#[case] name: &str, #[case] text: &str, #[case] expected: &str) {
    let error = error_of(name, text);
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_directory_that_cannot_be_read_is_reported_and_other_files_are_ignored() {
    let mut settings = settings();
    settings.mail.templates_dir = Some("/nowhere/at/all".into());
    let error = Templates::load(&settings).err().unwrap().to_string();
    assert!(error.starts_with("/nowhere/at/all cannot be read: "), "{error}");
    for other in ["README.md", "de/notes", ".git/en/rest.html", "..data/rest.html"] {
        let (_directory, settings) = with_file(other, "{{ nothing }}");
        Templates::load(&settings).unwrap();
    }
    let (directory, settings) = with_file("en/test.txt", "");
    fs::write(directory.path().join("en/test.txt"), b"caf\xe9").unwrap();
    let error = Templates::load(&settings).err().unwrap().to_string();
    assert!(error.contains("en/test.txt cannot be read: "), "{error}");
}

#[test]
fn a_message_has_the_headers_of_an_automatic_mail_and_is_ascii() {
    let mut settings = settings();
    settings.mail.from = Some("Example <id@example.org>".parse().unwrap());
    settings.mail.reply_to = Some("Support <help@example.org>".parse().unwrap());
    let templates = Templates::load(&settings).unwrap();
    for (kind, language) in all() {
        let message = templates.render(&Draft::sample(kind, language, true)).unwrap();
        let bytes = message.format(&Sender::of(&settings)).unwrap();
        assert_eq!(bytes, message.format(&Sender::of(&settings)).unwrap(), "a repeated mail is the same");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 998), "{kind} {language}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ");
        let fields: BTreeSet<_> = unfolded.split("\r\n").collect();
        for field in [
            "To: ada@example.org",
            "Date: Thu, 26 Nov 2026 14:30:00 +0000",
            "Message-ID: <01a21691-d860-72e2-8565-8e06a6acb53a@example.org>",
            "Auto-Submitted: auto-generated",
            "X-Auto-Response-Suppress: All",
            &format!("Content-Language: {language}"),
            "MIME-Version: 1.0",
            "Reply-To: Support <help@example.org>",
        ] {
            assert!(fields.contains(field), "{field} is not in {head}");
        }
        assert!(head.contains("\r\nSubject: ") || head.starts_with("Subject: "));
        let plain = body.find("Content-Type: text/plain; charset=utf-8").unwrap();
        assert!(plain < body.find("Content-Type: text/html; charset=utf-8").unwrap(), "the plain text comes first");
        assert!(!text.contains("base64"), "{text}");
        if language == Language::English && kind.proof() != Proof::None {
            let link = format!("#t={}\r\n", Draft::sample(kind, language, true).values.token.unwrap());
            assert!(body.contains(&link), "an English mail in a file can be read as it is: {body}");
        }
    }
}

#[test]
fn values_survive_storage_without_their_secrets() {
    let values = Draft::sample(MailKind::Reset, Language::English, true).values;
    let stored = serde_json::to_string(&values).unwrap();
    assert!(!stored.contains("vt1") && !stored.contains("4815"), "{stored}");
    let again: Values = serde_json::from_str(&stored).unwrap();
    assert_eq!(again, Values { token: None, code: None, valid_for: None, ..values });
    assert_eq!(serde_json::to_string(&Values::default()).unwrap(), "{}");
    assert!(serde_json::from_str::<Values>(r#"{"token": "vt1.x"}"#).is_err());
    assert!(serde_json::from_str::<Values>(r#"{"new_address": "x"}"#).is_err());
}
