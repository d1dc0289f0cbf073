//! One line of output: text or a JSON object. No value can end its line or start another one.

use std::{
    error::Error,
    fmt::{self, Debug, Write},
};

use tracing::{
    Level,
    field::{Field, Visit},
};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Time, level, message, and fields as `name=value`.
    Text {
        /// Whether to use colours, for a terminal.
        in_colour: bool,
    },
    /// One JSON object.
    Json,
}

/// A line while it is being formatted.
pub(super) struct Line {
    style: Style,
    text: String,
}

impl Line {
    /// Begins a line with the time and the level.
    pub(super) fn new(style: Style, level: Level) -> Self {
        let mut text = String::with_capacity(512);
        match style {
            Style::Json => {
                text.push_str("{\"timestamp\":\"");
                _ = SystemTime.format_time(&mut Writer::new(&mut text));
                _ = write!(text, "\",\"level\":\"{level}\"");
            }
            Style::Text { in_colour } => {
                let (dim, colour, plain) = if in_colour { ("\x1b[2m", colour(level), "\x1b[0m") } else { ("", "", "") };
                text.push_str(dim);
                _ = SystemTime.format_time(&mut Writer::new(&mut text));
                _ = write!(text, "{plain} {colour}{level:>5}{plain}");
            }
        }
        Self { style, text }
    }

    /// Returns the complete line, with a line feed.
    pub(super) fn end(mut self) -> String {
        self.text.push_str(if self.style == Style::Json { "}\n" } else { "\n" });
        self.text
    }

    pub(super) fn message(&mut self, message: impl fmt::Display) {
        self.name("message");
        self.text_value(format_args!("{message}"), false);
    }

    pub(super) fn field(&mut self, name: &str, value: impl fmt::Display) {
        self.name(name);
        self.text_value(format_args!("{value}"), false);
    }

    pub(super) fn quoted(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text_value(format_args!("{value}"), true);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.bare(value);
    }

    fn name(&mut self, name: &str) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        let (before, after) = match (self.style, name) {
            (Style::Json, _) => (",\"", "\":"),
            (Style::Text { .. }, "message") => return self.text.push(' '),
            (Style::Text { in_colour: false }, _) => (" ", "="),
            (Style::Text { in_colour: true }, _) => (" \x1b[3m", "\x1b[0m\x1b[2m=\x1b[0m"),
        };
        self.text.extend([before, name, after]);
    }

    /// Writes a number or a Boolean.
    fn bare(&mut self, value: impl fmt::Display) {
        _ = write!(self.text, "{value}");
    }

    fn text_value(&mut self, value: fmt::Arguments<'_>, is_quoted: bool) {
        let is_json = self.style == Style::Json;
        let quote = if is_json || is_quoted { "\"" } else { "" };
        self.text.push_str(quote);
        _ = Escaped { text: &mut self.text, is_json, is_quoted: !quote.is_empty() }.write_fmt(value);
        self.text.push_str(quote);
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// Writes text, and escapes the characters that would end the value or the line, or control a terminal.
struct Escaped<'a> {
    text: &'a mut String,
    is_json: bool,
    is_quoted: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, raw: &str) -> fmt::Result {
        // Most texts are words or ids.
        if raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_./:{}".contains(&byte)) {
            self.text.push_str(raw);
            return Ok(());
        }
        let is_special = |char: char| char.is_control() || (self.is_quoted && matches!(char, '"' | '\\'));
        let mut rest = raw;
        while let Some(at) = rest.find(is_special) {
            let (plain, special) = rest.split_at(at);
            self.text.push_str(plain);
            let mut chars = special.chars();
            match chars.next() {
                Some('\n') => self.text.push_str("\\n"),
                Some('\r') => self.text.push_str("\\r"),
                Some('\t') => self.text.push_str("\\t"),
                Some(char) if !char.is_control() => self.text.extend(['\\', char]),
                Some(char) if self.is_json => write!(self.text, "\\u{:04x}", u32::from(char))?,
                Some(char) => write!(self.text, "\\u{{{:x}}}", u32::from(char))?,
                None => {}
            }
            rest = chars.as_str();
        }
        self.text.push_str(rest);
        Ok(())
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field.name());
        self.text_value(format_args!("{value}"), field.name() != "message");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field.name());
        self.text_value(format_args!("{value:?}"), false);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.name(field.name());
        self.text_value(format_args!("{value}"), false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field.name());
        self.bare(value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field.name());
        self.bare(value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field.name());
        self.bare(value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field.name());
        if value.is_finite() || self.style != Style::Json {
            self.bare(value);
        } else {
            self.text.push_str("null");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "a \"b\" \\ \n{\"level\":\"ERROR\"} \u{1b}[31m \u{85} \u{0} ü";

    #[test]
    fn no_value_can_end_its_line_or_start_a_field() {
        let line = |style| {
            let mut line = Line::new(style, Level::WARN);
            line.message(EVIL);
            line.field("cause", EVIL);
            line.number("count", 3);
            line.end()
        };
        let json = line(Style::Json);
        assert_eq!(json.lines().count(), 1, "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["message"], &json["cause"], &json["level"]), (&EVIL.into(), &EVIL.into(), &"WARN".into()));
        assert_eq!(json["count"], 3);
        let text = line(Style::Text { in_colour: false });
        assert_eq!(text.chars().filter(|char| char.is_control()).count(), 1, "only the line feed at the end: {text:?}");
        assert!(text.contains(" WARN a ") && text.ends_with(" count=3\n"), "{text}");
    }
}
