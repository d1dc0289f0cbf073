//! A bcrypt hash in its usual text form: `$2b$`, the cost, `$`, and the salt and the digest in bcrypt's own base64.

use std::{fmt, str::FromStr};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// bcrypt's base64: another order of letters, and no padding. Other programs leave something in the unused bits at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);
/// The number of characters of an encoded salt.
const SALT: usize = 22;

/// A bcrypt hash: what it took to compute it, and its result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BcryptHash {
    /// The binary logarithm of the number of rounds.
    pub cost: u32,
    /// The salt.
    pub salt: [u8; 16],
    /// The result.
    pub digest: [u8; 23],
}

impl FromStr for BcryptHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('$');
        let (Some(""), Some("2a" | "2b" | "2y"), Some(cost), Some(rest), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(());
        };
        // `parse` would accept a sign.
        let is_number = cost.len() == 2 && cost.bytes().all(|digit| digit.is_ascii_digit());
        let (salt, digest) = rest.split_at_checked(SALT).filter(|_| is_number).ok_or(())?;
        Ok(Self { cost: cost.parse().map_err(drop)?, salt: decode(salt)?, digest: decode(digest)? })
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], ()> {
    BASE64.decode(text).map_err(drop)?.try_into().map_err(drop)
}

impl fmt::Display for BcryptHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$2b${:02}${}{}", self.cost, BASE64.encode(self.salt), BASE64.encode(self.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_the_bcrypt_crate_is_read_and_written_alike() {
        for cost in [4, 5] {
            let text = bcrypt::hash("password", cost).unwrap();
            let hash: BcryptHash = text.parse().ok().unwrap();
            assert_eq!((hash.cost, hash.to_string()), (cost, text));
        }
    }

    #[test]
    fn another_text_is_not_a_hash() {
        let good = bcrypt::hash("password", 4).unwrap();
        for bad in [
            "",
            "$",
            "$2b$",
            "$2b$04$",
            &good[1..],
            &good[..59],
            &format!("{good}."),
            &format!("{good}$"),
            &good.replace("$2b$", "$2x$"),
            &good.replace("$04$", "$+4$"),
            &good.replace("$04$", "$4$"),
            &good.replace("$04$", "$004$"),
            &format!("{}é", &good[..58]),
            &format!("{}=", &good[..59]),
        ] {
            assert!(bad.parse::<BcryptHash>().is_err(), "{bad}");
        }
    }
}
