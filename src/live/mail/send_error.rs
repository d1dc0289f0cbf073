//! Why a mail was not sent.

use std::fmt;

/// Why a mail was not sent, as one line of at most 300 characters without the recipient's address and without a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The mail server refuses this mail or its recipient. Another attempt is pointless.
    Refused(String),
    /// No mail can be sent at present: the mail server cannot be reached, or it refuses this service. The next attempt may
    /// succeed after an operator has acted.
    Transport(String),
    /// This attempt failed; a later one may succeed.
    Temporary(String),
}

impl SendError {
    /// Returns the text.
    pub fn text(&self) -> &str {
        match self {
            Self::Refused(text) | Self::Transport(text) | Self::Temporary(text) => text,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text())
    }
}

impl std::error::Error for SendError {}

/// Returns a text on one line, without control characters and without the recipient's address, of at most 300 characters.
pub(super) fn line(text: &str, recipient: &str) -> String {
    // A server may repeat the address in other letter case. Addresses are ASCII, so positions agree.
    let lower = text.to_ascii_lowercase();
    let mut without = String::with_capacity(text.len());
    let mut rest = 0;
    if !recipient.is_empty() {
        for (at, _) in lower.match_indices(recipient) {
            without.push_str(&text[rest..at]);
            without.push_str("(recipient)");
            rest = at + recipient.len();
        }
    }
    without.push_str(&text[rest..]);
    let words: Vec<_> = without.split(|character: char| character.is_control() || character == ' ').collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= 300 { line } else { line.chars().take(299).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_short_line_without_the_recipient() {
        assert_eq!(line("550 <Ada@Example.org>\r\nis\tunknown\0", "ada@example.org"), "550 <(recipient)> is unknown");
        assert_eq!(line(" a  b ", ""), "a b");
        let long = line(&"é".repeat(400), "ada@example.org");
        assert_eq!(long.chars().count(), 300);
        assert!(long.ends_with('…'));
    }
}
