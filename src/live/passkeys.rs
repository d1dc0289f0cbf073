//! Passkeys: what this service is to authenticators (its relying party id and its origin), and the verification of what they
//! sign. The rules of WebAuthn are those of webauthn-rs; nothing here reads or writes the database.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    Credential, DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url,
    Webauthn, WebauthnBuilder, WebauthnError,
};

use crate::{config::Settings, values::passkeys_unavailable::PasskeysUnavailable};

/// How long browsers give the user to confirm, which WebAuthn recommends where the user is verified (Level 3 section 15.1).
const TIMEOUT: Duration = Duration::from_mins(5);

/// Why a credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is malformed, was made for another challenge, origin or relying party or without verifying the user, or its signature
    /// is wrong.
    Invalid,
    /// The passkey's counter did not advance: two authenticators may hold it.
    CounterBack,
}

/// This service as authenticators know it.
pub struct RelyingParty {
    /// The host of `server.public_url`. Browsers offer a passkey only to pages of the host for which it was made.
    pub id: String,
    webauthn: Webauthn,
}

/// The account for which a passkey is made, as authenticators store and show it.
pub struct Holder<'a> {
    /// Identifies the account to its authenticators, and reveals nothing about it.
    pub handle: Uuid,
    /// Tells the accounts of one person apart.
    pub name: &'a str,
    /// The name of the person.
    pub display_name: &'a str,
}

/// What the browser and the service need of a ceremony that has begun.
pub struct Begun {
    /// The options for the browser: `PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON`.
    pub options: Value,
    /// What the service needs to check the result.
    pub state: Value,
}

/// A passkey as it is stored: its public key and its counter. It contains no secret.
#[derive(Debug, Clone)]
pub struct StoredPasskey(Passkey);

impl StoredPasskey {
    /// Reads what [`Self::to_json`] has written.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json).map(Self)
    }

    /// Returns the passkey as it is stored.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.0)
    }

    /// Returns the id under which its authenticator knows it.
    pub fn credential_id(&self) -> &[u8] {
        self.0.cred_id()
    }

    /// Returns whether this is a later state of the passkey than `other`. A passkey that does not count its uses has only one state.
    pub fn follows(&self, other: &Self) -> bool {
        let (counter, before) = (self.counter(), other.counter());
        counter > before || (counter == 0 && before == 0)
    }

    fn counter(&self) -> u32 {
        Credential::from(self.0.clone()).counter
    }
}

/// A passkey that was checked.
pub struct Verified {
    /// The passkey as it is to be stored.
    pub passkey: StoredPasskey,
    /// Whether the authenticator keeps a copy elsewhere, so that a lost device does not lose the passkey.
    pub backed_up: bool,
}

impl RelyingParty {
    /// Returns what the settings make of this service.
    pub fn of(settings: &Settings) -> Result<Self, PasskeysUnavailable> {
        let origin = settings.server.public_url.as_ref().ok_or(PasskeysUnavailable::NoPublicUrl)?;
        let url = Url::parse(origin.as_str()).map_err(|_| PasskeysUnavailable::NoHostName)?;
        let id = url.domain().ok_or(PasskeysUnavailable::NoHostName)?.to_owned();
        // The origins that are secure contexts (Secure Contexts section 3.1).
        if url.scheme() != "https" && id != "localhost" && !id.ends_with(".localhost") {
            return Err(PasskeysUnavailable::Insecure);
        }
        let name = settings.service_name();
        let builder = WebauthnBuilder::new(&id, &url).map_err(|_| PasskeysUnavailable::NoHostName)?;
        let webauthn = builder.rp_name(&name).timeout(TIMEOUT).build().map_err(|_| PasskeysUnavailable::NoHostName)?;
        Ok(Self { id, webauthn })
    }

    /// Begins to make a passkey for `holder`. Authenticators that hold one of the `existing` passkeys refuse to make another.
    pub fn start_registration(&self, holder: &Holder<'_>, existing: &[StoredPasskey]) -> anyhow::Result<Begun> {
        let Holder { handle, name, display_name } = *holder;
        let (response, state) = self.webauthn.start_passkey_registration(handle, name, display_name, None)?;
        let mut options = serde_json::to_value(response.public_key)?;
        // webauthn-rs discourages it, but only a passkey that the authenticator stores works without a name (Level 3 section 6.2).
        options["authenticatorSelection"]["residentKey"] = "preferred".into();
        // Not given to webauthn-rs, whose state would grow with them. The database admits each passkey once.
        options["excludeCredentials"] = existing.iter().map(descriptor).collect();
        Ok(Begun { options, state: serde_json::to_value(state)? })
    }

    /// Checks a passkey that was made.
    pub fn finish_registration(&self, state: Value, credential: Value) -> Result<Verified, Refusal> {
        let (state, credential): (PasskeyRegistration, RegisterPublicKeyCredential) = (parse(state)?, parse(credential)?);
        let passkey = self.webauthn.finish_passkey_registration(&credential, &state).map_err(refusal)?;
        Ok(Verified { backed_up: Credential::from(passkey.clone()).backup_state, passkey: StoredPasskey(passkey) })
    }

