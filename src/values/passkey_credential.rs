//! What a browser returns when a passkey is made or used: `PublicKeyCredential.toJSON()` (WebAuthn Level 3 section 5.1). Nothing of
//! it is checked here, because only the ceremony tells what it must contain.

use serde_json::{Map, Value};

/// The credential, as the browser has written it. Browsers may add members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyCredential(pub Map<String, Value>);

impl From<PasskeyCredential> for Value {
    fn from(credential: PasskeyCredential) -> Self {
        Self::Object(credential.0)
    }
}
