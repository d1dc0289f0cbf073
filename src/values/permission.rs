//! Permissions: Vestibule's own in one table, the application's as free words, and what it means to hold some of them.

use std::{collections::BTreeSet, str::FromStr};

use super::{Invalid, characters::first_foreign, word::word};

/// One of Vestibule's own permissions, as a type: a guard names it in a handler's signature.
pub trait Permission: Send + Sync + 'static {
    /// The name on the wire.
    const NAME: &'static str;
    /// What it allows, in one sentence.
    const SENTENCE: &'static str;
}

macro_rules! permissions {
    ($($marker:ident, $name:literal, $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            #[derive(Clone, Copy, Debug)]
            pub struct $marker;

            impl Permission for $marker {
                const NAME: &'static str = $name;
                const SENTENCE: &'static str = $sentence;
            }
        )*

        /// Every permission of Vestibule's own: name on the wire, and sentence.
        pub const ALL: &[(&str, &str)] = &[$(($name, $sentence)),*];
    };
}

permissions! {
    ReadUsers,        "users:read",        "See every account.";
    WriteUsers,       "users:write",       "Create and change accounts, disable them and set their passwords.";
    DeleteUsers,      "users:delete",      "Delete accounts.";
    AssignRoles,      "roles:assign",      "Give roles to accounts and take them away.";
    ReadSessions,     "sessions:read",     "See where any account is logged in.";
    EndSessions,      "sessions:end",      "Log any account out.";
    ReadRoles,        "roles:read",        "See roles and permissions.";
    WriteRoles,       "roles:write",       "Create, change and delete roles.";
    ReadAudit,        "audit:read",        "Read the audit log.";
    ReadKeys,         "keys:read",         "See the signing keys.";
    RotateKeys,       "keys:rotate",       "Rotate and revoke signing keys.";
    IntrospectTokens, "tokens:introspect", "Ask whether somebody's access token is valid.";
}

/// A permission's name, Vestibule's own or an application's: `word:word` of `[a-z0-9._-]`, at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PermissionName(String);

word!(PermissionName);

impl FromStr for PermissionName {
    type Err = Invalid;

    /// # Errors
    /// `too_long` or `pattern`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let is_allowed = |it| matches!(it, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':');
        if let Some(which) = first_foreign(raw, is_allowed) {
            let rule = "A permission is word:word of lower-case ASCII letters, digits, dots, underscores and hyphens";
            return Err(Invalid::new("pattern", format!("{rule}, but {which}.")));
        }
        if raw.len() > 64 {
            return Err(Invalid::new("too_long", "A permission has at most 64 characters."));
        }
        match raw.split_once(':') {
            Some((thing, action)) if is_plain(thing) && is_plain(action) => Ok(Self(raw.to_owned())),
            _ => Err(Invalid::new("pattern", "A permission is word:word, with one colon between two words.")),
        }
    }
}

impl PermissionName {
    /// The nearest of Vestibule's own permissions, if this name begins as theirs do (`users:`, and `user:` as well) but is none
    /// of them. A role that granted it would grant nothing.
    #[must_use]
    pub fn misspelt(&self) -> Option<&'static str> {
        let beginning = |name: &str| name.split(':').next().unwrap_or_default().trim_end_matches('s').to_owned();
        let own = || ALL.iter().map(|(name, _)| *name);
        if own().any(|it| it == self.0) || !own().any(|it| beginning(it) == beginning(&self.0)) {
            return None;
        }
        own().min_by_key(|it| strsim::damerau_levenshtein(it, &self.0))
    }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(':')
}

/// What somebody, or a role, may do. The default is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grants {
    /// The built-in administrator: every permission there is or will be, the application's included.
    Everything,
    /// Exactly these.
    These(BTreeSet<PermissionName>),
}

impl Grants {
    /// What the role `user` grants.
    pub fn nothing() -> Self {
        Self::These(BTreeSet::new())
    }

    /// Whether the permission of this name is among them.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::These(names) => names.contains(name),
        }
    }

    /// What two roles grant together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut names), Self::These(more)) => {
                names.extend(more);
                Self::These(names)
            }
            _ => Self::Everything,
        }
    }

    /// Whether all of `other` is held here: nobody grants, or takes, what they do not hold. No list covers `Everything`,
    /// because it grows with the application.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::These(_), Self::Everything) => false,
            (Self::These(ours), Self::These(theirs)) => theirs.is_subset(ours),
        }
    }
}

