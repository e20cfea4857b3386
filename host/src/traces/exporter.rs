//! The queue of a collector: workers put traces into it, and a thread takes them out.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::sending::Sending;
use super::span::FinishedTrace;
use super::transport::Transport;
use crate::config::model::TraceExport;
use crate::names::Names;

/// Bytes of the traces that wait together.
const QUEUED_BYTES: usize = 16 << 20;
/// For the last traces, at the end of the process.
const LAST_TRACES: Duration = Duration::from_secs(2);
/// Between two looks at whether they are sent.
const POLL: Duration = Duration::from_millis(1);

/// Whoever sends traces in this process. A reload with another `[traces]` begins another one, and the
/// one before ends with what it has.
pub(crate) struct Exporters {
    /// None where nothing is to be resolved.
    names: Option<Names>,
    counts: Arc<Counts>,
    open: Mutex<Vec<Weak<Exporter>>>,
}

/// One collector's queue.
pub(crate) struct Exporter {
    settings: Arc<TraceExport>,
    traces: mpsc::Sender<FinishedTrace>,
    queued: Arc<Queued>,
    counts: Arc<Counts>,
    /// Until when the thread may go on.
    end: watch::Sender<Option<Instant>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Queued {
    spans: AtomicUsize,
    bytes: AtomicUsize,
}

/// What has become of spans. All queues of the process count here.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) exported: AtomicU64,
    /// There was no room in a queue.
    pub(super) crowded: AtomicU64,
    /// A collector took none of them, or not in time.
    pub(super) failed: AtomicU64,
    /// A collector did not want them.
    pub(super) refused: AtomicU64,
    /// Requests to collectors that came to nothing.
    pub(super) failures: AtomicU64,
}

/// What has become of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceFigures {
    /// Each with its name.
    pub(crate) spans: [(&'static str, u64); 4],
    /// Requests to collectors that came to nothing.
    pub(crate) failures: u64,
    /// Spans that wait.
    pub(crate) queued: u64,
}

impl Exporters {
    pub(crate) fn new(names: Option<Names>) -> Exporters {
        Exporters {
            names,
            counts: Arc::default(),
            open: Mutex::default(),
        }
    }

    /// The queue of these settings: the one that is there, or a new one with its thread.
    ///
    /// # Errors
    /// The kernel has no thread.
    pub(crate) fn open(&self, settings: &Arc<TraceExport>) -> io::Result<Arc<Exporter>> {
        let mut open = self.open.lock();
        open.retain(|exporter| exporter.strong_count() > 0);
        let mut known = open.iter().filter_map(Weak::upgrade);
        if let Some(same) = known.find(|exporter| exporter.settings == *settings) {
            return Ok(same);
        }
        let (traces, received) = mpsc::channel(settings.queue);
        let (end, ended) = watch::channel(None);
        let queued = Arc::<Queued>::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut sending = Sending::new(
            Transport::new(settings.clone(), self.names.clone()),
            received,
            queued.clone(),
            self.counts.clone(),
            ended,
        );
        let thread = std::thread::Builder::new().name("traces".to_owned());
        let send = move || {
            // Without the thread all spans would be lost; one that has panicked loses a batch.
            while catch_unwind(AssertUnwindSafe(|| runtime.block_on(sending.run()))).is_err() {}
        };
        let thread = thread.spawn(send)?;
        let exporter = Arc::new(Exporter {
            settings: settings.clone(),
            traces,
            queued,
            counts: self.counts.clone(),
            end,
            thread: Mutex::new(Some(thread)),
        });
        open.push(Arc::downgrade(&exporter));
        Ok(exporter)
    }

    pub(crate) fn figures(&self) -> TraceFigures {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let counts = &*self.counts;
        let live = self.live();
        let queued = live
            .iter()
            .map(|exporter| exporter.queued.spans.load(Relaxed));
        TraceFigures {
            spans: [
                ("exported", count(&counts.exported)),
                ("dropped", count(&counts.crowded)),
                ("failed", count(&counts.failed)),
                ("refused", count(&counts.refused)),
            ],
            failures: count(&counts.failures),
            queued: queued.sum::<usize>() as u64,
        }
    }

    /// Has what waits sent, and ends the threads; for two seconds at most. What comes later is
    /// dropped, so workers end first.
    pub(crate) fn close(&self) {
        let until = Instant::now() + LAST_TRACES;
        let live = self.live();
        for exporter in &live {
            exporter.end.send_replace(Some(until));
        }
        for exporter in live {
            let Some(thread) = exporter.thread.lock().take() else {
                continue;
            };
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(POLL);
            }
            if !thread.is_finished() {
                tracing::error!(
                    "the last traces are lost: {:?} takes too long",
                    exporter.settings
                );
            } else if thread.join().is_err() {
                tracing::error!("the thread that sends traces has panicked");
            }
        }
    }

    fn live(&self) -> Vec<Arc<Exporter>> {
        self.open.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Exporter {
    /// Hands a trace over, or counts its spans as dropped; never waits.
    pub(crate) fn send(&self, trace: FinishedTrace) {
        let (spans, bytes) = (trace.spans.len(), trace.bytes());
        let queued = &*self.queued;
        let waiting = queued.spans.fetch_add(spans, Relaxed);
        let room = queued.bytes.fetch_add(bytes, Relaxed);
        // One that is alone goes however large it is.
        let fits = waiting == 0
            || (waiting.saturating_add(spans) <= self.settings.queue
                && room.saturating_add(bytes) <= QUEUED_BYTES);
        if !fits || self.traces.try_send(trace).is_err() {
            queued.give_back(spans, bytes);
            self.counts.crowded.fetch_add(spans as u64, Relaxed);
        }
    }
}

impl Queued {
    fn give_back(&self, spans: usize, bytes: usize) {
        self.spans.fetch_sub(spans, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

/// What is being sent: it has its room until it is dropped.
pub(super) struct Taken {
    queued: Arc<Queued>,
    pub(super) spans: usize,
    pub(super) bytes: usize,
}

impl Taken {
    pub(super) fn of(queued: &Arc<Queued>) -> Taken {
        Taken {
            queued: queued.clone(),
            spans: 0,
            bytes: 0,
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.queued.give_back(self.spans, self.bytes);
    }
}
