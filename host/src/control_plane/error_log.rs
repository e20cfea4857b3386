//! The error log: `tracing`, through a bounded queue and a thread of its own, so that no worker
//! waits for a disk.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use super::events::{Events, Noting};
use crate::config::model::{ErrorLog, LogPath};
use crate::file::open_to_append;

/// The error log in use; lines still queued are written when it is dropped.
pub(super) struct ErrorLogs {
    file: Option<Reopenable>,
    level: reload::Handle<LevelFilter, Registry>,
    events: Arc<Events>,
    _queue: WorkerGuard,
}

impl ErrorLogs {
    /// Sends everything that is traced from now on to `log`.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub(super) fn start(log: &ErrorLog) -> anyhow::Result<ErrorLogs> {
        let events = Arc::new(Events::default());
        let (file, (writer, queue)) = match &log.path {
            LogPath::Stdout => (None, noted(io::stdout(), &events)),
            LogPath::Stderr => (None, noted(io::stderr(), &events)),
            LogPath::File(path) => {
                let file = Reopenable::open(path).with_context(|| {
                    format!(
                        "cannot open `error_log` of `[server]` at `{}`, whose folder has to be \
                             there and open to the user that runs waypost",
                        path.display()
                    )
                })?;
                (Some(file.clone()), noted(file, &events))
            }
        };
        let (filter, level) = reload::Layer::new(LevelFilter::from_level(log.level));
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_ansi(false)
            .with_target(false);
        // What comes of a question to name servers is said by `names`; the library would say all of
        // what they send.
        let ours = filter_fn(|event| !event.target().starts_with("hickory"));
        let subscriber = Registry::default().with(lines.with_filter(filter.and(ours)));
        // A second start in one process keeps the first log: only tests do that.
        let _ = tracing::subscriber::set_global_default(subscriber);
        Ok(ErrorLogs {
            file,
            level,
            events,
            _queue: queue,
        })
    }

    /// Logs from another level on.
    pub(super) fn set_level(&self, level: tracing::Level) {
        // Fails only once the subscriber is gone, and nothing is logged then.
        let _ = self.level.reload(LevelFilter::from_level(level));
    }

    /// The file, where there is one.
    pub(super) fn file(&self) -> Option<Reopenable> {
        self.file.clone()
    }

    /// What it has said of late.
    pub(super) fn events(&self) -> Arc<Events> {
        self.events.clone()
    }
}

/// A queue to a log, and the thread behind it, which notes what it writes.
fn noted(log: impl Write + Send + 'static, events: &Arc<Events>) -> (NonBlocking, WorkerGuard) {
    let events = events.clone();
    NonBlocking::new(Noting { log, events })
}

/// A file that can be exchanged for a new one of the same name.
#[derive(Clone)]
pub(super) struct Reopenable {
    path: PathBuf,
    file: Arc<ArcSwap<File>>,
}

impl Reopenable {
    fn open(path: &Path) -> io::Result<Reopenable> {
        Ok(Reopenable {
            path: path.to_owned(),
            file: Arc::new(ArcSwap::from_pointee(open_to_append(path)?)),
        })
    }

    /// Opens the file anew, after a rotation. What cannot be opened goes on with the old file.
    pub(super) fn reopen(&self) {
        match open_to_append(&self.path) {
            Ok(file) => self.file.store(Arc::new(file)),
            Err(error) => {
                let path = self.path.display();
                tracing::error!("cannot reopen error log `{path}`: {error}");
            }
        }
    }
}

impl Write for Reopenable {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (&**self.file.load()).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
