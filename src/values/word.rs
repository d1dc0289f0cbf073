//! What every word that is a checked `String` can do, said once.

/// Gives a newtype around a private `String`: `as_str`, `into_string`, `Display`, `AsRef<str>`, `Borrow<str>` and
/// `From<Self> for String`.
macro_rules! word {
    ($word:ident) => {
        impl $word {
            /// The word in its canonical spelling.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The word in its canonical spelling, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl std::fmt::Display for $word {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $word {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $word {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<$word> for String {
            fn from(word: $word) -> Self {
                word.0
            }
        }
    };
}

pub(super) use word;
