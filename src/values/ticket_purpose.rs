//! The purposes of tickets: what the holder of a mailed link or code may do.

use std::{fmt, str::FromStr};

use sea_orm::DeriveValueType;

use super::Invalid;

/// What a ticket permits. A ticket serves one purpose only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum TicketPurpose {
    /// To create an account for the address.
    SignUp,
    /// To show that the address of the account is the user's.
    Verify,
    /// To set a new password.
    Reset,
    /// To give the account this address.
    Change,
    /// To give the account back this address, which it had before.
    Revert,
    /// To create the account to which an administrator has invited the address.
    Invite,
}

impl TicketPurpose {
    /// Every purpose.
    pub const ALL: &'static [Self] = &[Self::SignUp, Self::Verify, Self::Reset, Self::Change, Self::Revert, Self::Invite];

    /// Returns the name in rows and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Verify => "verify",
            Self::Reset => "reset",
            Self::Change => "change",
            Self::Revert => "revert",
            Self::Invite => "invite",
        }
    }
}

impl fmt::Display for TicketPurpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for TicketPurpose {
    type Err = Invalid;

    /// Fails with `not_allowed`.
    fn from_str(raw: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|purpose| purpose.as_str() == raw);
        found.copied().ok_or_else(|| Invalid::new("not_allowed", "Is not the purpose of a ticket."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_written_as_its_name() {
        for purpose in TicketPurpose::ALL {
            assert_eq!(purpose.to_string().parse(), Ok(*purpose));
        }
        assert_eq!("Reset".parse::<TicketPurpose>().map_err(|invalid| invalid.code), Err("not_allowed"));
    }
}
