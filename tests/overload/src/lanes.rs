//! Log-ins a second, with hashes in lanes and with hashes one after another.

use std::{path::Path, rc::Rc, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    capacity,
    http::{self, Client},
    server::Server,
};

const COST: &str = "10";
/// The numbers of clients, each of which sends one log-in after another.
const CLIENTS: [usize; 3] = [1, 8, 64];
/// How often each case is measured, in turns. The printed figures are medians.
const TRIALS: usize = 3;

/// Measures each number of clients with one lane and with five. The server runs on one processor core. All measurements
/// together take `length`.
pub async fn measure(binary: &Path, length: Duration) -> Result<()> {
    println!("| clients | log-ins a second at cost {COST}, one lane | five lanes | ratio |\n|---|---|---|---|");
    let part = length.div_f64((2 * TRIALS * CLIENTS.len()) as f64);
    for clients in CLIENTS {
        let mut rates = [Vec::new(), Vec::new()];
        for _ in 0..TRIALS {
            for (rates, lanes) in rates.iter_mut().zip(["1", "5"]) {
                rates.push(log_ins(binary, lanes, clients, part).await?);
            }
        }
        let [one, five] = rates.map(|mut rates| *rates.select_nth_unstable_by(TRIALS / 2, f64::total_cmp).1);
        println!("| {clients} | {one:.1} | {five:.1} | x {:.2} |", five / one);
    }
    Ok(())
}

/// Returns the number of log-ins a second.
async fn log_ins(binary: &Path, lanes: &str, clients: usize, length: Duration) -> Result<f64> {
    let settings = [("VESTIBULE_PASSWORD__LANES", lanes), ("VESTIBULE_PASSWORD__BCRYPT_COST", COST)];
    let server = Server::start(binary, "0", &settings)?;
    let client = Rc::new(Client::new(server.address));
    let log_in: Rc<str> = http::post("/v1/sessions", &server.credentials()?).into();
    let first = client.send(&log_in).await?;
    ensure!(first.status == 201, "the first log-in returned {}", first.status);
    let rate = capacity(&client, &log_in, clients, length).await?;
    server.stop()?;
    Ok(rate)
}
