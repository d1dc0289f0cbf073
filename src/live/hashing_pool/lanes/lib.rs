//! bcrypt in lanes: several independent hashes advance in step on one thread.
//!
//! One hash cannot keep a core busy. Each of its Blowfish rounds needs the result of the round before, and the core waits for
//! the table lookups in between. Rounds of other hashes fill that time: five hashes in step take little longer than one alone.
//! More than five lanes gain nothing, because the tables of one hash (4.2 KiB) must stay in the first-level cache together with
//! those of the others.
//!
//! The algorithm is that of Provos and Mazières, "A Future-Adaptable Password Scheme" (1999), version `2b`. The tests compare it
//! with the `bcrypt` crate, which is the reference.

#![expect(clippy::inline_always, reason = "the hashes advance in step only if the loops over the lanes are one piece of code")]

mod pi;

use zeroize::Zeroize;

/// The number of hashes that are worth computing in step.
pub const MOST: usize = 5;

/// The text that bcrypt encrypts, as big-endian words: "OrpheanBeholderScryDoubt".
const TEXT: [[u32; 2]; 3] = [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];
/// How many bytes of the encrypted text a bcrypt hash keeps.
pub const LENGTH: usize = 23;

/// One hash, from its first round to its last.
pub struct Bcrypt {
    state: State,
    key: [u32; 18],
    salt: [u32; 18],
    rounds_left: u32,
}

/// The state of Blowfish: its sub-keys and its S-boxes.
struct State {
    p: [u32; 18],
    s: [[u32; 256]; 4],
}

impl Bcrypt {
    /// Begins the hash of `password` with 2^`cost` rounds. Of a password, bcrypt reads at most 71 bytes.
    pub fn new(password: &[u8], salt: [u8; 16], cost: u32) -> Self {
        let mut key: Vec<u8> = password.iter().copied().chain([0]).collect();
        let mut hash = Self { state: State { p: pi::P, s: pi::S }, key: words(&key), salt: words(&salt), rounds_left: 1 << cost };
        key.zeroize();
        let salt = [[hash.salt[0], hash.salt[1]], [hash.salt[2], hash.salt[3]]];
        expand(&mut [&mut hash.state], [&hash.key], |block| salt[block % 2]);
        hash
    }

    /// The number of rounds to go.
    pub fn rounds_left(&self) -> u32 {
        self.rounds_left
    }

    /// Returns the hash. All rounds must be done.
    pub fn result(&self) -> [u8; LENGTH] {
        debug_assert_eq!(self.rounds_left, 0, "the hash is not finished");
        let blocks = TEXT.map(|block| (0..64).fold(block, |block, _| encrypt([&self.state], [block])[0]));
        let mut bytes = blocks.as_flattened().iter().flat_map(|word| word.to_be_bytes());
        std::array::from_fn(|_| bytes.next().unwrap_or_default())
    }
}

impl Drop for Bcrypt {
    fn drop(&mut self) {
        self.key.zeroize();
        self.state.p.zeroize();
        self.state.s.zeroize();
    }
}

/// Advances each hash by `rounds` rounds, [`MOST`] hashes in step. Each must have as many rounds to go.
pub fn advance(hashes: &mut [&mut Bcrypt], rounds: u32) {
    for group in hashes.chunks_mut(MOST) {
        match group {
            [one] => in_step([one], rounds),
            [one, two] => in_step([one, two], rounds),
            [one, two, three] => in_step([one, two, three], rounds),
            [one, two, three, four] => in_step([one, two, three, four], rounds),
            [one, two, three, four, five] => in_step([one, two, three, four, five], rounds),
            _ => unreachable!("a group has one to five hashes"),
        }
    }
}

fn in_step<const N: usize>(hashes: [&mut Bcrypt; N], rounds: u32) {
    let lanes = hashes.map(|hash| {
        hash.rounds_left -= rounds;
        (&mut hash.state, &hash.key, &hash.salt)
    });
    let (keys, salts) = (lanes.each_ref().map(|lane| lane.1), lanes.each_ref().map(|lane| lane.2));
    let mut states = lanes.map(|(state, ..)| state);
    for _ in 0..rounds {
        expand(&mut states, keys, |_| [0, 0]);
        expand(&mut states, salts, |_| [0, 0]);
    }
}

/// Mixes a key into each state, and a salt, of which `salt` returns the part for each block.
#[inline(always)]
fn expand<const N: usize>(states: &mut [&mut State; N], keys: [&[u32; 18]; N], salt: impl Fn(usize) -> [u32; 2]) {
    for n in 0..N {
        for (sub_key, word) in states[n].p.iter_mut().zip(keys[n]) {
            *sub_key ^= word;
        }
    }
    let mut blocks = [[0; 2]; N];
    let mut next = |states: &[&mut State; N], at: usize| {
        let [left, right] = salt(at);
        blocks = encrypt(states.each_ref().map(|state| &**state), blocks.map(|block| [block[0] ^ left, block[1] ^ right]));
        blocks
    };
    for at in 0..9 {
        let blocks = next(states, at);
        for n in 0..N {
            [states[n].p[2 * at], states[n].p[2 * at + 1]] = blocks[n];
        }
    }
    for table in 0..4 {
        for at in 0..128 {
            let blocks = next(states, 9 + 128 * table + at);
            for n in 0..N {
                [states[n].s[table][2 * at], states[n].s[table][2 * at + 1]] = blocks[n];
            }
        }
    }
}

