//! Password hashes as they are stored. A tag before the hash names the scheme, so that a later version can introduce another.

use std::{fmt, ops::RangeInclusive};

use sea_orm::DeriveValueType;

use super::bcrypt_hash::BcryptHash;

/// bcrypt over base64(HMAC-SHA-384(pepper, password)).
const SCHEME: &str = "hs384:";
/// bcrypt has no lower cost, and no setting allows a higher one. A row with another cost is invalid; a hash of cost 31 would
/// take hours to check.
const COSTS: RangeInclusive<u32> = 4..=16;

/// A stored password hash. `Debug` hides it.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
#[sea_orm(column_type = "Text")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The number of characters from which [`Self::cost`] can read the cost: the tag, `$2b$`, two digits, `$`.
    pub const PREFIX: i32 = 13;

    /// Adds the tag to a bcrypt hash.
    pub fn from_bcrypt(hash: &BcryptHash) -> Self {
        Self(format!("{SCHEME}{hash}"))
    }

    /// Returns the bcrypt hash; `None` if the stored text is not a valid hash.
    pub fn bcrypt(&self) -> Option<BcryptHash> {
        let hash: BcryptHash = self.0.strip_prefix(SCHEME)?.parse().ok()?;
        COSTS.contains(&hash.cost).then_some(hash)
    }

    /// Returns the stored text.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the cost of a stored hash. The first [`Self::PREFIX`] characters are enough.
    pub fn cost(stored: &str) -> Option<u32> {
        let digits = stored.strip_prefix(SCHEME)?.split('$').nth(2)?;
        // `parse` would accept a sign.
        let cost = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
        COSTS.contains(&cost).then_some(cost)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p07_an_invalid_text_in_the_column_is_not_a_hash() {
        let hash = PasswordHash::from_bcrypt(&bcrypt::hash("digest", 4).unwrap().parse().ok().unwrap());
        assert_eq!(hash.bcrypt().map(|hash| hash.cost), Some(4));
        assert_eq!(PasswordHash::cost(&hash.0[..PasswordHash::PREFIX as usize]), Some(4));
        for garbage in ["", "hunter2", "hs384:", "hs384:$2b$", "hs384:$2b$12$", "hs384:$2b$31$", &hash.0[6..], &hash.0[..40]] {
            assert!(PasswordHash(garbage.to_owned()).bcrypt().is_none(), "{garbage}");
        }
        for cost in ["00", "03", "17", "31", "+4", "-4"] {
            let garbage = hash.0.replace("$04$", &format!("${cost}$"));
            assert!(PasswordHash::cost(&garbage).is_none() && PasswordHash(garbage).bcrypt().is_none(), "{cost}");
        }
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
    }
}
