//! Why passkeys cannot be used.

/// Why passkeys cannot be used. `Display` returns the sentence that callers and operators read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeysUnavailable {
    /// `server.public_url` is not set.
    #[error("Passkeys need server.public_url, the address at which browsers reach this service.")]
    NoPublicUrl,
    /// The host of `server.public_url` is an IP address.
    #[error("Passkeys need a host name in server.public_url: browsers accept no IP address.")]
    NoHostName,
    /// `server.public_url` begins with `http:`.
    #[error("Passkeys need https in server.public_url: browsers accept http for localhost only.")]
    Insecure,
    /// The account has no passkey, or only passkeys that were made for another host.
    #[error("This account has no passkey that works here.")]
    NoneHeld,
}
