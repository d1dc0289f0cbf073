//! The latency of a log-in beside as many busy processes as the machine has processor cores.

use std::{
    path::Path,
    process::{Child, Command},
    rc::Rc,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{
    Latencies,
    http::{self, Client},
    send_at_rate,
    server::Server,
};

/// Sends one log-in a second, for half of `length` on a calm machine and then beside busy processes. Prints both latencies and
/// their ratio. Fails if a log-in was rejected.
pub async fn measure(binary: &Path, length: Duration) -> Result<()> {
    let cores = cores()?;
    let all_cores = format!("0-{}", cores - 1);
    let server = Server::start(binary, &all_cores, &[])?;
    let client = Rc::new(Client::new(server.address));
    let log_in: Rc<str> = http::post("/v1/sessions", &server.credentials()?).into();
    let mut medians = Vec::new();
    for busy in [0, cores] {
        let processes = (0..busy).map(|_| BusyProcess::start(&all_cores)).collect::<Result<Vec<_>>>()?;
        let all = send_at_rate(&client, &log_in, 1.0, length / 2).await?;
        drop(processes);
        let latencies = Latencies::of(&all);
        println!("{busy} busy processes: {latencies}");
        medians.push(latencies.percentile(50));
        for (response, ..) in &all {
            ensure!(response.status == 201, "a log-in returned {}", response.status);
        }
    }
    println!("ratio of the medians: x {:.2}", medians[1] / medians[0]);
    server.stop()
}

/// Returns the number of the machine's processor cores. This process itself may run on one of them only.
fn cores() -> Result<usize> {
    let output = Command::new("nproc").arg("--all").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// A process that always has something to compute. Dropping it ends the process.
struct BusyProcess(Child);

impl BusyProcess {
    fn start(cores: &str) -> Result<Self> {
        Ok(Self(Command::new("taskset").args(["-c", cores, "sh", "-c", "while :; do :; done"]).spawn()?))
    }
}

impl Drop for BusyProcess {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}
