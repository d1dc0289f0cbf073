//! bcrypt in lanes: several independent hashes advance in step on one thread.
//!
//! One hash cannot keep a core busy. Each of its Blowfish rounds needs the result of the round before, and the core waits for
//! the table lookups in between. Rounds of other hashes fill that time: five hashes in step take little longer than one alone.
//! More than five lanes gain little, because the tables of one hash (4.2 KiB) must stay in the first-level cache together with
//! those of the others.
//!
//! The algorithm is that of Provos and Mazières, "A Future-Adaptable Password Scheme" (1999), version `2b`. The tests compare it
//! with the `bcrypt` crate, which is the reference.

#![expect(clippy::inline_always, reason = "the hashes advance in step only if the loops over the lanes are one piece of code")]

mod pi;

use std::{array, hint::black_box, iter};

use zeroize::{Zeroize, Zeroizing};

/// The number of hashes that are worth computing in step.
pub const MOST: usize = 5;

/// The text that bcrypt encrypts, as big-endian words: "OrpheanBeholderScryDoubt".
const TEXT: [[u32; 2]; 3] = [[0x4f72_7068, 0x6561_6e42], [0x6568_6f6c, 0x6465_7253], [0x6372_7944, 0x6f75_6274]];
/// How many bytes of the encrypted text a bcrypt hash keeps.
pub const LENGTH: usize = 23;

/// What a hash is computed from.
pub struct Input {
    /// The password and the salt, each repeated to the length of the sub-keys.
    words: Zeroizing<[[u32; 18]; 2]>,
    cost: u32,
}

impl Input {
    /// The input of the hash of `password` with 2^`cost` rounds. Of a password, bcrypt reads at most 71 bytes.
    pub fn new(password: &[u8], salt: [u8; 16], cost: u32) -> Self {
        Self { words: Zeroizing::new([words(password.iter().copied().chain([0])), words(salt.into_iter())]), cost }
    }
}

/// Hashes that advance in step. They are numbered from 0. When one is removed, the last one gets its number.
pub struct Lanes {
    /// Side by side in memory, so that one register addresses them all. The first `running` of them compute a hash.
    lanes: Vec<Lane>,
    running: usize,
}

/// The state of one hash.
struct Lane {
    /// The S-boxes of Blowfish.
    s: [[u32; 256]; 4],
    /// The sub-keys of Blowfish.
    p: [u32; 18],
    /// What each round mixes in: [the password and the salt](Input::words).
    words: [[u32; 18]; 2],
    rounds_left: u32,
}

impl Lanes {
    /// Creates `count` lanes.
    pub fn new(count: usize) -> Self {
        let lane = || Lane { s: [[0; 256]; 4], p: [0; 18], words: [[0; 18]; 2], rounds_left: 0 };
        Self { lanes: iter::repeat_with(lane).take(count).collect(), running: 0 }
    }

    /// Begins a hash, which gets the next number.
    ///
    /// # Panics
    /// If every lane computes a hash.
    pub fn start(&mut self, input: &Input) {
        let lane = &mut self.lanes[self.running];
        (lane.s, lane.p, lane.words, lane.rounds_left) = (pi::S, pi::P, *input.words, 1 << input.cost);
        let [_, salt] = lane.words;
        expand(array::from_mut(lane), 0, |block| if block % 2 == 0 { [salt[0], salt[1]] } else { [salt[2], salt[3]] });
        self.running += 1;
    }

    /// Advances each hash by `rounds` rounds, or by fewer if that finishes one of them.
    pub fn advance(&mut self, rounds: u32) {
        let running = &mut self.lanes[..self.running];
        let rounds = running.iter().map(|lane| lane.rounds_left).min().unwrap_or_default().min(rounds);
        for group in running.chunks_mut(MOST) {
            match group.len() {
                1 => in_step::<1>(group, rounds),
                2 => in_step::<2>(group, rounds),
                3 => in_step::<3>(group, rounds),
                4 => in_step::<4>(group, rounds),
                _ => in_step::<MOST>(group, rounds),
            }
        }
    }

    /// Removes a finished hash. Returns its number and its value.
    pub fn remove_finished(&mut self) -> Option<(usize, [u8; LENGTH])> {
        let number = self.lanes[..self.running].iter().position(|lane| lane.rounds_left == 0)?;
        let hash = self.lanes[number].result();
        self.running -= 1;
        self.lanes.swap(number, self.running);
        self.lanes[self.running].erase();
        Some((number, hash))
    }
}

impl Lane {
    /// Encrypts the text.
    fn result(&self) -> [u8; LENGTH] {
        let blocks = TEXT.map(|block| (0..64).fold(block, |block, _| encrypt(array::from_ref(self), [block])[0]));
        let mut bytes = blocks.as_flattened().iter().flat_map(|word| word.to_be_bytes());
        array::from_fn(|_| bytes.next().unwrap_or_default())
    }

    /// Overwrites the hash where it is. Moving it would leave a copy in memory.
    fn erase(&mut self) {
        self.s.zeroize();
        self.p.zeroize();
        self.words.zeroize();
    }

    /// The function F of Blowfish. It takes the bytes with shifts: `to_be_bytes` would cost the byte swap before every lookup.
    #[inline(always)]
    fn substitute(&self, word: u32) -> u32 {
        let byte = |shift: u32| (word >> shift & 0xff) as usize;
        let sum = self.s[0][byte(24)].wrapping_add(self.s[1][byte(16)]);
        (sum ^ self.s[2][byte(8)]).wrapping_add(self.s[3][byte(0)])
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.erase();
    }
}