/// Encrypts one block with each state. The loops over the lanes are the inner ones: that is what makes them advance in step.
#[inline(always)]
fn encrypt<const N: usize>(states: [&State; N], mut blocks: [[u32; 2]; N]) -> [[u32; 2]; N] {
    for round in (0..16).step_by(2) {
        for n in 0..N {
            blocks[n][0] ^= states[n].p[round];
            blocks[n][1] ^= states[n].substitute(blocks[n][0]);
        }
        for n in 0..N {
            blocks[n][1] ^= states[n].p[round + 1];
            blocks[n][0] ^= states[n].substitute(blocks[n][1]);
        }
    }
    for n in 0..N {
        blocks[n] = [blocks[n][1] ^ states[n].p[17], blocks[n][0] ^ states[n].p[16]];
    }
    blocks
}

impl State {
    #[inline(always)]
    fn substitute(&self, word: u32) -> u32 {
        let [a, b, c, d] = word.to_be_bytes().map(usize::from);
        (self.s[0][a].wrapping_add(self.s[1][b]) ^ self.s[2][c]).wrapping_add(self.s[3][d])
    }
}

/// The bytes as 18 big-endian words, over and over again.
fn words(bytes: &[u8]) -> [u32; 18] {
    let mut bytes = bytes.iter().copied().cycle();
    std::array::from_fn(|_| u32::from_be_bytes(std::array::from_fn(|_| bytes.next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// The reference: the `bcrypt` crate.
    fn reference(password: &[u8], salt: [u8; 16], cost: u32) -> [u8; LENGTH] {
        let key: Vec<u8> = password.iter().copied().chain([0]).collect();
        let hash = bcrypt::bcrypt(cost, salt, &key);
        from_fn(|at| hash[at])
    }

    fn alone(password: &[u8], salt: [u8; 16], cost: u32) -> [u8; LENGTH] {
        let mut hash = Bcrypt::new(password, salt, cost);
        advance(&mut [&mut hash], 1 << cost);
        hash.result()
    }

    #[test]
    fn published_vectors() {
        // From the tests of Openwall's crypt_blowfish: salts of sixteen equal bytes in bcrypt's base64.
        for (password, hash) in [
            ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
            ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
            ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
        ] {
            assert!(bcrypt::verify(password, hash).unwrap());
            let salt = decode(&hash[7..29]).try_into().unwrap();
            assert_eq!(alone(password.as_bytes(), salt, 5).to_vec(), decode(&hash[29..]), "{password}");
        }
    }

    /// Decodes bcrypt's own base64.
    fn decode(text: &str) -> Vec<u8> {
        const LETTERS: &[u8] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
        for letter in text.bytes() {
            bits = bits << 6 | u32::try_from(LETTERS.iter().position(|known| *known == letter).unwrap()).unwrap();
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
            }
        }
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hashes_in_step_are_those_of_the_reference(
            inputs in vec((vec(1_u8.., 0..72), any::<[u8; 16]>(), 4_u32..6), 1..8),
            steps in vec(1_u32..40, 1..6),
        ) {
            let mut running: Vec<_> =
                inputs.iter().map(|(password, salt, cost)| Bcrypt::new(password, *salt, *cost)).map(Some).collect();
            let mut results = vec![None; inputs.len()];
            for step in steps.into_iter().cycle() {
                let mut hashes: Vec<_> = running.iter_mut().flatten().collect();
                let Some(most) = hashes.iter().map(|hash| hash.rounds_left()).min() else { break };
                advance(&mut hashes, step.min(most));
                for (slot, result) in running.iter_mut().zip(&mut results) {
                    if slot.as_ref().is_some_and(|hash| hash.rounds_left() == 0) {
                        *result = slot.take().map(|hash| hash.result());
                    }
                }
            }
            for ((password, salt, cost), result) in inputs.iter().zip(results) {
                prop_assert_eq!(result, Some(reference(password, *salt, *cost)));
            }
        }
    }

    #[test]
    fn a_higher_cost_is_twice_the_rounds() {
        for cost in 4..=8 {
            assert_eq!(Bcrypt::new(b"password", [7; 16], cost).rounds_left(), 1 << cost);
            assert_eq!(alone(b"password", [7; 16], cost), reference(b"password", [7; 16], cost));
        }
    }
}
