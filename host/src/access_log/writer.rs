//! The thread that writes access logs.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::buffer::LogBuffers;
use super::log_file::{LogFile, OpenError, Unwritten, name};
use crate::config::model::LogPath;
use crate::fault_injection;

/// Buffers on their way to the disk. More are dropped, as are more bytes than
/// [`QUEUED_BYTES`].
const QUEUE: usize = 1024;
/// Room of these buffers together.
const QUEUED_BYTES: usize = 16 << 20;
/// For the last lines, at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Between two looks at whether they are written.
const POLL: Duration = Duration::from_millis(1);
/// Between two warnings about one log.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// All access logs of the process and the thread that writes them. Shared by the workers and the
/// control plane.
#[derive(Debug)]
pub struct AccessLogs {
    writer: ToWriter,
    /// None once it was told to end.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Those that a configuration or a buffer still holds.
    open: Mutex<Vec<Weak<Log>>>,
}

impl AccessLogs {
    /// Starts the thread.
    pub fn start() -> io::Result<AccessLogs> {
        let (sender, messages) = sync_channel(QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let written = Arc::clone(&queued);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_all(&messages, &written))?;
        Ok(AccessLogs {
            writer: ToWriter { sender, queued },
            thread: Mutex::new(Some(thread)),
            open: Mutex::new(Vec::new()),
        })
    }

    /// Opens a log, creating the file but not its directory. All callers that open one path share
    /// one file.
    pub fn open(&self, path: &LogPath) -> Result<Arc<Log>, OpenError> {
        let mut open = self.open.lock();
        open.retain(|log| log.strong_count() > 0);
        if let Some(log) = open
            .iter()
            .filter_map(Weak::upgrade)
            .find(|log| log.path == *path)
        {
            return Ok(log);
        }
        let output = Output {
            target: LogFile::open(path)?,
            warned: None,
        };
        let log = Log {
            path: path.clone(),
            output: Mutex::new(output),
            lost: AtomicU64::new(0),
        };
        let log = Arc::new(log);
        open.push(Arc::downgrade(&log));
        Ok(log)
    }

    /// A worker's buffers.
    pub fn buffers(&self) -> LogBuffers {
        LogBuffers::new(self.writer.clone())
    }

    /// Opens every file anew, after a rotation has moved the old ones away. What cannot be opened
    /// goes on with the old file. Lines that still wait go to the new one. Waits for a write in
    /// progress.
    pub fn reopen(&self) -> Result<(), Vec<OpenError>> {
        let problems: Vec<OpenError> = self.live().filter_map(|log| log.reopen().err()).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// Writes what the workers have handed over and ends the thread. Lines that come later are
    /// lost, so the workers' [`LogBuffers`] go first. Blocks, for a second at most: a pipe that no
    /// process reads does not keep this one from ending.
    pub fn close(&self) {
        let Some(thread) = self.thread.lock().take() else {
            return;
        };
        let until = Instant::now() + LAST_LINES;
        // Where the thread is gone there is nothing to wait for.
        while let Err(TrySendError::Full(_)) = self.writer.sender.try_send(Message::Close)
            && Instant::now() < until
        {
            std::thread::sleep(POLL);
        }
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(POLL);
        }
        if !thread.is_finished() {
            tracing::error!("the last lines of access logs are lost: written too slowly");
            return;
        }
        if thread.join().is_err() {
            tracing::error!("the access log's thread has panicked");
        }
        for log in self.live() {
            log.output.lock().warn_if_lost(&log, None);
        }
    }

    fn live(&self) -> impl Iterator<Item = Arc<Log>> {
        let logs: Vec<_> = self.open.lock().iter().filter_map(Weak::upgrade).collect();
        logs.into_iter()
    }
}

impl Drop for AccessLogs {
    fn drop(&mut self) {
        self.close();
    }
}

/// One access log. Its file is closed when the last configuration or buffer that uses it is
/// dropped.
#[derive(Debug)]
pub struct Log {
    path: LogPath,
    /// Locked by the writing thread and by the one that reopens the log: never by a worker.
    output: Mutex<Output>,
    /// Lines since the last warning that did not make it to the file.
    lost: AtomicU64,
}

impl Log {
    fn reopen(&self) -> Result<(), OpenError> {
        let target = LogFile::open(&self.path)?;
        self.output.lock().target = target;
        Ok(())
    }

    fn write(&self, lines: &LineBatch) {
        let mut output = self.output.lock();
        let problem = output.target.write(&lines.bytes).err();
        let problem = problem.map(|Unwritten { bytes, source }| {
            let unwritten = &lines.bytes[lines.bytes.len() - bytes..];
            let lost = memchr::memchr_iter(b'\n', unwritten).count();
            self.lost.fetch_add(lost as u64, Ordering::Relaxed);
            source
        });
        let recently = output
            .warned
            .is_some_and(|warned| warned.elapsed() < WARN_EVERY);
        if !recently {
            output.warn_if_lost(self, problem);
        }
    }
}

#[derive(Debug)]
struct Output {
    target: LogFile,
    warned: Option<Instant>,
}

impl Output {
    fn warn_if_lost(&mut self, log: &Log, problem: Option<io::Error>) {
        let lost = log.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        self.warned = Some(Instant::now());
        let path = name(&log.path);
        match problem {
            Some(problem) => tracing::warn!("access log `{path}`: {lost} lines lost: {problem}"),
            None => tracing::warn!("access log `{path}`: {lost} lines lost: written too slowly"),
        }
    }
}

