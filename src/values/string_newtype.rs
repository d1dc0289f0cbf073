//! The methods and traits that every newtype around a checked `String` has.

/// Implements `as_str`, `into_string`, `Display`, `AsRef<str>`, `Borrow<str>` and `Into<String>` for a newtype around a
/// private `String`.
macro_rules! string_newtype {
    ($Type:ident) => {
        impl $Type {
            /// Returns the canonical text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the canonical text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl std::fmt::Display for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $Type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $Type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$Type> for String {
            fn from(value: $Type) -> Self {
                value.0
            }
        }
    };
}

pub(super) use string_newtype;
