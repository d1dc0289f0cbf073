//! The HTTP API. A handler translates and `domain` decides. Besides `server`, this is the only layer that knows poem.

pub mod account_pages;
pub mod accounts;
pub mod audit;
pub mod authentication;
pub mod contract;
pub mod docs;
pub mod factors;
pub mod guard;
pub mod health;
pub mod http;
pub mod invitations;
pub mod mails;
pub mod me;
pub mod objects;
pub mod options;
pub mod pages;
pub mod passkeys;
pub mod roles;
pub mod sessions;
pub mod sign_ups;
pub mod signing_keys;
pub mod tokens;
pub mod users;

use poem::{Endpoint, IntoEndpoint, Response};
use poem_openapi::{OpenApi, OpenApiService, Tags};

use self::contract::Documented;

/// The groups of operations in the document and in Swagger UI.
#[derive(Debug, Clone, Copy, Tags)]
pub enum Tag {
    /// Registration, sign-ups, and passwords that were forgotten.
    Accounts,
    /// Log-in, refresh and log-out.
    Sessions,
    /// The caller's own account.
    Me,
    /// The caller's own second factors.
    #[oai(rename = "Second factors")]
    Factors,
    /// Administration of accounts.
    Users,
    /// People whom administrators have invited to create an account.
    Invitations,
    /// Roles and the permissions that they grant.
    Roles,
    /// The audit trail.
    Audit,
    /// The mails that the service sends.
    Mails,
    /// Access tokens.
    Tokens,
    /// The keys that sign access tokens.
    #[oai(rename = "Signing keys")]
    SigningKeys,
    /// The service itself.
    Service,
}

/// Every operation.
fn apis() -> Documented<impl OpenApi> {
    Documented((
        accounts::AccountsApi,
        sign_ups::SignUpsApi,
        sessions::SessionsApi,
        me::MeApi,
        authentication::AuthenticationApi,
        factors::FactorsApi,
        passkeys::PasskeysApi,
        users::UsersApi,
        invitations::InvitationsApi,
        roles::RolesApi,
        audit::AuditApi,
        mails::MailsApi,
        tokens::TokensApi,
        signing_keys::SigningKeysApi,
        options::OptionsApi,
        health::ServiceApi,
    ))
}

/// The operations of the contract. The server adds the [pages], and what all responses have in common.
pub fn operations() -> impl Endpoint<Output = Response> {
    OpenApiService::new(apis(), "", "").into_endpoint()
}
