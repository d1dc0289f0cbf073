//! Random bytes and passwords, from the operating system's generator.

use anyhow::{Result, anyhow};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Returns `N` random bytes.
pub fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(&mut *bytes).map_err(|_| anyhow!("the system has no random bytes"))?;
    Ok(bytes)
}

/// Returns a random password: 24 characters of `[A-Za-z0-9_-]`, which are 144 bits.
pub fn password() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(*bytes::<18>()?))
}
