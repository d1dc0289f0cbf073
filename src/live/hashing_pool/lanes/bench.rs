//! bcrypt hashes a second on one core: the `bcrypt` crate, and one to five lanes. `cargo bench -p vestibule-lanes`

#![expect(clippy::disallowed_methods, reason = "it measures real time")]
#![expect(clippy::cast_precision_loss, reason = "it counts to a hundred")]

use std::{hint::black_box, time::Instant};

use vestibule_lanes::{Input, Lanes, MOST};

const COST: u32 = 10;
const PASSWORD: [u8; 64] = [b'p'; 64];
const SALT: [u8; 16] = [7; 16];
/// How often the crate and each number of lanes are measured, in turns. The figures are medians.
const TRIALS: usize = 15;

fn main() {
    let mut rates = vec![Vec::new(); MOST + 1];
    for _ in 0..TRIALS {
        for (count, rates) in rates.iter_mut().enumerate() {
            rates.push(match count {
                0 => rate(1, || _ = black_box(bcrypt::bcrypt(COST, SALT, &PASSWORD))),
                count => rate(count, || in_step(count)),
            });
        }
    }
    let median = |rates: &mut Vec<f64>| *rates.select_nth_unstable_by(TRIALS / 2, f64::total_cmp).1;
    let [reference, lanes @ ..] = &*rates.iter_mut().map(median).collect::<Vec<_>>() else { return };
    println!("| hashes at a time | hashes a second at cost {COST} | ratio |\n|---|---|---|");
    println!("| 1, the `bcrypt` crate | {reference:.1} | x 1.0 |");
    for (count, rate) in (1..).zip(lanes) {
        println!("| {count} | {rate:.1} | x {:.2} |", rate / reference);
    }
}

/// Computes `count` hashes in step.
fn in_step(count: usize) {
    let mut lanes = Lanes::new(count);
    for _ in 0..count {
        lanes.start(&Input::new(&PASSWORD, SALT, COST));
    }
    lanes.advance(1 << COST);
    while let Some(hash) = lanes.remove_finished() {
        black_box(hash);
    }
}

/// Returns how many hashes a second `hash` computes, which computes `count` of them.
fn rate(count: usize, hash: impl Fn()) -> f64 {
    let start = Instant::now();
    hash();
    count as f64 / start.elapsed().as_secs_f64()
}
