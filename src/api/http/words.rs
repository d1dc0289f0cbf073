//! The types of `values` in the contract: their schemas, and how JSON members and parameters are parsed into them.

use std::{borrow::Cow, iter};

use chrono::{DateTime, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{
    domain::audit::Kind,
    entity::mail::MailState,
    values::{
        Invalid,
        authentication::Acr,
        ceremony::CeremonyText,
        challenge::Challenge,
        description::Description,
        email::Email,
        factor_kind::FactorProofKind,
        identifier::Identifier,
        ids::{FactorId, InvitationId, MailId, SessionRef, UserId},
        key_id::KeyId,
        mail_kind::MailKind,
        name::Name,
        passkey_credential::PasskeyCredential,
        password::{NewPassword, Password},
        permission::PermissionName,
        query::{Cursor, Limit, SubjectId},
        recovery_code::RecoveryCode,
        registration_mode::RegistrationMode,
        revision::IfMatch,
        role_name::RoleName,
        search::SearchTerm,
        ticket_code::TicketCode,
        ticket_handle::TicketHandle,
        ticket_purpose::TicketPurpose,
        ticket_token::TicketToken,
        time::rfc3339,
        totp_code::TotpCode,
        username::Username,
    },
};

/// The type of a query parameter.
pub trait Parameter: Type + Sized + 'static {
    /// Parses the value.
    fn read(raw: &str) -> Result<Self, Invalid>;
}

impl Parameter for bool {
    fn read(raw: &str) -> Result<Self, Invalid> {
        raw.parse().map_err(|_| Invalid::new("not_allowed", "Must be true or false."))
    }
}

/// Parses a value of an enum. Fails with `not_allowed`, which names the values of the enum.
pub fn choose<T: ParseFromParameter>(raw: &str) -> Result<T, Invalid> {
    T::parse_from_parameter(raw).map_err(|_| {
        let mut registry = Registry::new();
        T::register(&mut registry);
        one_of(&registry.schemas.into_values().flat_map(|schema| schema.enum_items).collect::<Vec<_>>())
    })
}

/// The fault of a value that is none of an enum's `options`.
pub fn one_of(options: &[Value]) -> Invalid {
    let names: Vec<_> = options.iter().filter_map(Value::as_str).collect();
    let detail = if names.len() <= 10 {
        Cow::from(format!("Must be one of these: {}.", names.join(", ")))
    } else {
        "Is none of the values that the contract lists.".into()
    };
    Invalid::new("not_allowed", detail)
}

/// Parses a string as a format's type, to learn what is wrong with it.
pub type Check = fn(&str) -> Result<(), Invalid>;

/// Returns the check of a format. Panics if no type has it.
pub fn format(name: &str) -> Check {
    let known = FORMATS.iter().find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("no type has the format {name}")).1
}

/// Implements the schema of a type, in place or as a named component.
macro_rules! typed {
    ($word:ty, $schema:expr) => {
        $crate::api::http::words::typed!($word, poem_openapi::registry::MetaSchemaRef::Inline(Box::new($schema)), |_| {});
    };
    ($word:ty, $name:literal, $schema:expr) => {
        $crate::api::http::words::typed!(
            $word,
            poem_openapi::registry::MetaSchemaRef::Reference($name.into()),
            |registry: &mut poem_openapi::registry::Registry| registry.create_schema::<Self, _>($name.into(), |_| $schema)
        );
    };
    ($word:ty, $reference:expr, $register:expr) => {
        impl poem_openapi::types::Type for $word {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($word).into()
            }

            fn schema_ref() -> poem_openapi::registry::MetaSchemaRef {
                $reference
            }

            fn register(registry: &mut poem_openapi::registry::Registry) {
                let register: fn(&mut poem_openapi::registry::Registry) = $register;
                register(registry);
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }
    };
}

pub(in crate::api) use typed;

