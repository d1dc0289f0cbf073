//! Handles: what a client that requests a mail receives and keeps. A code from the mail counts only together with a handle, so
//! that nobody who is told a code can use it elsewhere, and nobody else can use up the attempts of this client.

use super::client_secret::client_secret;

client_secret!(
    /// A handle: `vh1.` and 32 random bytes in base64url.
    TicketHandle,
    /// The SHA-256 of a handle, as it is stored.
    HandleDigest,
    "vh1.",
    "Is not a handle."
);
