//! Weak secrets: published in documentation and tutorials, or easy to guess.

/// Secrets of 32 bytes or more from the documentation of tools and from popular tutorials.
const PUBLISHED: &[&str] = &[
    // jwt.io
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-384-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    // RFC 7515 appendix A.1, RFC 7520 section 3.5
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
    // FastAPI, NestJS, PostgREST, Supabase, Hasura
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "DO NOT USE THIS VALUE. INSTEAD, CREATE A COMPLEX SECRET AND KEEP IT SAFE OUTSIDE OF THE SOURCE CODE.",
    "reallyreallyreallyreallyverysafe",
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "3EK6FD+o0+c7tzBNVfjpMkNDi2yARAAKzQlk8O2IKoxQu4nF7EdAh8s3TwpHwrdWT6R",
    // Spring and ASP.NET tutorials
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "413F4428472B4B6250655368566D5970337336763979244226452948404D6351",
    "5367566B59703373367639792F423F4528482B4D6251655468576D5A71347437",
    "58703273357638792F423F4528482B4D6250655368566D597133743677397A24",
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    "9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9",
    "======================BezKoder=Spring===========================",
    "THIS IS USED TO SIGN AND VERIFY JWT TOKENS, REPLACE IT WITH YOUR OWN SECRET, IT CAN BE ANY STRING",
    "this is my custom Secret key for authentication",
    // Tutorials of JWT libraries
    "iNivDmHLpUA223sqsfhqGbMRdRj1PVkH",
    "my-32-character-ultra-secure-and-ultra-long-secret",
];

/// The words of which placeholders consist.
const PLACEHOLDER_WORDS: &str = "\
    a above access admin an and any api app asdf asdfghjkl at auth authentication bar be bit bits byte bytes can change \
    changeit changeme char characters chars code default demo dev development do dummy enough env example foo for generate \
    generated hello here hmac hs in insecure is it json jwt keep key least letmein long longer me min minimum more must my \
    new not of on only or own pass passphrase password please private prod production qwerty qwertyuiop random really \
    refresh replace safe sample secret secrets secure security server session sha shared should sign signature signing \
    some something staging string strong super symmetric test testing that the this to token tokens top use used value \
    verify very vestibule web which with word world you your zero zxcvbnm";

/// Returns whether a secret is published or easy to guess.
pub(super) fn is_weak(secret: &str) -> bool {
    let normalise =
        |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>();
    let normalised = normalise(secret);
    PUBLISHED.iter().any(|published| normalise(published) == normalised)
        || has_few_bytes(secret.as_bytes())
        || repeats(secret.as_bytes())
        || repeats(&normalised)
        || is_sequence(secret.as_bytes())
        || is_placeholder(secret)
}

/// Returns whether a secret has fewer than eight different bytes. Even 32 random hexadecimal digits practically always have
/// more.
fn has_few_bytes(secret: &[u8]) -> bool {
    let mut bytes = secret.to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    bytes.len() < 8
}

/// Returns whether a secret repeats a text of fewer than 32 bytes.
fn repeats(secret: &[u8]) -> bool {
    let longest = (secret.len() / 2).min(31);
    (1..=longest).any(|period| secret.iter().zip(&secret[period..]).all(|(byte, later)| byte == later))
}

/// Returns whether most bytes are equal or adjacent to the byte before them, as in `0123456789abcdef` and `aabbcc`.
fn is_sequence(secret: &[u8]) -> bool {
    let adjacent = secret.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    adjacent * 5 > secret.len() * 3
}

/// Returns whether a secret is a placeholder: it consists of placeholder words, punctuation and a few digits.
fn is_placeholder(secret: &str) -> bool {
    let lower = secret.to_lowercase();
    let words: Vec<&str> =
        lower.split(|character: char| !character.is_ascii_alphabetic()).filter(|word| !word.is_empty()).collect();
    let letters: usize = words.iter().map(|word| word.len()).sum();
    let digits = secret.bytes().filter(u8::is_ascii_digit).count();
    secret.is_ascii() && letters > digits && words.iter().all(|word| consists_of_words(word))
}

fn consists_of_words(text: &str) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for at in 0..text.len() {
        if reached[at] {
            for word in PLACEHOLDER_WORDS.split_ascii_whitespace().filter(|word| text[at..].starts_with(word)) {
                reached[at + word.len()] = true;
            }
        }
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    fn a_published_or_patterned_secret_is_weak(
        #[values(
            "your-256-bit-secretyour-256-bit-secret",
            "your-256-bit-secret-your-256-bit-secret",
            "a-string-secret-at-least-256-bits-long",
            "A_STRING_SECRET_AT_LEAST_256_BITS_LONG",
            "secretsecretsecretsecretsecretsecret",
            "Secret-Secret-Secret-Secret-Secret-1",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "00000000000000000000000000000000",
            "0123456789abcdef0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "zyxwvutsrqponmlkjihgfedcba9876543210",
            "aabbccddeeffgghhiijjkkllmmnnoopp",
            "changemechangemechangemechangemechangeme",
            "please-change-me-to-a-long-random-string",
            "this_is_a_very_secure_jwt_secret_key_2024",
            "MySuperSecretKeyForJwtTokenGeneration".split_at(27).0,
            "supersecretkeythatisatleast32characters",
            "super-secret-jwt-token-with-at-least-32-characters-long",
            "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
            "09D25E094FAA6CA2556C818166B7A9563B93F7099F6F0F4CAA6CF63B88E8D3E7",
            "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
            "iNivDmHLpUA223sqsfhqGbMRdRj1PVkH",
            "my-32-character-ultra-secure-and-ultra-long-secret",
            "                                    "
        )]
        secret: &str,
    ) {
        assert!(is_weak(secret), "{secret}");
    }

    #[rstest]
    fn a_random_secret_is_not_weak(
        #[values(
            "3pV0o5Wq8mYk2TzR7cHs1XnB9dLfG6jA4eUiOwQyJvM=",
            "8f14e45fceea167a5a36dedd4bea2543d1f0a9",
            "31957204886513072946581720394856",
            "a secret that services share today",
            "thirty-two bytes, or a few more, for tests",
            "gr\u{fc}ne Wiesen im Nebel, 14 K\u{fc}he und ein Hund",
            "018f-kW7!pQz-Long-And-Random-sJ2@mVx9"
        )]
        secret: &str,
    ) {
        assert!(!is_weak(secret), "{secret}");
    }
}
