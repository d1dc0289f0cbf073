//! bcrypt hashes a second on one core: the `bcrypt` crate, and one to five lanes. `cargo bench -p vestibule-lanes`

#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::cast_precision_loss, reason = "it counts to a hundred")]

use std::{hint::black_box, time::Instant};

use vestibule_lanes::{Bcrypt, MOST, advance};

const COST: u32 = 10;
const PASSWORD: [u8; 64] = [b'p'; 64];
const SALT: [u8; 16] = [7; 16];
/// How many rounds of hashes each figure is the median of.
const TRIALS: usize = 7;

fn main() {
    let reference = median(1, || _ = black_box(bcrypt::bcrypt(COST, SALT, &PASSWORD)));
    println!("| hashes at a time | hashes a second at cost {COST} | ratio |\n|---|---|---|");
    println!("| 1, the `bcrypt` crate | {reference:.1} | x 1.0 |");
    for count in 1..=MOST {
        let rate = median(count, || {
            let mut hashes: Vec<_> = (0..count).map(|_| Bcrypt::new(&PASSWORD, SALT, COST)).collect();
            advance(&mut hashes.iter_mut().collect::<Vec<_>>(), 1 << COST);
            for hash in hashes {
                black_box(hash.result());
            }
        });
        println!("| {count} | {rate:.1} | x {:.2} |", rate / reference);
    }
}

/// Returns how many hashes a second `hash` computes, which computes `count` at a time.
fn median(count: usize, hash: impl Fn()) -> f64 {
    let mut rates = [0.0; TRIALS].map(|_| {
        let start = Instant::now();
        hash();
        count as f64 / start.elapsed().as_secs_f64()
    });
    rates.sort_by(f64::total_cmp);
    rates[TRIALS / 2]
}
