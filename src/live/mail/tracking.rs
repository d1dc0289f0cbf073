//! Providers that replace the links in mails to count clicks. A link that leads elsewhere first is slower, works only while the
//! provider does, and looks like a fraud; and the provider sees every token.

/// A provider of mail servers.
struct Provider {
    /// The ends of the host names of its mail servers.
    hosts: &'static [&'static str],
    name: &'static str,
    /// The headers that turn click tracking off for one mail.
    headers: &'static [(&'static str, &'static str)],
}

const PROVIDERS: &[Provider] = &[
    Provider {
        hosts: &["smtp.sendgrid.net"],
        name: "SendGrid",
        headers: &[(
            "X-SMTPAPI",
            r#"{"filters": {"clicktrack": {"settings": {"enable": 0, "enable_text": false}}, "opentrack": {"settings": {"enable": 0}}}}"#,
        )],
    },
    Provider { hosts: &[".mailgun.org"], name: "Mailgun", headers: &[("X-Mailgun-Track", "no")] },
    Provider { hosts: &[".postmarkapp.com"], name: "Postmark", headers: &[("X-PM-TrackLinks", "None")] },
    Provider {
        hosts: &[".mailjet.com"],
        name: "Mailjet",
        headers: &[("X-Mailjet-TrackClick", "0"), ("X-Mailjet-TrackOpen", "0")],
    },
    Provider { hosts: &[".amazonaws.com"], name: "Amazon SES", headers: &[] },
    Provider { hosts: &[".brevo.com", ".sendinblue.com"], name: "Brevo", headers: &[] },
    Provider { hosts: &[".mandrillapp.com"], name: "Mailchimp Transactional", headers: &[] },
    Provider { hosts: &[".sparkpostmail.com"], name: "SparkPost", headers: &[] },
];

fn provider(host: &str) -> Option<&'static Provider> {
    let host = host.to_ascii_lowercase();
    let matches = |end: &&str| host == *end || end.starts_with('.') && host.ends_with(*end);
    PROVIDERS.iter().find(|provider| provider.hosts.iter().any(&matches))
}

/// Returns the headers that turn click tracking off at the provider of this mail server.
pub(super) fn headers(host: &str) -> &'static [(&'static str, &'static str)] {
    provider(host).map_or(&[], |provider| provider.headers)
}

/// Returns a hint for the operator if the provider of this mail server can track clicks, and a mail cannot turn that off.
pub fn hint(host: &str) -> Option<String> {
    let provider = provider(host).filter(|provider| provider.headers.is_empty())?;
    Some(format!("{} can replace the links in mails: turn click tracking off there", provider.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_the_host_of_its_mail_server() {
        assert_eq!(headers("smtp.eu.mailgun.org"), [("X-Mailgun-Track", "no")]);
        assert_eq!(headers("SMTP.sendgrid.net")[0].0, "X-SMTPAPI");
        assert!(headers("mail.example.org").is_empty() && headers("mailgun.org.example.org").is_empty());
        assert!(hint("email-smtp.eu-west-1.amazonaws.com").unwrap().starts_with("Amazon SES"));
        assert_eq!(hint("smtp.eu.mailgun.org"), None, "its header is sent instead");
        assert_eq!(hint("mail.example.org"), None);
    }
}