macro_rules! words {
    ($($word:ty = $kind:literal $format:literal { $($limit:ident: $value:expr),* };)*) => {
        /// Every format that the schemas of requests name, with its parser.
        pub(super) const FORMATS: &[(&str, Check)] = &[$(($format, |text| text.parse::<$word>().map(drop))),*];

        $(
            typed!($word, MetaSchema { $($limit: Some($value),)* ..MetaSchema::new_with_format($kind, $format) });

            impl ParseFromJSON for $word {
                fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                    match value {
                        Some(Value::String(raw)) => raw.parse().map_err(ParseError::custom),
                        _ => Err(ParseError::custom("is not a string")),
                    }
                }
            }

            impl ParseFromParameter for $word {
                fn parse_from_parameter(raw: &str) -> ParseResult<Self> {
                    raw.parse().map_err(ParseError::custom)
                }
            }

            impl Parameter for $word {
                fn read(raw: &str) -> Result<Self, Invalid> {
                    raw.trim().parse()
                }
            }
        )*
    };
}

words! {
    Email = "string" "email" { min_length: 3, max_length: 254, example: "ada@example.org".into() };
    Username = "string" "username" { min_length: 3, max_length: 32, pattern: r"^\s*[A-Za-z][A-Za-z0-9._-]{2,}\s*$".into(), example: "ada".into() };
    Name = "string" "person-name" { min_length: 1, max_length: 100, example: "Ada Lovelace".into() };
    Password = "string" "password" { min_length: 1, max_length: 1024, example: EXAMPLE_PASSWORD.into() };
    NewPassword = "string" "new-password" { min_length: 8, max_length: 1024, example: EXAMPLE_PASSWORD.into() };
    RoleName = "string" "role-name" { description: "A role's name.", min_length: 2, max_length: 32, pattern: "^[a-z0-9_-]+$".into(), example: "clerk".into() };
    Identifier = "string" "identifier" { min_length: 1, max_length: 254, example: "ada@example.org".into() };
    UserId = "string" "uuid" { description: "A user's id.", min_length: 36, max_length: 36, example: "019b76da-a800-7000-8000-3f1e9c7a5d21".into() };
    TicketToken = "string" "ticket-token" { description: "The token from a link: what follows `#t=`.", min_length: TicketToken::LENGTH, max_length: TicketToken::LENGTH, pattern: r"^vt1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$".into(), example: "vt1.VQiX0sUIR9GxSbZJQmUeGw.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE".into() };
    TicketHandle = "string" "ticket-handle" { min_length: TicketHandle::LENGTH, max_length: TicketHandle::LENGTH, pattern: r"^vh1\.[A-Za-z0-9_-]+$".into(), example: "vh1.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE".into() };
    TicketCode = "string" "ticket-code" { min_length: 8, max_length: 32, example: "1234 5678".into() };
    CeremonyText = "string" "ceremony" { description: "The ceremony from the response with the options. It works once.", min_length: 26, max_length: CeremonyText::MAX_LENGTH, pattern: r"^vp1\.[A-Za-z0-9_-]+$".into(), example: "vp1.VQiX0sUIR9GxSbZJQmUeG_q3Zk0mIYyO3N6QyD8m7gk".into() };
    InvitationId = "string" "uuid" { description: "An invitation's id.", min_length: 36, max_length: 36, example: "019b76da-a800-7000-8000-7e1a9d4b6c53".into() };
    FactorId = "string" "uuid" { description: "A factor's id.", min_length: 36, max_length: 36, example: "019b76da-a800-7000-8000-4c7b1e9d3f58".into() };
    Challenge = "string" "challenge" { min_length: Challenge::LENGTH, max_length: Challenge::LENGTH, pattern: r"^vc1\.[A-Za-z0-9_-]+$".into(), example: "vc1.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE".into() };
    TotpCode = "string" "totp-code" { min_length: 6, max_length: 32, example: "123 456".into() };
    RecoveryCode = "string" "recovery-code" { min_length: 16, max_length: 64, example: "4F7K-2M9P-XW3B-R8TQ".into() };
    MailId = "string" "uuid" { description: "A mail's id.", min_length: 36, max_length: 36, example: "019b76da-a800-7000-8000-2d8f5a3c7e41".into() };
    SessionRef = "string" "session-reference" { description: "A session's id, or `current`.", min_length: 7, max_length: 36, example: "current".into() };
    Description = "string" "description" { min_length: 1, max_length: 300, example: "The staff who refund payments.".into() };
    PermissionName = "string" "permission" { min_length: 3, max_length: 64, pattern: "^[a-z0-9._-]+:[a-z0-9._-]+$".into(), example: "users:read".into() };
    KeyId = "string" "key-id" { description: "A key's id.", min_length: 1, max_length: 64, pattern: "^[A-Za-z0-9_-]+$".into(), example: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into() };
    SubjectId = "string" "subject-id" { min_length: 1, max_length: 64, pattern: "^[A-Za-z0-9._-]+$".into(), example: "clerk".into() };
    SearchTerm = "string" "search" { min_length: 1, max_length: 254, example: "ada".into() };
    Cursor = "string" "cursor" { min_length: 1, max_length: 512, pattern: "^[A-Za-z0-9_-]+$".into(), example: "eyJhIjoxfQ".into() };
    Limit = "integer" "int32" { minimum: 1.0, maximum: 100.0, default: 25.into(), example: 25.into() };
}

