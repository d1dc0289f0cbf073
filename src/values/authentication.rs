//! How a user has shown that an account is theirs: the methods, the names by which tokens list them (`amr`, RFC 8176), and the
//! level that they reach (`acr`).

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use sea_orm::DeriveValueType;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{Invalid, ids::FactorId};

/// A method of authentication that has succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The password of the account.
    Password,
    /// A code of this factor, an authenticator app.
    Totp(FactorId),
    /// One of the codes that replace a lost factor.
    RecoveryCode,
    /// This passkey, which has verified its user. Such a passkey alone is two factors.
    Passkey(FactorId),
}

impl Method {
    /// Returns the name in the audit trail and in requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Totp(_) => "totp",
            Self::RecoveryCode => "recovery_code",
            Self::Passkey(_) => "passkey",
        }
    }

    /// The names in `amr`.
    const fn names(self) -> &'static [Name] {
        match self {
            Self::Password => &[Name::Pwd],
            Self::Totp(_) | Self::RecoveryCode => &[Name::Otp],
            Self::Passkey(_) => &[Name::Pop, Name::User],
        }
    }

    const fn factor(self) -> Option<FactorId> {
        match self {
            Self::Totp(id) | Self::Passkey(id) => Some(id),
            Self::Password | Self::RecoveryCode => None,
        }
    }
}

/// How, and when, the user of a session has been authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// When the user was last authenticated.
    pub auth_time: DateTime<Utc>,
    /// The level that the methods reach.
    pub acr: Acr,
    /// The methods.
    pub amr: Amr,
    /// The factors among them.
    pub factors: FactorIds,
}

impl Authentication {
    /// Returns the authentication of a session that begins with these methods.
    pub fn by(methods: &[Method], now: DateTime<Utc>) -> Self {
        let none = Self { auth_time: now, acr: Acr::One, amr: Amr(0), factors: FactorIds::default() };
        methods.iter().fold(none, |authentication, method| authentication.and(*method, now))
    }

    /// Returns the authentication of a session whose user is authenticated again.
    #[must_use]
    pub fn and(mut self, method: Method, now: DateTime<Utc>) -> Self {
        self.amr = self.amr.with(method);
        self.factors.0.extend(method.factor().filter(|id| !self.factors.0.contains(id)));
        Self { auth_time: now, acr: self.amr.acr(), ..self }
    }
}

/// The level of an authentication: the claim `acr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum Acr {
    /// One factor.
    #[default]
    #[serde(rename = "1")]
    One,
    /// Two factors.
    #[serde(rename = "2")]
    Two,
}

impl Acr {
    /// Every level, the lowest first.
    pub const ALL: &'static [Self] = &[Self::One, Self::Two];

    /// Returns the name in tokens, rows and responses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::Two => "2",
        }
    }
}

impl fmt::Display for Acr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Acr {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let level = Self::ALL.iter().copied().find(|level| level.as_str() == raw);
        level.ok_or_else(|| Invalid::new("not_allowed", "Must be 1 or 2."))
    }
}

/// A name in `amr` (RFC 8176 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// `pwd`: a password.
    Pwd,
    /// `otp`: a one-time code.
    Otp,
    /// `pop`: proof of possession of a key. `hwk`, a key in hardware, would need an attestation, which is not requested.
    Pop,
    /// `user`: the authenticator has verified its user.
    User,
    /// `mfa`: more than one factor.
    Mfa,
}

impl Name {
    const ALL: [Self; 5] = [Self::Pwd, Self::Otp, Self::Pop, Self::User, Self::Mfa];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Pwd => "pwd",
            Self::Otp => "otp",
            Self::Pop => "pop",
            Self::User => "user",
            Self::Mfa => "mfa",
        }
    }

    fn parse(raw: &str) -> Result<Self, Invalid> {
        let name = Self::ALL.into_iter().find(|name| name.as_str() == raw);
        name.ok_or_else(|| Invalid::new("not_allowed", "Is no method of authentication."))
    }
}

/// The methods of an authentication: the claim `amr`. A set, as one bit for each name of RFC 8176.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct Amr(u8);

impl Default for Amr {
    /// Returns the methods of a log-in with a password.
    fn default() -> Self {
        Self(0).with(Method::Password)
    }
}

