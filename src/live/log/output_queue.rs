//! A bounded queue of lines and the thread that writes them to a file, so that writing a line never blocks. Lines for which
//! there is no room are dropped and counted.

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

/// The capacity in bytes: a few thousand lines.
const CAPACITY: usize = 1024 * 1024;
/// The memory that a queued line takes beside its text.
const OVERHEAD: usize = 64;
/// The size in bytes at which no more lines are added to a batch.
const BATCH: usize = 64 * 1024;
/// How long the first line waits for others that are written with it.
const GATHER: Duration = Duration::from_millis(5);
/// The pause before the next attempt when a non-blocking descriptor would block.
const PAUSE: Duration = Duration::from_millis(10);

/// The priority of a line: lines of the lowest priority are dropped first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    Routine,
    Warning,
    Error,
}

impl From<&Level> for Priority {
    fn from(level: &Level) -> Self {
        match *level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            _ => Self::Routine,
        }
    }
}

/// Formats the line that reports how many lines were dropped.
pub(super) type Notice = Box<dyn Fn(u64) -> String + Send>;

/// The queue. Its thread runs until the process ends.
pub(super) struct OutputQueue(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when a line is queued.
    filled: Condvar,
    /// Signalled when every line is written.
    emptied: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct Queue {
    /// One queue for each priority. The number of a line is its position among all lines.
    waiting: [VecDeque<(u64, String)>; 3],
    next: u64,
    bytes: usize,
    /// The number of lines dropped since the last notice.
    unreported: u64,
    is_writing: bool,
}

impl OutputQueue {
    /// Starts the thread. Counts the lines that are dropped in `dropped`.
    pub(super) fn start(name: &str, file: File, dropped: Counter, notice: Notice) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new(), dropped });
        let for_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || for_thread.write_all(Stream { file, ends_mid_line: false }, &notice))?;
        Ok(Self(shared))
    }

    /// Queues a line, which ends with a line feed, without waiting. If there is no room, drops lines of a lower priority, the
    /// oldest first, or the line itself if there are none.
    pub(super) fn push(&self, priority: Priority, line: String) {
        let mut queue = self.0.queue();
        let cost = line.len() + OVERHEAD;
        while queue.bytes + cost > CAPACITY {
            self.0.dropped.inc();
            queue.unreported += 1;
            // A line that can never fit displaces no other.
            let lower = queue.waiting[..priority as usize].iter_mut().filter(|_| cost <= CAPACITY).find_map(VecDeque::pop_front);
            let Some((_, other)) = lower else { return };
            queue.bytes -= other.len() + OVERHEAD;
        }
        queue.bytes += cost;
        let number = queue.next;
        queue.next += 1;
        queue.waiting[priority as usize].push_back((number, line));
        if !queue.is_writing {
            self.0.filled.notify_one();
        }
    }

    /// Waits until every line is written, for `timeout` at most.
    pub(super) fn flush(&self, timeout: Duration) {
        let queue = self.0.queue();
        let is_behind = |queue: &mut Queue| queue.is_writing || queue.bytes > 0;
        _ = self.0.emptied.wait_timeout_while(queue, timeout, is_behind).unwrap_or_else(PoisonError::into_inner);
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines until the process ends. The thread calls this.
    fn write_all(&self, mut stream: Stream, notice: &Notice) {
        let mut queue = self.queue();
        loop {
            queue.is_writing = false;
            if queue.bytes == 0 {
                self.emptied.notify_all();
                queue = self.filled.wait_while(queue, |queue| queue.bytes == 0).unwrap_or_else(PoisonError::into_inner);
                // Waking this thread costs more than writing a line, so wait for the lines that follow the first.
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
    /// Removes lines from the queue, in the order in which they came.
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

/// The file that the lines are written to.
struct Stream {
    file: File,
    /// Whether the last line was not written to its end.
    ends_mid_line: bool,
}

impl Stream {
    /// Writes all of `bytes`, or as much as the file accepts before it fails because its reader is gone or the disk is full.
    /// Returns the number of bytes written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.ends_mid_line {
            self.ends_mid_line = self.write_part(b"\n") == 0;
        }
        let written = if self.ends_mid_line { 0 } else { self.write_part(bytes) };
        self.ends_mid_line |= written > 0 && bytes[written - 1] != b'\n';
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

    fn output_queue() -> (OutputQueue, PipeReader, Counter) {
        let ((reader, writer), dropped) = (pipe().unwrap(), Counter::default());
        let notice = Box::new(|count| format!("dropped {count}\n"));
        let output = OutputQueue::start("test", OwnedFd::from(writer).into(), dropped.clone(), notice).unwrap();
        (output, reader, dropped)
    }

    #[test]
    fn lines_that_are_not_read_are_dropped_and_counted_and_errors_are_dropped_last() {
        let (output, reader, dropped) = output_queue();
        let text = "x".repeat(200);
        for number in 0..20_000 {
            output.push(Priority::Routine, format!("routine {number} {text}\n"));
        }
        for number in 0..3_000 {
            output.push(Priority::Error, format!("error {number} {text}\n"));
            output.push(Priority::Routine, format!("routine {number} {text}\n"));
            output.push(Priority::Warning, format!("warning {number} {text}\n"));
        }
        output.push(Priority::Error, "x".repeat(CAPACITY) + "\n");
        let queue = output.0.queue();
        assert!(queue.bytes <= CAPACITY);
        assert!(queue.waiting[Priority::Routine as usize].is_empty(), "they are dropped first");
        assert!(!queue.waiting[Priority::Warning as usize].is_empty());
        drop(queue);

        // The reader is back. The line after all queued lines reports how many are missing.
        let (mut errors, mut others, mut reported) = (Vec::<u32>::new(), 0, 0);
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["error", number, _] => errors.push(number.parse().unwrap()),
                ["dropped", count] => reported += count.parse::<u64>().unwrap(),
                ["end"] => break,
                _ => others += 1,
            }
            if reported == dropped.get() && errors.len() + others + usize::try_from(reported).unwrap() == 29_001 {
                output.push(Priority::Routine, "end\n".into());
            }
        }
        assert_eq!(errors, (0..3_000).collect::<Vec<_>>(), "in the order in which they came");
    }

    #[test]
    fn when_the_reader_is_gone_its_lines_are_dropped_and_counted() {
        let (output, reader, dropped) = output_queue();
        drop(reader);
        for number in 1..=3 {
            output.push(Priority::Error, "gone\n".into());
            output.flush(LIMIT);
            assert_eq!(dropped.get(), number);
        }
        assert_eq!(output.0.queue().unreported, 3);
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_before_the_next_one() {
        let (mut reader, writer) = pipe().unwrap();
        let mut stream = Stream { file: OwnedFd::from(writer).into(), ends_mid_line: true };
        assert_eq!(stream.write(b"next\n"), 5);
        drop(stream);
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "\nnext\n");
    }
}
