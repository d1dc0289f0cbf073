//! A device that keeps passkeys, with a browser on it: passkey-client makes and uses passkeys as WebAuthn prescribes. It knows of the
//! service only what the service sends.

use passkey_authenticator::{
    Authenticator, CredentialStore, DiscoverabilitySupport, StoreInfo, UiHint, UserCheck, UserValidationMethod,
};
use passkey_client::{Client, DefaultClientData, WebauthnError};
use passkey_crypto::AvailableBackend;
use passkey_types::{
    Passkey,
    ctap2::{
        Aaguid, Ctap2Error, StatusCode,
        make_credential::{Options, PublicKeyCredentialRpEntity, PublicKeyCredentialUserEntity},
    },
    webauthn::PublicKeyCredentialDescriptor,
};
use sea_orm::prelude::async_trait::async_trait;
use serde_json::{Value, json};
use webauthn_rs::prelude::Url;

/// A device, with the passkeys that it keeps.
#[derive(Clone, Default)]
pub struct PasskeyDevice {
    passkeys: Vec<Passkey>,
    /// Whether the passkeys that it makes count their uses.
    counts: bool,
}

impl PasskeyDevice {
    /// A device whose passkeys count their uses, as security keys do.
    pub fn counting() -> Self {
        Self { counts: true, ..Self::default() }
    }

    /// Makes a passkey for a page of `origin`, and returns what the page sends to the service.
    pub async fn make(&mut self, origin: &str, options: &Value) -> Value {
        let request = serde_json::from_value(json!({ "publicKey": options })).unwrap();
        let (mut client, origin) = (Client::new(self.inner()).allows_insecure_localhost(true), origin.parse::<Url>().unwrap());
        let made = client.register(&origin, request, DefaultClientData).await.unwrap();
        self.passkeys.clone_from(&client.authenticator().store().0);
        serde_json::to_value(made).unwrap()
    }

    /// Uses a passkey for a page of `origin`. The newest one that fits is chosen.
    pub async fn sign(&mut self, origin: &str, options: &Value) -> Value {
        self.try_sign(origin, options).await.unwrap()
    }

    /// As [`Self::sign`]. Fails if the browser refuses or no passkey fits.
    pub async fn try_sign(&mut self, origin: &str, options: &Value) -> Result<Value, WebauthnError> {
        let request = serde_json::from_value(json!({ "publicKey": options })).unwrap();
        let (mut client, origin) = (Client::new(self.inner()).allows_insecure_localhost(true), origin.parse::<Url>().unwrap());
        let signed = client.authenticate(&origin, request, DefaultClientData).await?;
        self.passkeys.clone_from(&client.authenticator().store().0);
        Ok(serde_json::to_value(signed).unwrap())
    }

    /// Makes the device forget whose passkeys it has, as one that stores no passkeys.
    pub fn forget_users(&mut self) {
        self.passkeys.iter_mut().for_each(|passkey| passkey.user_handle = None);
    }

    fn inner(&self) -> Authenticator<Store, User, AvailableBackend> {
        let mut inner = Authenticator::new(Aaguid::new_empty(), Store(self.passkeys.clone()), User, AvailableBackend);
        inner.set_make_credentials_with_signature_counter(self.counts);
        inner
    }
}

/// The passkeys of a device, which it offers by host and by id.
struct Store(Vec<Passkey>);

#[async_trait]
impl CredentialStore for Store {
    type PasskeyItem = Passkey;

    async fn find_credentials(
        &self,
        ids: Option<&[PublicKeyCredentialDescriptor]>,
        rp_id: &str,
        _: Option<&[u8]>,
    ) -> Result<Vec<Passkey>, StatusCode> {
        let is_allowed = |passkey: &&Passkey| ids.is_none_or(|ids| ids.iter().any(|id| id.id == passkey.credential_id));
        let found = self.0.iter().rev().filter(|passkey| passkey.rp_id == rp_id).filter(is_allowed);
        Ok(found.cloned().collect())
    }

    async fn save_credential(
        &mut self,
        passkey: Passkey,
        _: PublicKeyCredentialUserEntity,
        _: PublicKeyCredentialRpEntity,
        _: Options,
    ) -> Result<(), StatusCode> {
        self.0.push(passkey);
        Ok(())
    }

    async fn update_credential(&mut self, passkey: &Passkey) -> Result<(), StatusCode> {
        let stored = self.0.iter_mut().find(|stored| stored.credential_id == passkey.credential_id);
        *stored.ok_or(Ctap2Error::NoCredentials)? = passkey.clone();
        Ok(())
    }

    async fn get_info(&self) -> StoreInfo {
        StoreInfo { discoverability: DiscoverabilitySupport::Full }
    }
}

/// A user who touches the device, and enters the PIN if it asks for one.
struct User;

#[async_trait]
impl UserValidationMethod for User {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(&self, _: UiHint<'a, Passkey>, presence: bool, verification: bool) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence, verification })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}
