//! The HTTP API. A handler translates and `domain` decides. Besides `server`, this is the only layer that knows poem.

pub mod accounts;
pub mod audit;
pub mod contract;
pub mod docs;
pub mod guard;
pub mod health;
pub mod http;
pub mod invitations;
pub mod mails;
pub mod me;
pub mod objects;
pub mod options;
pub mod roles;
pub mod sessions;
pub mod sign_ups;
pub mod signing_keys;
pub mod tokens;
pub mod users;

use std::future::Future;

use poem::{
    Endpoint, EndpointExt, Request, Response, Result, Route,
    endpoint::{BoxEndpoint, DynEndpoint, make_sync},
    get,
};
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

/// The operations of the contract, the contract itself, and its page. The server adds what all responses have in common.
pub fn routes() -> impl Endpoint<Output = Response> {
    let document = http::cache::Document::new(contract::text());
    let contract = move |request: Request| document.respond(&request, "application/json", "no-cache");
    Routes {
        operations: OpenApiService::new(apis(), "", "").boxed(),
        pages: docs::mount(Route::new()).at("/openapi.json", get(make_sync(contract))).boxed(),
    }
}

/// The operations, and beside them the pages. As routes of one poem `Route`, the operations would be nested in the pages, and
/// each request would be matched twice and its URI parsed again.
struct Routes {
    operations: BoxEndpoint<'static>,
    pages: BoxEndpoint<'static>,
}

impl Endpoint for Routes {
    type Output = Response;

    fn call(&self, request: Request) -> impl Future<Output = Result<Response>> + Send {
        let path = request.uri().path();
        let is_page = path == "/openapi.json" || path.starts_with("/docs");
        DynEndpoint::call(if is_page { &*self.pages } else { &*self.operations }, request)
    }
}
