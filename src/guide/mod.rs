//! The guide: how to run Vestibule and build on it. Its pages are Markdown files, which can also be read in the repository.
//!
//! - [`operating`]: data, backups, PostgreSQL, proxies, health, logs, metrics, clocks, outages, keys and commands.
//! - [`proxies`]: nginx, Caddy and Traefik in front of it, and serving below a path of another site.
//! - [`configuration`]: every setting, and where values come from.
//! - [`monitoring`]: what to watch, alerts for Prometheus, and how each fault shows up.
//! - [`trouble`]: what to do when the disk is full, the database away, a key lost or leaked, or nobody can log in.
//! - [`pages`]: the pages on which people sign in and manage their own account.
//! - [`mail`]: mail servers, the domain of the sender, the texts of mails, and what to watch.
//! - [`second_factors`]: apps, recovery codes, passkeys, fresh proof, and who must have a second factor.
//! - [`verifying`]: how other services verify access tokens, with programs for Node, Python and Rust.
//! - [`measured`]: measurements, with the commands that repeat them.
//! - [`decisions`]: why it is built this way, and what was rejected.
//! - [`requirements`]: what the tests hold, by the ids in their names.

/// Declares a page. Its links to other pages are link references: the definitions here come first, so they win over
/// those at the end of the file, which are for readers of the repository.
macro_rules! pages {
    ($($page:ident $file:literal,)*) => {$(
        #[doc = "[operating]: crate::guide::operating\n[configuration]: crate::guide::configuration"]
        #[doc = "[verifying]: crate::guide::verifying\n[measured]: crate::guide::measured\n[mail]: crate::guide::mail"]
        #[doc = "[pages]: crate::guide::pages\n[second_factors]: crate::guide::second_factors"]
        #[doc = "[monitoring]: crate::guide::monitoring\n[trouble]: crate::guide::trouble"]
        #[doc = "[proxies]: crate::guide::proxies"]
        #[doc = "[decisions]: crate::guide::decisions\n[requirements]: crate::guide::requirements\n\n"]
        #[doc = include_str!($file)]
        pub mod $page {}
    )*};
}

pages! {
    operating "operating.md",
    proxies "proxies.md",
    configuration "configuration.md",
    monitoring "monitoring.md",
    trouble "trouble.md",
    pages "pages.md",
    mail "mail.md",
    second_factors "second_factors.md",
    verifying "verifying.md",
    measured "measured.md",
    decisions "decisions.md",
    requirements "requirements.md",
}