typed!(
    IfMatch,
    MetaSchema {
        max_length: Some(IfMatch::LONGEST),
        example: Some("\"1\"".into()),
        ..MetaSchema::new_with_format("string", "if-match")
    }
);

typed!(
    PasskeyCredential,
    "PasskeyCredential",
    MetaSchema {
        description: Some("What `credential.toJSON()` returns in a browser (WebAuthn Level 3 section 5.1), unchanged."),
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        ..MetaSchema::new("object")
    }
);

impl ParseFromJSON for PasskeyCredential {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            Some(Value::Object(members)) => Ok(Self(members)),
            _ => Err(ParseError::custom("is not an object")),
        }
    }
}

/// The password of all examples, so that *Execute* works for `registerAccount` and then for `logIn` without typing.
const EXAMPLE_PASSWORD: &str = "seven tall ships at dawn";

/// A member of a PATCH: absent (`None`), `null` (`Some(None)`), or a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clearable<T>(pub Option<Option<T>>);

impl<T: Type> Type for Clearable<T> {
    const IS_REQUIRED: bool = false;
    type RawValueType = T::RawValueType;
    type RawElementValueType = T::RawElementValueType;

    fn name() -> Cow<'static, str> {
        format!("clearable_{}", T::name()).into()
    }

    fn schema_ref() -> MetaSchemaRef {
        match T::schema_ref() {
            MetaSchemaRef::Inline(schema) => MetaSchemaRef::Inline(Box::new(MetaSchema { nullable: true, ..*schema })),
            reference @ MetaSchemaRef::Reference(_) => {
                let null = MetaSchemaRef::Inline(Box::new(MetaSchema::new("null")));
                MetaSchemaRef::Inline(Box::new(MetaSchema { any_of: vec![reference, null], ..MetaSchema::ANY }))
            }
        }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self::RawValueType> {
        self.0.as_ref()?.as_ref()?.as_raw_value()
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self::RawElementValueType> + 'a> {
        match &self.0 {
            Some(Some(value)) => value.raw_element_iter(),
            _ => Box::new(iter::empty()),
        }
    }
}

impl<T: ParseFromJSON> ParseFromJSON for Clearable<T> {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        match value {
            None => Ok(Self(None)),
            Some(Value::Null) => Ok(Self(Some(None))),
            value => T::parse_from_json(value).map(|value| Self(Some(Some(value)))).map_err(ParseError::propagate),
        }
    }
}

/// A time in a response: see [`rfc3339`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub DateTime<Utc>);

/// The length of a [`Time`] in characters.
const TIME: usize = 27;