    /// Begins a proof that the user holds one of the `allowed` passkeys, or any passkey of this service if there are none.
    pub fn start_authentication(&self, allowed: &[StoredPasskey]) -> anyhow::Result<Begun> {
        let (response, state) = self.webauthn.start_discoverable_authentication()?;
        // Without `response.mediation`: only a page knows whether it shows a button or suggests passkeys in a field.
        let mut options = serde_json::to_value(response.public_key)?;
        options["allowCredentials"] = allowed.iter().map(descriptor).collect();
        Ok(Begun { options, state: serde_json::to_value(state)? })
    }

    /// Checks a proof by the passkey `stored`, and returns the passkey with its new counter. The authenticator must have verified
    /// the user.
    pub fn finish_authentication(&self, state: Value, assertion: &Assertion, stored: StoredPasskey) -> Result<Verified, Refusal> {
        let state: DiscoverableAuthentication = parse(state)?;
        let result = self.webauthn.finish_discoverable_authentication_v2(&assertion.0, state, &stored.0).map_err(refusal)?;
        let mut passkey = stored;
        passkey.0.update_credential(&result);
        Ok(Verified { backed_up: result.backup_state(), passkey })
    }
}

/// What an authenticator has signed to prove that it holds a passkey. Nothing of it is checked yet.
pub struct Assertion(PublicKeyCredential);

impl Assertion {
    /// Reads what `PublicKeyCredential.toJSON()` returns in a browser.
    pub fn parse(credential: Value) -> Result<Self, Refusal> {
        parse(credential).map(Self)
    }

    /// Returns the id of the passkey.
    pub fn credential_id(&self) -> &[u8] {
        self.0.get_credential_id()
    }

    /// Returns the user handle that the authenticator has stored with the passkey. Authenticators that store no passkeys send
    /// none.
    pub fn user_handle(&self) -> Option<&[u8]> {
        self.0.get_user_unique_id()
    }
}

/// Returns how the options for a browser name a passkey (`PublicKeyCredentialDescriptorJSON`).
fn descriptor(passkey: &StoredPasskey) -> Value {
    let Credential { cred_id, transports, .. } = passkey.0.clone().into();
    let id = URL_SAFE_NO_PAD.encode(cred_id);
    match transports {
        Some(transports) => json!({ "type": "public-key", "id": id, "transports": transports }),
        None => json!({ "type": "public-key", "id": id }),
    }
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|_| Refusal::Invalid)
}

#[expect(clippy::needless_pass_by_value, reason = "the argument of `map_err`")]
fn refusal(error: WebauthnError) -> Refusal {
    tracing::debug!(cause = %error, "a passkey is refused");
    match error {
        WebauthnError::CredentialPossibleCompromise => Refusal::CounterBack,
        _ => Refusal::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::tests::passkey_device::PasskeyDevice;

    fn party(public_url: Option<&str>) -> Result<RelyingParty, PasskeysUnavailable> {
        let mut settings = Settings::default();
        settings.server.public_url = public_url.map(|url| url.parse().unwrap());
        RelyingParty::of(&settings)
    }

    #[rstest]
    #[case(Some("https://id.example.org"), Ok("id.example.org"))]
    #[case(Some("https://id.example.org:8443"), Ok("id.example.org"))]
    #[case(Some("https://xn--bcher-kva.example"), Ok("xn--bcher-kva.example"))]
    #[case(Some("http://localhost:8080"), Ok("localhost"))]
    #[case(Some("http://id.localhost"), Ok("id.localhost"))]
    #[case(None, Err(PasskeysUnavailable::NoPublicUrl))]
    #[case(Some("https://192.0.2.1"), Err(PasskeysUnavailable::NoHostName))]
    #[case(Some("http://127.0.0.1:8080"), Err(PasskeysUnavailable::NoHostName))]
    #[case(Some("https://[2001:db8::1]"), Err(PasskeysUnavailable::NoHostName))]
    #[case(Some("http://id.example.org"), Err(PasskeysUnavailable::Insecure))]
    #[case(Some("http://mylocalhost"), Err(PasskeysUnavailable::Insecure))]
    fn passkeys_need_a_host_name_that_browsers_reach_securely(
        #[case] public_url: Option<&str>,
        #[case] expected: Result<&str, PasskeysUnavailable>,
    ) {
        let party = party(public_url);
        assert_eq!(party.as_ref().map(|party| party.id.as_str()).map_err(|reason| *reason), expected);
    }

    #[tokio::test]
    async fn a_passkey_proves_its_possession_and_is_asked_for_by_its_id() {
        let (party, mut phone) = (party(Some("http://localhost:8080")).unwrap(), PasskeyDevice::default());
        let holder = Holder { handle: Uuid::from_u128(7), name: "ada", display_name: "Ada" };
        let begun = party.start_registration(&holder, &[]).unwrap();
        let made = phone.make("http://localhost:8080", &begun.options).await;
        let made = party.finish_registration(begun.state, made).unwrap().passkey;
        let begun = party.start_authentication(std::slice::from_ref(&made)).unwrap();
        let signed = Assertion::parse(phone.sign("http://localhost:8080", &begun.options).await).unwrap();
        assert_eq!(signed.credential_id(), made.credential_id());
        assert_eq!(signed.user_handle(), Some(holder.handle.as_bytes().as_slice()));
        assert_eq!(begun.options["allowCredentials"], json!([descriptor(&made)]));
        assert!(party.finish_authentication(begun.state, &signed, made).is_ok());
    }
}
