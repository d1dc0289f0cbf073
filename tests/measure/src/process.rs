//! A server under test: a process of its own on the first processor core.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A running server. Dropping it kills the process.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts a server and waits until it prints the address on which it listens. `command` prepares its program, its arguments
    /// and its environment. The log is discarded.
    pub fn start(program: &str, prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", program]).stdout(Stdio::piped()).stderr(Stdio::null());
        prepare(&mut command);
        let mut child = command.spawn().context("taskset of util-linux is required")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("standard output is piped")?).read_line(&mut line)?;
        let url = line.split("http://").nth(1).and_then(|rest| rest.split(". ").next());
        let address = url.with_context(|| format!("{program} did not start: {line}"))?.parse()?;
        Ok(Self { address, child })
    }

    /// As [`processor_time`].
    pub fn processor_time(&self) -> Result<f64> {
        processor_time(&self.child.id().to_string())
    }

    /// Returns how much memory the process has.
    pub fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let read = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name} in /proc"))?;
            anyhow::Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
        };
        Ok(Memory { resident: read("VmRSS:")?, anonymous: read("RssAnon:")? })
    }

    /// Stops the process with SIGTERM and waits for its end.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

/// The memory of a process, in bytes.
pub struct Memory {
    /// All of it that is in memory, with what the system has read from the binary.
    pub resident: u64,
    /// What belongs to no file.
    pub anonymous: u64,
}

/// Returns the processor time in seconds that a process has used, by the name of the process in `/proc`.
pub fn processor_time(process: &str) -> Result<f64> {
    /// Linux reports times to programs in hundredths of a second on every architecture.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, fields) = stat.rsplit_once(") ").context("/proc has another format")?;
    let times = fields.split(' ').skip(11).take(2).map(str::parse::<u32>);
    Ok(f64::from(times.sum::<Result<u32, _>>()?) / TICKS)
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
