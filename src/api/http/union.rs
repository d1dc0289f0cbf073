//! Unions: a part of a request that has several variants. Each variant is an object that contains its `kind`.

/// Declares a union: an enum whose variants are request objects, each with the value of its member `kind`. The contract shows
/// `oneOf` with a discriminator, so that generated types are discriminated too, and a fault has the pointer of the variant that
/// `kind` names.
macro_rules! union {
    ($(#[doc = $doc:literal])+ pub enum $Union:ident { $($kind:literal $Variant:ident,)+ }) => {
        $(#[doc = $doc])+
        pub enum $Union {
            $(#[doc = $kind] $Variant($Variant),)+
        }

        $crate::api::http::words::typed!(
            $Union,
            poem_openapi::registry::MetaSchemaRef::Reference(stringify!($Union).into()),
            |registry: &mut poem_openapi::registry::Registry| {
                use poem_openapi::registry::{MetaDiscriminatorObject, MetaSchema};
                $($Variant::register(registry);)+
                registry.create_schema::<Self, _>(stringify!($Union).into(), |_| MetaSchema {
                    description: Some(concat!($($doc),+).trim_ascii()),
                    one_of: vec![$($Variant::schema_ref()),+],
                    discriminator: Some(MetaDiscriminatorObject {
                        property_name: "kind",
                        mapping: [$(($kind.to_owned(), concat!("#/components/schemas/", stringify!($Variant)).to_owned())),+].into(),
                    }),
                    ..MetaSchema::ANY
                });
            }
        );

        impl poem_openapi::types::ParseFromJSON for $Union {
            fn parse_from_json(value: Option<serde_json::Value>) -> poem_openapi::types::ParseResult<Self> {
                use poem_openapi::types::ParseError;
                let kind = value.as_ref().and_then(|value| value["kind"].as_str()).unwrap_or_default();
                match kind {
                    $($kind => $Variant::parse_from_json(value).map(Self::$Variant).map_err(ParseError::propagate),)+
                    _ => Err(ParseError::custom("has no known kind")),
                }
            }
        }
    };
}

pub(in crate::api) use union;
