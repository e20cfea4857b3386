//! The thread that sends: gathers what comes into batches, and sends one after the other, again where
//! the collector asks for that.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::exporter::{Counts, Queued, Taken};
use super::otlp;
use super::span::FinishedTrace;
use super::transport::{Outcome, Transport};

/// A batch is sent once it has as many spans, or bytes, or its first trace is as old.
const BATCH_SPANS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_AGE: Duration = Duration::from_secs(1);
/// In which a batch is sent again and again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two of these tries, at first and at most, where the collector does not say.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// For what is left once no configuration has this collector any more.
const LEFT: Duration = Duration::from_secs(10);
/// The log tells that spans are lost once in so long a time.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Sending {
    transport: Transport,
    traces: mpsc::Receiver<FinishedTrace>,
    queued: Arc<Queued>,
    counts: Arc<Counts>,
    /// Until when it may go on, once it is to end.
    end: watch::Receiver<Option<Instant>>,
    /// When the log was last told of a failure, or of spans that are lost.
    told: Option<Instant>,
    /// How many spans were lost by then.
    told_lost: u64,
    /// It was told of a failure, and nothing was taken since.
    is_failing: bool,
}

/// What is sent at once.
struct Batch {
    traces: Vec<FinishedTrace>,
    taken: Taken,
}

impl Batch {
    fn add(&mut self, trace: FinishedTrace) {
        self.taken.spans += trace.spans.len();
        self.taken.bytes += trace.bytes();
        self.traces.push(trace);
    }

    fn is_full(&self) -> bool {
        self.taken.spans >= BATCH_SPANS || self.taken.bytes >= BATCH_BYTES
    }
}

impl Sending {
    pub(super) fn new(
        transport: Transport,
        traces: mpsc::Receiver<FinishedTrace>,
        queued: Arc<Queued>,
        counts: Arc<Counts>,
        end: watch::Receiver<Option<Instant>>,
    ) -> Sending {
        Sending {
            transport,
            traces,
            queued,
            counts,
            end,
            told: None,
            told_lost: 0,
            is_failing: false,
        }
    }

    /// Sends until nobody can hand over any more, or it is told to end.
    pub(super) async fn run(&mut self) {
        while let Some(batch) = self.batch().await {
            self.deliver(batch).await;
        }
        self.told = None;
        self.tell_of_the_lost();
    }

    /// The next batch; none at the end.
    async fn batch(&mut self) -> Option<Batch> {
        let mut batch = Batch {
            traces: Vec::new(),
            taken: Taken::of(&self.queued),
        };
        let mut end = self.end.clone();
        let first = tokio::select! {
            biased;
            first = self.traces.recv() => first,
            _ = end.wait_for(Option::is_some) => self.traces.try_recv().ok(),
        };
        batch.add(first?);
        let due = tokio::time::Instant::now() + BATCH_AGE;
        while !batch.is_full() {
            tokio::select! {
                biased;
                next = self.traces.recv() => match next {
                    Some(next) => batch.add(next),
                    None => break,
                },
                _ = end.wait_for(Option::is_some) => match self.traces.try_recv() {
                    Ok(next) => batch.add(next),
                    Err(_) => break,
                },
                () = sleep_until(due) => break,
            }
        }
        Some(batch)
    }

    /// Sends a batch, again where that may help, within its time.
    async fn deliver(&mut self, batch: Batch) {
        let Batch { traces, taken } = batch;
        let spans = taken.spans as u64;
        let request = otlp::request(self.transport.settings(), traces).into();
        let began = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            let until = self.until(began);
            let (why, after) = match self.transport.send(&request, until).await {
                Outcome::Taken { rejected, message } => {
                    let rejected = rejected.min(spans);
                    self.counts.exported.fetch_add(spans - rejected, Relaxed);
                    self.counts.refused.fetch_add(rejected, Relaxed);
                    return match rejected {
                        0 => self.note_success(),
                        _ => self.note_failure(&format!("it refuses some of them: {message}")),
                    };
                }
                Outcome::Refused(why) => {
                    self.counts.failures.fetch_add(1, Relaxed);
                    self.counts.refused.fetch_add(spans, Relaxed);
                    return self.note_failure(&why);
                }
                Outcome::Again { why, after } => (why, after),
            };
            self.counts.failures.fetch_add(1, Relaxed);
            self.note_failure(&why);
            // Whole crowds of proxies are not to come back at once.
            let wait = pause.mul_f64(0.5 + fastrand::f64());
            // Not at once, whatever it says.
            let wait = after.map_or(wait, |after| after.max(wait));
            pause = (pause * 2).min(PAUSES.1);
            let again = Instant::now() + wait;
            if again >= self.until(began) || !self.waited(again).await {
                self.counts.failed.fetch_add(spans, Relaxed);
                return;
            }
        }
    }

    /// Until when a batch may be sent whose first try began then.
    fn until(&self, began: Instant) -> Instant {
        let until = began + PATIENCE;
        let until = match *self.end.borrow() {
            Some(end) => until.min(end),
            None => until,
        };
        match self.traces.is_closed() {
            true => until.min(began + LEFT),
            false => until,
        }
    }

    /// Waits for the next try; false where there is no time for one any more.
    async fn waited(&mut self, again: Instant) -> bool {
        let mut end = self.end.clone();
        let end = async {
            match end.wait_for(Option::is_some).await {
                Ok(end) => end.is_none_or(|end| again < end),
                // Nobody will tell it any more: its queue is closed.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep_until(again.into()) => true,
            in_time = end => {
                if in_time {
                    sleep_until(again.into()).await;
                }
                in_time
            }
        }
    }

    fn note_success(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            tracing::info!("traces: {:?} takes spans again", self.transport.settings());
        }
        self.tell_of_the_lost();
    }

    fn note_failure(&mut self, why: &str) {
        if self.was_told_lately() {
            return;
        }
        self.is_failing = true;
        let (settings, lost) = (self.transport.settings(), self.lost() - self.told_lost);
        tracing::error!("traces: {settings:?} does not take spans: {why}; {lost} are lost so far");
        self.note_told();
    }

    fn tell_of_the_lost(&mut self) {
        let lost = self.lost() - self.told_lost;
        if lost > 0 && !self.was_told_lately() {
            let settings = self.transport.settings();
            tracing::warn!("traces: {lost} spans for {settings:?} were lost");
            self.note_told();
        }
    }

    fn was_told_lately(&self) -> bool {
        self.told.is_some_and(|told| told.elapsed() < QUIET)
    }

    fn note_told(&mut self) {
        (self.told, self.told_lost) = (Some(Instant::now()), self.lost());
    }

    /// All that was not taken, of the whole process.
    fn lost(&self) -> u64 {
        let counts = &*self.counts;
        let of = [&counts.crowded, &counts.failed, &counts.refused];
        of.into_iter().map(|count| count.load(Relaxed)).sum()
    }
}