typed!(
    Time,
    MetaSchema {
        min_length: Some(TIME),
        max_length: Some(TIME),
        pattern: Some(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$".into()),
        example: Some("2026-01-01T12:00:00.000000Z".into()),
        ..MetaSchema::new_with_format("string", "date-time")
    }
);

impl ToJSON for Time {
    fn to_json(&self) -> Option<Value> {
        Some(rfc3339(self.0).into())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl ParseFromJSON for Time {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let time = TimeBound::read(value.as_ref().and_then(Value::as_str).unwrap_or_default());
        time.map(|TimeBound(at)| Self(at)).map_err(ParseError::custom)
    }
}

/// A time in a query: RFC 3339 with any offset and precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBound(pub DateTime<Utc>);

/// The maximum length of a [`TimeBound`] in characters, which leaves room for nanoseconds.
const LONGEST_TIME: usize = 40;

typed!(
    TimeBound,
    MetaSchema {
        max_length: Some(LONGEST_TIME),
        example: Some("2026-01-01T12:00:00Z".into()),
        ..MetaSchema::new_with_format("string", "date-time")
    }
);

impl Parameter for TimeBound {
    fn read(raw: &str) -> Result<Self, Invalid> {
        let parsed = DateTime::parse_from_rfc3339(raw).ok().filter(|_| raw.len() <= LONGEST_TIME);
        let invalid = || Invalid::new("format", "Must be a time of RFC 3339, such as 2026-01-01T12:00:00Z.");
        parsed.map(|time| Self(time.to_utc())).ok_or_else(invalid)
    }
}

/// A type of the contract whose values are a list of names, each with the value of the product that it stands for.
macro_rules! named {
    ($($Type:ty = $name:literal, $about:literal;)*) => {$(
        typed!(
            $Type,
            $name,
            MetaSchema {
                description: Some($about),
                enum_items: <$Type>::ALL.iter().map(|value| value.as_str().into()).collect(),
                ..MetaSchema::new("string")
            }
        );

        impl ToJSON for $Type {
            fn to_json(&self) -> Option<Value> {
                Some(self.as_str().into())
            }
        }

        impl Serialize for $Type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl ParseFromJSON for $Type {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                Self::parse_from_parameter(value.as_ref().and_then(Value::as_str).unwrap_or_default()).map_err(ParseError::propagate)
            }
        }

        impl ParseFromParameter for $Type {
            fn parse_from_parameter(raw: &str) -> ParseResult<Self> {
                let found = Self::ALL.iter().copied().find(|value| value.as_str() == raw);
                found.ok_or_else(|| ParseError::custom("is none of the names"))
            }
        }

        impl Parameter for $Type {
            fn read(raw: &str) -> Result<Self, Invalid> {
                choose(raw)
            }
        }
    )*};
}

named! {
    RegistrationMode = "RegistrationMode", "Who may create an account: everyone (`open`), everyone who reads the mailbox of the address (`verified`), those whom an administrator has invited (`invited`), or nobody (`closed`).";
    FactorProofKind = "FactorProofKind", "How a second factor can be proven: with the code of an authenticator app (`totp`), with a passkey, or with a recovery code.";
    TicketPurpose = "TicketPurpose", "What a link permits.";
    MailKind = "MailKind", "What a mail is about.";
    MailState = "MailState", "The state of a mail: `queued` waits to be sent, for the first time or again; `sending` is being sent; `sent` was accepted by the mail server; `failed` could not be sent; `dropped` became pointless before it was sent.";
}

typed!(
    Acr,
    "Acr",
    MetaSchema {
        description: Some("A level of authentication: one factor (`1`) or two (`2`)."),
        enum_items: Acr::ALL.iter().map(|acr| acr.as_str().into()).collect(),
        ..MetaSchema::new("string")
    }
);

impl ToJSON for Acr {
    fn to_json(&self) -> Option<Value> {
        Some(self.as_str().into())
    }
}

impl ParseFromJSON for Acr {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        value.as_ref().and_then(Value::as_str).unwrap_or_default().parse().map_err(ParseError::custom)
    }
}

typed!(
    Kind,
    "AuditEventKind",
    MetaSchema {
        description: Some("The kind of an audit event."),
        enum_items: Kind::ALL.iter().map(|kind| kind.name().into()).collect(),
        ..MetaSchema::new("string")
    }
);

impl ParseFromParameter for Kind {
    fn parse_from_parameter(raw: &str) -> ParseResult<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == raw).ok_or_else(|| ParseError::custom("is no kind of event"))
    }
}

impl Parameter for Kind {
    fn read(raw: &str) -> Result<Self, Invalid> {
        choose(raw)
    }
}
