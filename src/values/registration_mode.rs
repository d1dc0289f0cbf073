//! Who may create an account without an administrator.

use std::str::FromStr;

/// Who may create an account. In every mode, administrators create accounts and invite people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Everyone, with any address. Registration reveals which addresses have an account.
    Open,
    /// Everyone who reads the mailbox of the address. Nobody learns which addresses have an account.
    Verified,
    /// Those whom an administrator has invited. Differs from `Closed` only in what pages tell people.
    Invited,
    /// Nobody.
    Closed,
}

impl RegistrationMode {
    /// Every mode.
    pub const ALL: &'static [Self] = &[Self::Open, Self::Verified, Self::Invited, Self::Closed];

    /// Returns the name in the settings and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Verified => "verified",
            Self::Invited => "invited",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for RegistrationMode {
    type Err = ();

    fn from_str(raw: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|mode| mode.as_str() == raw).ok_or(())
    }
}