/// Several lines of one log.
#[derive(Debug)]
pub(super) struct LineBatch {
    pub(super) log: Arc<Log>,
    pub(super) bytes: Vec<u8>,
    pub(super) count: u64,
}

#[derive(Debug)]
enum Message {
    LineBatch(LineBatch),
    Close,
}

/// The worker's end of the way to the thread.
#[derive(Debug, Clone)]
pub(super) struct ToWriter {
    sender: SyncSender<Message>,
    /// Room of the buffers on their way, in bytes.
    queued: Arc<AtomicUsize>,
}

impl ToWriter {
    /// Where nobody writes.
    pub(super) fn nowhere() -> ToWriter {
        ToWriter {
            sender: sync_channel(1).0,
            queued: Arc::default(),
        }
    }

    /// Hands lines over, or counts them as lost; never waits.
    pub(super) fn send(&self, lines: LineBatch) {
        let room = lines.bytes.capacity();
        let before = self.queued.fetch_add(room, Ordering::Relaxed);
        // One that is alone goes however large it is.
        if before > 0 && before.saturating_add(room) > QUEUED_BYTES {
            self.refuse(&lines);
            return;
        }
        if let Err(
            TrySendError::Full(Message::LineBatch(lines))
            | TrySendError::Disconnected(Message::LineBatch(lines)),
        ) = self.sender.try_send(Message::LineBatch(lines))
        {
            self.refuse(&lines);
        }
    }

    fn refuse(&self, lines: &LineBatch) {
        self.queued
            .fetch_sub(lines.bytes.capacity(), Ordering::Relaxed);
        lines.log.lost.fetch_add(lines.count, Ordering::Relaxed);
    }
}

/// The thread. `queued`: room of what has not been written yet.
fn write_all(messages: &Receiver<Message>, queued: &AtomicUsize) {
    for message in messages {
        match message {
            Message::LineBatch(lines) => {
                // Without the thread all lines would be lost; one that has panicked loses these.
                let write = || {
                    fault_injection::panics("access-log");
                    lines.log.write(&lines);
                };
                if catch_unwind(AssertUnwindSafe(write)).is_err() {
                    lines.log.lost.fetch_add(lines.count, Ordering::Relaxed);
                }
                queued.fetch_sub(lines.bytes.capacity(), Ordering::Relaxed);
            }
            Message::Close => return,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn lines(log: &Arc<Log>, text: &str) -> LineBatch {
        LineBatch {
            log: Arc::clone(log),
            bytes: text.as_bytes().to_vec(),
            count: 2,
        }
    }

    #[test]
    fn a_disk_that_does_not_keep_up_costs_lines_and_no_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let logs = AccessLogs::start().unwrap();
        let log = logs.open(&LogPath::File(path.clone())).unwrap();

        let slow = log.output.lock();
        let sent = QUEUE + 10;
        for _ in 0..sent {
            logs.writer.send(lines(&log, "x\nx\n"));
        }
        // The thread may hold one more than the queue.
        let lost = usize::try_from(log.lost.load(Ordering::Relaxed)).unwrap();
        assert!((18..=20).contains(&lost), "{lost}");
        drop(slow);

        logs.close();
        let written = std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(written + lost, 2 * sent);
    }

    #[test]
    fn what_waits_for_a_disk_has_a_bound_in_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let logs = AccessLogs::start().unwrap();
        let log = logs.open(&LogPath::File(path.clone())).unwrap();
        let slow = log.output.lock();
        let large = QUEUED_BYTES / 4;
        for _ in 0..6 {
            let mut bytes = Vec::with_capacity(large);
            bytes.extend_from_slice(b"x\nx\n");
            logs.writer.send(LineBatch {
                log: Arc::clone(&log),
                bytes,
                count: 2,
            });
        }
        assert_eq!(log.lost.load(Ordering::Relaxed), 4);
        drop(slow);
        logs.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 8);
        assert_eq!(logs.writer.queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_disk_is_reported_with_the_number_of_lines_once_a_second() {
        let log = AccessLogs::start()
            .unwrap()
            .open(&LogPath::File("/dev/full".into()))
            .unwrap();
        let reported = warnings(|| {
            log.write(&lines(&log, "a\nb\n"));
            log.write(&lines(&log, "c\nd\n"));
        });
        assert_eq!(reported.matches("lines lost").count(), 1, "{reported}");
        assert!(
            reported.contains("access log `/dev/full`: 2 lines lost: No space left on device"),
            "{reported}"
        );
        let reported = warnings(|| log.output.lock().warn_if_lost(&log, None));
        assert!(
            reported.contains("2 lines lost: written too slowly"),
            "{reported}"
        );
    }

    #[test]
    fn lines_after_the_end_are_counted_as_lost() {
        let logs = AccessLogs::start().unwrap();
        let log = logs.open(&LogPath::File("/dev/null".into())).unwrap();
        logs.close();
        logs.close();
        logs.writer.send(lines(&log, "a\nb\n"));
        assert_eq!(log.lost.load(Ordering::Relaxed), 2);
    }

    /// What this thread logs meanwhile.
    fn warnings(run: impl FnOnce()) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Mutex::new(file.reopen().unwrap());
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.lock().try_clone().unwrap())
            .with_ansi(false)
            .finish();
        tracing::subscriber::with_default(subscriber, run);
        std::fs::read_to_string(file.path()).unwrap()
    }
}
