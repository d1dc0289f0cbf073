//! Who must have shown a second factor.

use std::str::FromStr;

/// Who must have shown a second factor in a session before guarded operations accept its access tokens. What a user needs to
/// enrol a factor is always accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecondFactorPolicy {
    /// Nobody.
    None,
    /// Administrators: everyone one of whose roles grants a permission of Vestibule's, for the operations that require one.
    Administrators,
    /// Everyone.
    Everyone,
}

impl SecondFactorPolicy {
    /// Every policy, the weakest first.
    pub const ALL: &'static [Self] = &[Self::None, Self::Administrators, Self::Everyone];

    /// Returns whether the policy demands a second factor of a user, who may be an administrator.
    pub const fn concerns(self, is_administrator: bool) -> bool {
        match self {
            Self::None => false,
            Self::Administrators => is_administrator,
            Self::Everyone => true,
        }
    }

    /// Returns the name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Administrators => "administrators",
            Self::Everyone => "everyone",
        }
    }
}

impl FromStr for SecondFactorPolicy {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|policy| policy.as_str() == raw).ok_or(())
    }
}
