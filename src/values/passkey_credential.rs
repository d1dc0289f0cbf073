//! What a browser returns when a passkey is made or used: `PublicKeyCredential.toJSON()` (WebAuthn Level 3 section 5.1). Nothing of
//! it is checked here, because only the ceremony tells what it must contain.

use std::fmt;

use serde_json::{Map, Value};

/// The credential, as the browser has written it. Browsers may add members.
#[derive(Clone, PartialEq, Eq)]
pub struct PasskeyCredential(pub Map<String, Value>);

/// Leaves out what was signed, which contains the handle of the account.
impl fmt::Debug for PasskeyCredential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasskeyCredential(hidden)")
    }
}

impl From<PasskeyCredential> for Value {
    fn from(credential: PasskeyCredential) -> Self {
        Self::Object(credential.0)
    }
}
