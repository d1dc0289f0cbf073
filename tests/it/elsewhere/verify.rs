use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header, jwk::JwkSet};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub roles: Vec<String>,
}

/// The public keys. Keep them for five minutes, and read them again when `verify` does not know a key.
pub fn keys(issuer: &str) -> Result<JwkSet, ureq::Error> {
    ureq::get(format!("{issuer}/.well-known/jwks.json")).call()?.body_mut().read_json()
}

/// What an access token of this issuer says; `None` if it is not good.
pub fn verify(keys: &JwkSet, issuer: &str, token: &str) -> Option<Claims> {
    let key = keys.find(&decode_header(token).ok()?.kid?)?;
    let mut demands = Validation::new(Algorithm::EdDSA); // `signing.algorithm`
    demands.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    demands.set_issuer(&[issuer]);
    demands.set_audience(&["vestibule"]); // `tokens.audience`
    demands.leeway = 0; // not a minute
    demands.reject_tokens_expiring_in_less_than = 1; // nor the second that `exp` names (RFC 7519 section 4.1.4)
    let TokenData { header, claims, .. } = decode(token, &DecodingKey::from_jwk(key).ok()?, &demands).ok()?;
    (header.typ? == "at+jwt").then_some(claims)
}
