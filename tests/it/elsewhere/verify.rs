use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, TokenData, Validation, decode, decode_header,
    jwk::{Jwk, JwkSet},
};
use serde::{Deserialize, de::DeserializeOwned};

/// How long a key set is used.
const KEPT: Duration = Duration::from_secs(300);
/// The minimum age at which an unknown key id causes the key set to be read again.
const COOLDOWN: Duration = Duration::from_secs(30);

/// The claims of an access token that this program uses.
#[derive(Debug, Deserialize)]
pub struct Claims {
    pub sub: String,
    pub roles: Vec<String>,
}

/// The caller, as `GET /v1/token` describes it.
#[derive(Debug, Deserialize)]
pub struct Caller {
    pub subject: String,
    pub roles: Vec<String>,
    pub permissions: Vec<String>,
}

/// The response that rejects a request: its status and its `WWW-Authenticate` header. Send `Retry-After` with a 503.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub challenge: Option<String>,
}

impl Refusal {
    const UNAVAILABLE: Self = Self { status: 503, challenge: None };

    fn unauthorized(challenge: &str) -> Self {
        Self { status: 401, challenge: Some(challenge.into()) }
    }

    fn invalid_token() -> Self {
        Self::unauthorized(r#"Bearer error="invalid_token""#)
    }
}

/// Returns the access token of an `Authorization` header (RFC 6750 section 2.1).
fn bearer(authorization: Option<&str>) -> Result<&str, Refusal> {
    let (scheme, token) = authorization.and_then(|value| value.split_once(' ')).unwrap_or_default();
    let token = token.trim_matches(' ');
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte));
    if scheme.eq_ignore_ascii_case("Bearer") && is_token { Ok(token) } else { Err(Refusal::unauthorized("Bearer")) }
}

/// Verifies the access tokens of one Vestibule. Create one for the whole service.
pub struct Verifier {
    issuer: String,
    vestibule: String,
    agent: ureq::Agent,
    keys: Mutex<Option<(Instant, JwkSet)>>,
}

impl Verifier {
    /// Creates a verifier. `issuer` is `tokens.issuer`; `vestibule` is the address at which this service reaches Vestibule.
    pub fn new(issuer: &str, vestibule: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(5)));
        let (issuer, vestibule) = (issuer.to_owned(), vestibule.to_owned());
        Self { issuer, vestibule, agent: config.build().into(), keys: Mutex::default() }
    }

    /// Returns the claims of a request's access token. Fails with 401 or 503.
    pub fn verify(&self, authorization: Option<&str>) -> Result<Claims, Refusal> {
        let token = bearer(authorization)?;
        let kid = decode_header(token).ok().and_then(|header| header.kid).ok_or_else(Refusal::invalid_token)?;
        let key = self.key(&kid)?;
        let mut rules = Validation::new(Algorithm::EdDSA); // `signing.algorithm`
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&["vestibule"]); // `tokens.audience`
        rules.leeway = 0;
        rules.reject_tokens_expiring_in_less_than = 1; // not in the second that `exp` names (RFC 7519 section 4.1.4)
        let read = DecodingKey::from_jwk(&key).and_then(|key| decode::<Claims>(token, &key, &rules));
        match read {
            Ok(TokenData { header, claims, .. }) if header.typ.as_deref() == Some("at+jwt") => Ok(claims),
            _ => Err(Refusal::invalid_token()),
        }
    }

    /// Returns the caller if Vestibule confirms that a role grants `permission`. Fails with 401, 403 or 503.
    pub fn authorize(&self, authorization: Option<&str>, permission: &str) -> Result<Caller, Refusal> {
        let caller: Caller = self.get("/v1/token", Some(bearer(authorization)?))?;
        if caller.roles.iter().any(|role| role == "admin") || caller.permissions.iter().any(|held| held == permission) {
            return Ok(caller);
        }
        let challenge = format!(r#"Bearer error="insufficient_scope", scope="{permission}""#);
        Err(Refusal { status: 403, challenge: Some(challenge) })
    }

    /// Returns the key with this id, from a key set that is at most `KEPT` old.
    fn key(&self, kid: &str) -> Result<Jwk, Refusal> {
        let mut kept = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |set: &JwkSet| set.find(kid).cloned();
        if let Some((read_at, set)) = &*kept {
            match found(set) {
                Some(key) if read_at.elapsed() < KEPT => return Ok(key),
                None if read_at.elapsed() < COOLDOWN => return Err(Refusal::invalid_token()),
                _ => {}
            }
        }
        let set = self.get("/.well-known/jwks.json", None)?;
        let key = found(&set).ok_or_else(Refusal::invalid_token);
        *kept = Some((Instant::now(), set));
        key
    }

    /// Sends a request to Vestibule. Passes its 401 and 403 on; every other failure is an outage.
    fn get<T: DeserializeOwned>(&self, path: &str, token: Option<&str>) -> Result<T, Refusal> {
        let mut request = self.agent.get(format!("{}{path}", self.vestibule));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().map_err(|_| Refusal::UNAVAILABLE)?;
        match answer.status().as_u16() {
            200 => answer.body_mut().read_json().map_err(|_| Refusal::UNAVAILABLE),
            status @ (401 | 403) if token.is_some() => {
                let challenge = answer.headers().get("WWW-Authenticate").and_then(|value| value.to_str().ok());
                Err(Refusal { status, challenge: Some(challenge.unwrap_or("Bearer").to_owned()) })
            }
            _ => Err(Refusal::UNAVAILABLE),
        }
    }
}