impl Default for Grants {
    fn default() -> Self {
        Self::nothing()
    }
}

impl FromIterator<PermissionName> for Grants {
    fn from_iter<I: IntoIterator<Item = PermissionName>>(names: I) -> Self {
        Self::These(names.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[test]
    fn the_table_holds_good_names_once_each_and_whole_sentences() {
        let names: BTreeSet<_> = ALL.iter().map(|(name, _)| name.parse::<PermissionName>().unwrap()).collect();
        assert_eq!((names.len(), ALL.len()), (12, 12));
        assert!(ALL.iter().all(|(_, sentence)| sentence.ends_with('.')));
        assert!(ALL.contains(&(AssignRoles::NAME, AssignRoles::SENTENCE)));
    }

    #[rstest]
    #[case("billing:refund", Ok(()))]
    #[case("a.b-c_1:2", Ok(()))]
    #[case("billing", Err("pattern"))]
    #[case(":refund", Err("pattern"))]
    #[case("billing:", Err("pattern"))]
    #[case("a:b:c", Err("pattern"))]
    #[case("Billing:refund", Err("pattern"))]
    #[case("billing:*", Err("pattern"))]
    #[case("billing :refund", Err("pattern"))]
    #[case("", Err("pattern"))]
    fn a_permission_is_word_colon_word(#[case] raw: &str, #[case] expected: Result<(), &str>) {
        let parsed = raw.parse::<PermissionName>().map_err(|invalid| invalid.code);
        assert_eq!(parsed, expected.map(|()| PermissionName(raw.to_owned())));
    }

    #[rstest]
    #[case("user:read", Some("users:read"))]
    #[case("users:raed", Some("users:read"))]
    #[case("users:wrote", Some("users:write"))]
    #[case("role:assign", Some("roles:assign"))]
    #[case("audits:read", Some("audit:read"))]
    #[case("token:introspect", Some("tokens:introspect"))]
    #[case("key:rotat", Some("keys:rotate"))]
    #[case("users:read", None)]
    #[case("billing:refund", None)]
    #[case("users-of-billing:read", None)]
    #[case("rules:write", None)]
    #[case("audio:read", None)]
    fn a_misspelling_of_our_own_is_told_from_an_applications(#[case] raw: &str, #[case] nearest: Option<&str>) {
        assert_eq!(raw.parse::<PermissionName>().unwrap().misspelt(), nearest);
    }

    #[test]
    fn a_permission_has_at_most_64_characters() {
        let longest = format!("a:{}", "b".repeat(62));
        assert!(longest.parse::<PermissionName>().is_ok());
        assert_eq!(format!("{longest}b").parse::<PermissionName>().unwrap_err().code, "too_long");
    }

    fn grants() -> impl Strategy<Value = Grants> {
        prop_oneof![
            1 => Just(Grants::Everything),
            6 => proptest::collection::btree_set("[a-d]:[a-b]".prop_map(PermissionName), 0..6).prop_map(Grants::These),
        ]
    }

    proptest! {
        #[test]
        fn a_union_covers_its_parts_and_no_more(one in grants(), other in grants(), name in "[a-d]:[a-b]") {
            let both = one.clone().union(other.clone());
            prop_assert!(both.covers(&one) && both.covers(&other) && both.covers(&Grants::nothing()));
            prop_assert_eq!(both.allows(&name), one.allows(&name) || other.allows(&name));
            prop_assert_eq!(one.covers(&both), one.covers(&other));
        }

        #[test]
        fn who_covers_allows_all_that_is_covered(one in grants(), other in grants(), name in "[a-d]:[a-b]") {
            prop_assert!(!one.covers(&other) || !other.allows(&name) || one.allows(&name));
        }
    }

    #[test]
    fn no_list_covers_everything() {
        let listed: Grants = ALL.iter().map(|(name, _)| PermissionName((*name).to_owned())).collect();
        assert!(!listed.covers(&Grants::Everything));
        assert!(Grants::Everything.covers(&listed) && Grants::Everything.allows("billing:refund"));
        assert!(!Grants::default().allows(ReadUsers::NAME));
    }
}
