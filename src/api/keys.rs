//! Signing keys: the public halves, for services that verify access tokens themselves.

use poem::{IntoResponse, Request, Response, web::Data};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};

use super::{Tag, cache, problem::refusals, reply::Reply};
use crate::app::App;

refusals! {
    /// `readJwks`.
    ReadJwks:;
}

/// The media type of a JWK set (RFC 7517 section 8.5.2).
const MEDIA_TYPE: &str = "application/jwk-set+json";
/// A new key is published at least this long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// A set of public keys (RFC 7517 section 5).
#[derive(Debug, Object)]
struct JwkSet {
    /// The keys; empty while an HS256 secret signs.
    #[oai(validator(max_items = 100))]
    keys: Vec<Jwk>,
}

/// A public key. Which other members it has depends on `kty` (RFC 7518 section 6, RFC 8037 section 2).
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Jwk {
    /// The family: `OKP`, `EC` or `RSA`.
    #[oai(validator(max_length = 8))]
    kty: String,
    /// Names the key in a token's header: its RFC 7638 thumbprint.
    #[oai(validator(max_length = 64))]
    kid: String,
    /// Always `sig`.
    #[oai(rename = "use", validator(max_length = 8))]
    usage: String,
    /// The one algorithm it is for.
    #[oai(validator(max_length = 8))]
    alg: String,
    /// The curve.
    #[oai(validator(max_length = 16))]
    crv: Option<String>,
    /// The first coordinate, or the public key.
    #[oai(validator(max_length = 64))]
    x: Option<String>,
    /// The second coordinate.
    #[oai(validator(max_length = 64))]
    y: Option<String>,
    /// The modulus.
    #[oai(validator(max_length = 1024))]
    n: Option<String>,
    /// The exponent.
    #[oai(validator(max_length = 16))]
    e: Option<String>,
}

/// 200 with the key set, or 304.
struct PublicKeys(Response);

impl IntoResponse for PublicKeys {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for PublicKeys {
    fn meta() -> MetaResponses {
        let header = |name: &str, about: &str| MetaHeader {
            name: name.into(),
            description: Some(about.into()),
            required: true,
            deprecated: false,
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
        };
        let response = |status, content| MetaResponse {
            description: "",
            status: Some(status),
            status_range: None,
            content,
            headers: vec![
                header("ETag", "Names this state; send it back in `If-None-Match`."),
                header("Cache-Control", "How long the set may be kept."),
            ],
        };
        let set = MetaMediaType { content_type: MEDIA_TYPE, schema: JwkSet::schema_ref() };
        MetaResponses { responses: vec![response(200, vec![set]), response(304, Vec::new())] }
    }

    fn register(registry: &mut Registry) {
        JwkSet::register(registry);
    }
}

/// The operations on signing keys.
pub struct Keys;

#[OpenApi(tag = "Tag::Keys")]
impl Keys {
    /// Get the public keys.
    ///
    /// With them any service verifies access tokens by itself (RFC 7517). Keep the set for as long as `Cache-Control` says.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "readJwks")]
    async fn jwks(&self, request: &Request, app: Data<&App>) -> Reply<PublicKeys, ReadJwks> {
        Ok(PublicKeys(cache::respond(request, MEDIA_TYPE, CACHE_CONTROL, app.keys.load().jwks())))
    }
}
