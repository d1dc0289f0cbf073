//! An output stream that never makes its writers wait: a queue of bounded size, and a thread that empties it. Where
//! nobody reads, lines are dropped and counted.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tracing::Level;

/// The bytes that wait at most. It is some thousand lines.
const MOST: usize = 1024 * 1024;
/// What a waiting line costs beside its text.
const OVERHEAD: usize = 64;
/// The bytes that are written at once.
const BATCH: usize = 64 * 1024;
/// How long the first line waits for others, to be written with them.
const GATHER: Duration = Duration::from_millis(5);
/// The pause before the next try when a non-blocking descriptor takes nothing.
const PAUSE: Duration = Duration::from_millis(10);

/// How much a line matters: the least is dropped first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Routine,
    Warning,
    Error,
}

impl From<&Level> for Rank {
    fn from(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            _ => Self::Routine,
        }
    }
}

/// Makes the line that says how many lines were dropped.
pub(super) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// The stream. Its thread runs until the process ends.
pub(super) struct Outlet(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Something waits to be written.
    filled: Condvar,
    /// All of it was written.
    emptied: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct Queue {
    /// One queue for each rank. A line's number says where it stands among all lines.
    waiting: [VecDeque<(u64, String)>; 3],
    next: u64,
    bytes: usize,
    /// Lines dropped since the last notice.
    unreported: u64,
    is_writing: bool,
}

impl Outlet {
    /// Starts the thread. Lines that are dropped are added to `dropped`.
    pub(super) fn start(name: &str, file: File, dropped: Counter, notice: Notice) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), dropped });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || theirs.write_all(Stream { file, is_torn: false }, &notice))?;
        Ok(Self(shared))
    }

    /// Takes a line, which ends with a line feed, and never waits. If there is no room, lines that matter less are
    /// dropped for it, the oldest first; if there are none, the line itself is dropped.
    pub(super) fn push(&self, rank: Rank, line: String) {
        let mut queue = self.0.queue();
        let cost = line.len() + OVERHEAD;
        while queue.bytes + cost > MOST {
            self.0.dropped.inc();
            queue.unreported += 1;
            // A line that can never fit drops no other.
            let less = queue.waiting[..rank as usize].iter_mut().filter(|_| cost <= MOST).find_map(VecDeque::pop_front);
            let Some((_, other)) = less else { return };
            queue.bytes -= other.len() + OVERHEAD;
        }
        queue.bytes += cost;
        let number = queue.next;
        queue.next += 1;
        queue.waiting[rank as usize].push_back((number, line));
        if !queue.is_writing {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything is written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let queue = self.0.queue();
        let is_behind = |queue: &mut Queue| queue.is_writing || queue.bytes > 0;
        _ = self.0.emptied.wait_timeout_while(queue, limit, is_behind).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread does until the process ends.
    fn write_all(&self, mut stream: Stream, notice: &Notice) {
        let mut queue = self.queue();
        loop {
            queue.is_writing = false;
            if queue.bytes == 0 {
                self.emptied.notify_all();
                queue = self.filled.wait_while(queue, |queue| queue.bytes == 0).unwrap_or_else(PoisonError::into_inner);
                // Waking this thread costs more than a line: wait for the lines that come right after the first.
                queue.is_writing = true;
                drop(queue);
                thread::sleep(GATHER);
                queue = self.queue();
            }
            queue.is_writing = true;
            let mut batch = queue.take_batch();
            let unreported = mem::take(&mut queue.unreported);
            drop(queue);
            let lines = lines_in(batch.as_bytes());
            if unreported > 0 {
                batch += &notice(unreported);
            }
            let written = stream.write(batch.as_bytes());
            let lost = lines.saturating_sub(lines_in(&batch.as_bytes()[..written]));
            self.dropped.inc_by(lost);
            queue = self.queue();
            queue.unreported += lost + if written < batch.len() { unreported } else { 0 };
        }
    }
}

impl Queue {
    /// Takes lines in the order in which they came.
    fn take_batch(&mut self) -> String {
        let mut batch = String::new();
        while batch.len() < BATCH {
            let fronts = self.waiting.iter_mut().filter(|lines| !lines.is_empty());
            let Some((_, line)) = fronts.min_by_key(|lines| lines[0].0).and_then(VecDeque::pop_front) else { break };
            self.bytes -= line.len() + OVERHEAD;
            batch += &line;
        }
        batch
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The file behind an outlet.
struct Stream {
    file: File,
    /// The last line was not written to its end.
    is_torn: bool,
}

impl Stream {
    /// Writes all of `bytes`, or as much as the file takes before it fails: its reader has gone, or its disk is full.
    /// Returns how much it took.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.is_torn {
            self.is_torn = self.write_part(b"\n") == 0;
        }
        let written = if self.is_torn { 0 } else { self.write_part(bytes) };
        self.is_torn |= written > 0 && bytes[written - 1] != b'\n';
        written
    }

    fn write_part(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, PipeReader, pipe},
        os::fd::OwnedFd,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn outlet() -> (Outlet, PipeReader, Counter) {
        let ((reader, writer), dropped) = (pipe().unwrap(), Counter::default());
        let notice = Box::new(|count| format!("dropped {count}\n"));
        let outlet = Outlet::start("test", OwnedFd::from(writer).into(), dropped.clone(), notice).unwrap();
        (outlet, reader, dropped)
    }

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_errors_come_last() {
        let (outlet, reader, dropped) = outlet();
        let text = "x".repeat(200);
        for number in 0..20_000 {
            outlet.push(Rank::Routine, format!("routine {number} {text}\n"));
        }
        for number in 0..3_000 {
            outlet.push(Rank::Error, format!("error {number} {text}\n"));
            outlet.push(Rank::Routine, format!("routine {number} {text}\n"));
            outlet.push(Rank::Warning, format!("warning {number} {text}\n"));
        }
        outlet.push(Rank::Error, "x".repeat(MOST) + "\n");
        let queue = outlet.0.queue();
        assert!(queue.bytes <= MOST);
        assert!(queue.waiting[Rank::Routine as usize].is_empty(), "they are dropped first");
        assert!(!queue.waiting[Rank::Warning as usize].is_empty());
        drop(queue);

        // The reader is back. The next line after everything that waited says how many are missing.
        let (mut errors, mut others, mut told) = (Vec::<u32>::new(), 0, 0);
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["error", number, _] => errors.push(number.parse().unwrap()),
                ["dropped", count] => told += count.parse::<u64>().unwrap(),
                ["end"] => break,
                _ => others += 1,
            }
            if told == dropped.get() && errors.len() + others + usize::try_from(told).unwrap() == 29_001 {
                outlet.push(Rank::Routine, "end\n".into());
            }
        }
        assert_eq!(errors, (0..3_000).collect::<Vec<_>>(), "in the order in which they came");
    }

    #[test]
    fn a_reader_that_has_gone_costs_its_lines_and_nothing_else() {
        let (outlet, reader, dropped) = outlet();
        drop(reader);
        for number in 1..=3 {
            outlet.push(Rank::Error, "gone\n".into());
            outlet.flush(LIMIT);
            assert_eq!(dropped.get(), number);
        }
        assert_eq!(outlet.0.queue().unreported, 3);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next_one() {
        let (mut reader, writer) = pipe().unwrap();
        let mut stream = Stream { file: OwnedFd::from(writer).into(), is_torn: true };
        assert_eq!(stream.write(b"next\n"), 5);
        drop(stream);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "\nnext\n");
    }
}
