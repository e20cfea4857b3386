//! Checks of passwords: work that is too slow for a worker's thread, done on threads of its own.
//!
//! The threads belong to the whole process. Each begins with the first check that finds too few of
//! them, and stays. The queue before them is bounded in places and in time, so that a flood of
//! wrong passwords costs a flood of refusals, and neither memory nor the workers' time.
//!
//! Requests of a worker that ask the same at the same time wait for one check: the first twenty
//! requests of a page cost one password, not twenty.
//!
//! A check that nobody waits for any more gives its place in the queue to the next one that finds
//! none. One that is being computed is computed to its end.

mod password_hash;
mod apr1;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{self, SHA256};
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use self::password_hash::PasswordHash;

/// Threads at most, and one per core.
const MOST_THREADS: usize = 4;
/// Checks that wait for a thread.
const QUEUE: usize = 256;
/// How long a check waits for a thread. Whoever asked has most likely gone by then.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How nice the threads are to those that carry requests (see `nice(1)`): a third of their share
/// where cores are short.
const NICE: i32 = 5;

/// Why a check was not done.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CheckFailed {
    #[error("the hash is not one that can be checked: {0}")]
    NotUnderstood(&'static str),
    #[error("{QUEUE} checks of passwords wait already")]
    QueueFull,
    #[error("no thread was free for it within {LONGEST_WAIT:?}")]
    TooLate,
    #[error("no thread for checks of passwords can be started")]
    NoThread,
    #[error("it panicked or ran out of memory")]
    Broke,
}

impl CheckFailed {
    /// Another time it might have been done.
    pub fn is_overload(&self) -> bool {
        matches!(self, CheckFailed::QueueFull | CheckFailed::TooLate)
    }
}

/// A check that was begun: whether the password is right. Dropping it cancels what no thread has
/// begun with, unless another request waits for the same.
pub type CheckHandle = Pin<Box<dyn Future<Output = CheckResult>>>;

type CheckResult = Result<bool, CheckFailed>;
/// Where the answer will be.
type Answer = watch::Receiver<Option<CheckResult>>;

/// Why no password can be checked against a hash; none if one can.
pub(super) fn what_is_wrong_with(hash: &str) -> Option<&'static str> {
    PasswordHash::parse(hash).err()
}

/// Begins a check of whether a password belongs to a hash. To be awaited on any runtime.
pub fn begin(hash: &str, password: Vec<u8>) -> CheckHandle {
    static POOL: OnceLock<CheckThreads> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        CheckThreads::new(cores.min(MOST_THREADS), QUEUE, LONGEST_WAIT)
    });
    let mut key = digest::Context::new(&SHA256);
    key.update(&hash.len().to_le_bytes());
    key.update(hash.as_bytes());
    key.update(&password);
    share(key.finish().as_ref(), || match PasswordHash::parse(hash) {
        Ok(hash) => pool.queue(Box::new(move || hash.belongs_to(&password))),
        Err(why) => Err(CheckFailed::NotUnderstood(why)),
    })
}

/// Waits for the check of this key that is under way on this thread, or begins one.
fn share(key: &[u8], begin: impl FnOnce() -> Result<Answer, CheckFailed>) -> CheckHandle {
    thread_local! {
        static UNDER_WAY: RefCell<HashMap<Box<[u8]>, Weak<Answer>>> = RefCell::default();
    }
    UNDER_WAY.with_borrow_mut(|under_way| {
        let shared = match under_way.get(key).and_then(Weak::upgrade) {
            Some(shared) => shared,
            None => {
                // As many are left as wait now, which the queue bounds.
                under_way.retain(|_, answer| answer.strong_count() > 0);
                match begin() {
                    Ok(answer) => {
                        let answer = Rc::new(answer);
                        under_way.insert(key.into(), Rc::downgrade(&answer));
                        answer
                    }
                    Err(failed) => return Box::pin(async { Err(failed) }) as CheckHandle,
                }
            }
        };
        Box::pin(answered(shared))
    })
}

/// The last one that is dropped takes the question back.
async fn answered(shared: Rc<Answer>) -> CheckResult {
    let mut answer = Answer::clone(&shared);
    let answer = answer.wait_for(Option::is_some).await;
    // The other end is dropped without a word only if its thread broke.
    let answer = answer.ok().and_then(|answer| answer.clone());
    answer.unwrap_or(Err(CheckFailed::Broke))
}