/// Advances `N` hashes by `rounds` rounds.
#[inline(never)]
fn in_step<const N: usize>(lanes: &mut [Lane], rounds: u32) {
    let lanes = lanes.as_mut_array::<N>().expect("the group has N lanes");
    for _ in 0..rounds {
        expand(lanes, 0, |_| [0, 0]);
        expand(lanes, 1, |_| [0, 0]);
    }
    for lane in lanes {
        lane.rounds_left -= rounds;
    }
}

/// Mixes a part of the words into each state, and a salt, of which `salt` returns the part for each block.
#[inline(always)]
fn expand<const N: usize>(lanes: &mut [Lane; N], part: usize, salt: impl Fn(usize) -> [u32; 2]) {
    for lane in &mut *lanes {
        for (sub_key, word) in lane.p.iter_mut().zip(lane.words[part]) {
            *sub_key ^= word;
        }
    }
    let mut blocks = [[0; 2]; N];
    for at in 0..9 {
        let [left, right] = salt(at);
        for block in &mut blocks {
            block[0] ^= left;
            block[1] ^= right;
        }
        blocks = encrypt(lanes, blocks);
        for n in 0..N {
            lanes[n].p[2 * at] = blocks[n][0];
            lanes[n].p[2 * at + 1] = blocks[n][1];
        }
    }
    for table in 0..4 {
        for at in 0..128 {
            let [left, right] = salt(9 + 128 * table + at);
            for block in &mut blocks {
                block[0] ^= left;
                block[1] ^= right;
            }
            blocks = encrypt(lanes, blocks);
            for n in 0..N {
                lanes[n].s[table][2 * at] = blocks[n][0];
                lanes[n].s[table][2 * at + 1] = blocks[n][1];
            }
        }
    }
}

/// Encrypts one block with each state. The loops over the lanes are the inner ones: that is what makes them advance in step.
#[inline(always)]
fn encrypt<const N: usize>(lanes: &[Lane; N], mut blocks: [[u32; 2]; N]) -> [[u32; 2]; N] {
    for n in 0..N {
        blocks[n][0] ^= lanes[n].p[0];
        blocks[n][1] ^= lanes[n].p[1];
    }
    for round in 2..18 {
        for n in 0..N {
            let [left, right] = blocks[n];
            let substituted = right ^ lanes[n].substitute(left);
            // Each half is mixed with its next sub-key a round early, while the core waits for the lookups. For a hash alone, the
            // compiler would move this behind the lookups, and each round would take a cycle longer.
            let mixed = left ^ lanes[n].p[round];
            blocks[n] = [substituted, if N == 1 { black_box(mixed) } else { mixed }];
        }
    }
    for block in &mut blocks {
        block.swap(0, 1);
    }
    blocks
}

/// The bytes as 18 big-endian words, over and over again.
fn words(bytes: impl Iterator<Item = u8> + Clone) -> [u32; 18] {
    let mut bytes = bytes.cycle();
    array::from_fn(|_| u32::from_be_bytes(array::from_fn(|_| bytes.next().unwrap_or_default())))
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
        let mut lanes = Lanes::new(1);
        lanes.start(&Input::new(password, salt, cost));
        lanes.advance(1 << cost);
        lanes.remove_finished().unwrap().1
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

    /// Computes the hashes of `inputs` in `count` lanes, by steps of so many rounds, and compares them with the reference.
    fn compare(inputs: &[(Vec<u8>, [u8; 16], u32)], count: usize, steps: &[u32]) {
        let (mut lanes, mut running, mut done) = (Lanes::new(count), Vec::new(), 0);
        let mut waiting = inputs.iter();
        for step in steps.iter().cycle() {
            for input in waiting.by_ref().take(count - running.len()) {
                lanes.start(&Input::new(&input.0, input.1, input.2));
                running.push(input);
            }
            lanes.advance(*step);
            while let Some((number, hash)) = lanes.remove_finished() {
                let (password, salt, cost) = running.swap_remove(number);
                assert_eq!(hash, reference(password, *salt, *cost), "{password:?} {salt:?} {cost}, {count} lanes");
                done += 1;
            }
            if done == inputs.len() {
                return;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn hashes_in_step_are_those_of_the_reference(
            inputs in vec((vec(1_u8.., 0..72), any::<[u8; 16]>(), 4_u32..6), 1..10),
            count in 1..=MOST + 2,
            steps in vec(1_u32..40, 1..6),
        ) {
            compare(&inputs, count, &steps);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        #[ignore = "takes two minutes: .ci/run"]
        fn long_thousands_of_hashes_of_all_costs_are_those_of_the_reference(
            inputs in vec((vec(1_u8.., 0..72), any::<[u8; 16]>(), 4_u32..10), 1..10),
            count in 1..=MOST + 2,
            steps in vec(1_u32..400, 1..6),
        ) {
            compare(&inputs, count, &steps);
        }
    }

    #[test]
    fn a_higher_cost_is_twice_the_rounds() {
        for cost in 4..=8 {
            let mut lanes = Lanes::new(1);
            lanes.start(&Input::new(b"password", [7; 16], cost));
            lanes.advance((1 << cost) - 1);
            assert!(lanes.remove_finished().is_none());
            lanes.advance(2);
            assert_eq!(lanes.remove_finished(), Some((0, reference(b"password", [7; 16], cost))));
        }
    }

    #[test]
    fn a_finished_hash_leaves_nothing_in_memory() {
        let mut lanes = Lanes::new(3);
        for cost in [4, 5, 4] {
            lanes.start(&Input::new(b"password", [7; 16], cost));
        }
        lanes.advance(16);
        while lanes.remove_finished().is_some() {}
        let is_erased = |lane: &Lane| lane.words == [[0; 18]; 2] && lane.p == [0; 18] && lane.s == [[0; 256]; 4];
        assert_eq!(lanes.lanes.iter().map(is_erased).collect::<Vec<_>>(), [false, true, true]);
    }
}