impl Amr {
    /// Returns the names in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Name::ALL.into_iter().filter(move |name| self.has(*name)).map(Name::as_str)
    }

    const fn has(self, name: Name) -> bool {
        self.0 & (1 << name as u8) != 0
    }

    const fn and(self, name: Name) -> Self {
        Self(self.0 | 1 << name as u8)
    }

    fn with(self, method: Method) -> Self {
        let all = method.names().iter().fold(self, |names, name| names.and(*name));
        // A passkey that verifies its user is two factors, as are two methods of different kinds. Two one-time codes are not.
        let kinds = [Name::Pwd, Name::Otp, Name::Pop].into_iter().filter(|name| all.has(*name)).count();
        if kinds > 1 || all.has(Name::User) { all.and(Name::Mfa) } else { all }
    }

    const fn acr(self) -> Acr {
        if self.has(Name::Mfa) { Acr::Two } else { Acr::One }
    }
}

impl fmt::Display for Amr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.names().collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Amr {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        raw.split_ascii_whitespace().try_fold(Self(0), |names, raw| Ok(names.and(Name::parse(raw)?)))
    }
}

impl Serialize for Amr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for Amr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let all = names.iter().try_fold(Self(0), |all, raw| Ok::<_, Invalid>(all.and(Name::parse(raw)?)));
        all.map_err(D::Error::custom)
    }
}

/// The ids of factors, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct FactorIds(Vec<FactorId>);

impl FactorIds {
    /// Returns whether the factor is one of them.
    pub fn contains(&self, id: FactorId) -> bool {
        self.0.contains(&id)
    }
}

impl fmt::Display for FactorIds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for FactorIds {
    type Err = Invalid;

    /// Fails with `format`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        raw.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn id(number: u128) -> FactorId {
        uuid::Uuid::from_u128(number).into()
    }

    #[rstest]
    #[case(&[Method::Password], Acr::One, "pwd")]
    #[case(&[Method::Totp(id(1))], Acr::One, "otp")]
    #[case(&[Method::Password, Method::Password], Acr::One, "pwd")]
    #[case(&[Method::Totp(id(1)), Method::RecoveryCode], Acr::One, "otp")]
    #[case(&[Method::Password, Method::Totp(id(1))], Acr::Two, "pwd otp mfa")]
    #[case(&[Method::RecoveryCode, Method::Password], Acr::Two, "pwd otp mfa")]
    #[case(&[Method::Passkey(id(2))], Acr::Two, "pop user mfa")]
    #[case(&[Method::Password, Method::Passkey(id(2)), Method::Totp(id(1))], Acr::Two, "pwd otp pop user mfa")]
    fn two_factors_are_two_kinds_of_methods_or_a_passkey(#[case] methods: &[Method], #[case] acr: Acr, #[case] amr: &str) {
        let authentication = Authentication::by(methods, DateTime::UNIX_EPOCH);
        assert_eq!((authentication.acr, authentication.amr.to_string().as_str()), (acr, amr));
        let names = json!(amr.split(' ').collect::<Vec<_>>());
        assert_eq!(serde_json::to_value(authentication.amr).unwrap(), names);
        assert_eq!(serde_json::from_value::<Amr>(names).unwrap(), authentication.amr);
        assert_eq!(amr.parse(), Ok(authentication.amr));
    }

    #[test]
    fn another_proof_renews_the_time_and_keeps_what_was_proven() {
        let later = DateTime::from_timestamp(60, 0).unwrap();
        let begun = Authentication::by(&[Method::Password], DateTime::UNIX_EPOCH);
        let raised = begun.clone().and(Method::Totp(id(1)), later).and(Method::Totp(id(1)), later);
        assert_eq!((raised.auth_time, raised.acr), (later, Acr::Two));
        assert_eq!(raised.factors.to_string().parse(), Ok(raised.factors.clone()));
        assert!(raised.factors.contains(id(1)) && !raised.factors.contains(id(2)));
        assert_eq!((begun.factors.to_string().as_str(), raised.factors.0.len()), ("", 1));
    }

    #[test]
    fn unknown_levels_and_methods_are_rejected() {
        assert!(["0", "3", "", "01"].iter().all(|raw| raw.parse::<Acr>().is_err()));
        for raw in [json!(["sms"]), json!("pwd"), json!([1]), json!(null), json!(["pwd otp"]), json!(["pwd", ""])] {
            assert!(serde_json::from_value::<Amr>(raw.clone()).is_err(), "{raw}");
        }
    }
}