/// What a thread does for one check. `None` if it lacks the memory.
type Work = Box<dyn FnOnce() -> Option<bool> + Send>;

/// A check in the queue.
struct Queued {
    work: Work,
    since: Instant,
    answer: watch::Sender<Option<CheckResult>>,
}

/// The threads and their queue.
struct CheckThreads {
    queue: Arc<Queue>,
    threads: AtomicUsize,
    most_threads: usize,
    longest_wait: Duration,
}

/// Checks that wait for a thread.
struct Queue {
    waiting: Mutex<Waiting>,
    /// There is one more, or the pool is gone.
    changed: Condvar,
    places: usize,
}

#[derive(Default)]
struct Waiting {
    checks: VecDeque<Queued>,
    is_closed: bool,
}

impl Queue {
    /// Adds a check. False if all places are taken by such as somebody waits for.
    fn push(&self, check: Queued) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.checks.len() >= self.places {
            waiting.checks.retain(|check| !check.answer.is_closed());
        }
        let has_place = waiting.checks.len() < self.places;
        if has_place {
            waiting.checks.push_back(check);
            self.changed.notify_one();
        }
        has_place
    }

    /// The next check, which is waited for; none when the pool is gone.
    fn pop(&self) -> Option<Queued> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(check) = waiting.checks.pop_front() {
                return Some(check);
            }
            if waiting.is_closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

impl Drop for CheckThreads {
    fn drop(&mut self) {
        self.queue.waiting.lock().is_closed = true;
        self.queue.changed.notify_all();
    }
}

impl CheckThreads {
    fn new(most_threads: usize, places: usize, longest_wait: Duration) -> CheckThreads {
        CheckThreads {
            queue: Arc::new(Queue {
                waiting: Mutex::default(),
                changed: Condvar::new(),
                places,
            }),
            threads: AtomicUsize::new(0),
            most_threads,
            longest_wait,
        }
    }

    /// Never waits: the caller carries requests.
    fn queue(&self, work: Work) -> Result<Answer, CheckFailed> {
        if !self.has_threads() {
            return Err(CheckFailed::NoThread);
        }
        let (answer, handle) = watch::channel(None);
        let queued = Queued {
            work,
            since: Instant::now(),
            answer,
        };
        match self.queue.push(queued) {
            true => Ok(handle),
            false => Err(CheckFailed::QueueFull),
        }
    }

    /// Starts one more thread where there may be one. Whether there is any.
    fn has_threads(&self) -> bool {
        let room = |threads| (threads < self.most_threads).then_some(threads + 1);
        if self.threads.fetch_update(Relaxed, Relaxed, room).is_err() {
            return true; // as many as there may be
        }
        let (queue, longest_wait) = (Arc::clone(&self.queue), self.longest_wait);
        let started = thread::Builder::new()
            .name("plugin-check".to_owned())
            .spawn(move || carry_out(&queue, longest_wait));
        match started {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!("cannot start a thread for checks of passwords: {error}");
                self.threads.fetch_sub(1, Relaxed) > 1
            }
        }
    }
}

/// The life of a thread.
fn carry_out(queue: &Queue, longest_wait: Duration) {
    // On Linux it is the thread that becomes nice. Without it, checks are as important as requests.
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!("the threads for checks of passwords stay as they are: {error}");
    }
    while let Some(check) = queue.pop() {
        check.carry_out(longest_wait);
    }
}

impl Queued {
    fn carry_out(self, longest_wait: Duration) {
        if self.answer.is_closed() {
            return; // the client is gone
        }
        let result = match self.since.elapsed() > longest_wait {
            true => Err(CheckFailed::TooLate),
            // What a panic leaves behind is dropped: the work owns all that it touches.
            false => match catch_unwind(AssertUnwindSafe(self.work)) {
                Ok(Some(passed)) => Ok(passed),
                Ok(None) | Err(_) => Err(CheckFailed::Broke),
            },
        };
        // Fails if the client has gone meanwhile.
        let _ = self.answer.send(Some(result));
    }
}
