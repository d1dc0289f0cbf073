//! Mailboxes: an e-mail address, with or without a display name.

use std::{fmt, str::FromStr};

use super::{Invalid, email::Email, name::Name};

/// A mailbox (RFC 5322 section 3.4): `ada@example.org` or `Ada Lovelace <ada@example.org>`. Quotation marks around the name are
/// dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name.
    pub name: Option<Name>,
    /// The address.
    pub address: Email,
}

impl Mailbox {
    /// Returns the part of the address after the `@`.
    pub fn domain(&self) -> &str {
        self.address.as_str().rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{name} <{}>", self.address),
            None => self.address.fmt(out),
        }
    }
}

impl FromStr for Mailbox {
    type Err = Invalid;

    /// Fails with the codes of [`Email`] and [`Name`], and with `format` if an angle bracket is missing.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        let Some((name, rest)) = raw.split_once('<') else { return Ok(Self { name: None, address: raw.parse()? }) };
        let address = rest.strip_suffix('>').ok_or_else(|| Invalid::new("format", "Must end with > after the address."))?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        let name = if name.is_empty() { None } else { Some(name.parse()?) };
        Ok(Self { name, address: address.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ada@example.org", "ada@example.org")]
    #[case(" Ada Lovelace  <Ada@Example.org> ", "Ada Lovelace <ada@example.org>")]
    #[case("\"Example, Inc.\" <id@example.org>", "Example, Inc. <id@example.org>")]
    #[case("<id@example.org>", "id@example.org")]
    #[case("Käse & Söhne <id@example.org>", "Käse & Söhne <id@example.org>")]
    fn a_mailbox_has_an_address_and_perhaps_a_name(#[case] raw: &str, #[case] expected: &str) {
        let mailbox: Mailbox = raw.parse().unwrap();
        assert_eq!(mailbox.to_string(), expected);
        assert_eq!(expected.parse(), Ok(mailbox.clone()));
        assert_eq!(mailbox.domain(), "example.org");
    }

    #[rstest]
    fn other_texts_are_rejected(
        #[values(
            "",
            "Ada",
            "Ada <ada>",
            "Ada <ada@example.org",
            "Ada ada@example.org",
            "Ada <ada@example.org> x",
            "A\r\nBcc: b@example.org <ada@example.org>",
            "A\0 <ada@example.org>",
            "Ada <ada@example.org\r\n>x>"
        )]
        raw: &str,
    ) {
        assert!(raw.parse::<Mailbox>().is_err());
    }
}
