//! Threads for work on files, which serve all workers.
//!
//! A file system may not answer for as long as its server is gone. So work is queued by the
//! directory that it is about: one directory has half of the threads at most that no other one has,
//! and a part of the queue; others go on beside it, even if several do not answer. Whoever asks waits
//! for as long as it wants to, and for no longer.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Threads at most. They wait for disks more than they compute.
const THREADS: usize = 16;
/// Work of one directory that waits for a thread.
const QUEUE_OF_ROOT: usize = 1024;

/// Why work is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overloaded {
    #[error("{QUEUE_OF_ROOT} requests wait for this directory already")]
    QueueFull,
    #[error("no thread for files can be started")]
    NoThread,
}

/// Has work done that is about a directory. Never waits. What comes of the work is dropped if
/// nobody waits for it any more; if it panics, the other end hears that nothing comes.
///
/// # Errors
/// [`Overloaded`]
pub(crate) fn run<T: Send + 'static>(
    root: &Arc<Path>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, Overloaded> {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(Pool::default).run(root, work)
}

type Work = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Pool(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is more to do, or the pool is gone.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Arc<Path>, Work)>,
    roots: HashMap<Arc<Path>, OfRoot>,
    threads: usize,
    /// Of these, such as have work.
    running: usize,
    idle: usize,
    is_closed: bool,
}

/// What there is of one directory.
#[derive(Default, Clone, Copy)]
struct OfRoot {
    waiting: usize,
    running: usize,
}

impl Pool {
    fn run<T: Send + 'static>(
        &self,
        root: &Arc<Path>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Overloaded> {
        let (answer, handle) = oneshot::channel();
        let work = move || {
            if !answer.is_closed() {
                // Nobody may wait for it by now.
                let _ = answer.send(work());
            }
        };
        let mut state = self.0.state.lock();
        let of_root = state.roots.entry(root.clone()).or_default();
        if of_root.waiting >= QUEUE_OF_ROOT {
            return Err(Overloaded::QueueFull);
        }
        of_root.waiting += 1;
        state.queue.push_back((root.clone(), Box::new(work)));
        let starts = state.idle < state.queue.len() && state.threads < THREADS;
        if starts {
            state.threads += 1;
        }
        drop(state);
        self.0.changed.notify_one();
        match starts {
            true => self.start().map(|()| handle),
            false => Ok(handle),
        }
    }

    /// Starts one more thread; without it, those that are there have more to do.
    fn start(&self) -> Result<(), Overloaded> {
        let shared = self.0.clone();
        let thread = thread::Builder::new().name("files".to_owned());
        let Err(error) = thread.spawn(move || shared.carry_out()) else {
            return Ok(());
        };
        tracing::warn!("cannot start a thread for files: {error}");
        let mut state = self.0.state.lock();
        match state.lose_thread() {
            true => Ok(()),
            false => Err(Overloaded::NoThread),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.state.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// The life of a thread.
    fn carry_out(&self) {
        while let Some((root, work)) = self.next() {
            // What a panic leaves behind is dropped: the work owns all that it touches.
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!("work on files below {} panicked", root.display());
            }
            self.state.lock().end(&root);
            // A place of its directory is free, for which work may wait.
            self.changed.notify_one();
        }
    }

    /// The next work whose directory may have one more thread; none when the pool is gone.
    fn next(&self) -> Option<(Arc<Path>, Work)> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(next) = state.take() {
                return Some(next);
            }
            state.idle += 1;
            self.changed.wait(&mut state);
            state.idle -= 1;
        }
    }
}

impl State {
    fn take(&mut self) -> Option<(Arc<Path>, Work)> {
        let roots = &self.roots;
        let may_run = |root: &Arc<Path>| {
            let running = roots.get(root).map_or(0, |of_root| of_root.running);
            running < share(self.running - running)
        };
        let at = self.queue.iter().position(|(root, _)| may_run(root))?;
        let (root, work) = self.queue.remove(at)?;
        let of_root = self.roots.entry(root.clone()).or_default();
        of_root.waiting = of_root.waiting.saturating_sub(1);
        of_root.running += 1;
        self.running += 1;
        Some((root, work))
    }

    /// One is gone that could not be started. Whether there are others; if not, all that waits is
    /// given up.
    fn lose_thread(&mut self) -> bool {
        self.threads -= 1;
        if self.threads == 0 {
            self.queue.clear();
            self.roots.clear();
        }
        self.threads > 0
    }

    fn end(&mut self, root: &Arc<Path>) {
        self.running = self.running.saturating_sub(1);
        if let Some(of_root) = self.roots.get_mut(root) {
            of_root.running = of_root.running.saturating_sub(1);
            if of_root.running == 0 && of_root.waiting == 0 {
                self.roots.remove(root);
            }
        }
    }
}

/// Threads that one directory may have while others have some: one that does not answer takes half of
/// them, the next one half of those that are left, so that four leave one to the others.
fn share(of_others: usize) -> usize {
    (THREADS.saturating_sub(of_others) / 2).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn root(name: &str) -> Arc<Path> {
        Path::new(name).into()
    }

    /// Work that does not end before the other end of the channel is dropped.
    fn stuck(pool: &Pool, root: &Arc<Path>, until: &Arc<Mutex<mpsc::Receiver<()>>>) {
        let until = until.clone();
        // Its answer is of no interest, so it is kept rather than dropped: that would cancel it.
        let answer = pool.run(root, move || until.lock().recv().is_err());
        std::mem::forget(answer.unwrap());
    }

    #[test]
    fn a_directory_that_does_not_answer_leaves_threads_to_others() {
        let pool = Pool::default();
        let (end, until) = mpsc::channel::<()>();
        let until = Arc::new(Mutex::new(until));
        let dead = root("/dead");
        for _ in 0..share(0) {
            stuck(&pool, &dead, &until);
        }
        let mut kept = Vec::new();
        for _ in 0..QUEUE_OF_ROOT {
            match pool.run(&dead, || ()) {
                Ok(answer) => kept.push(answer),
                Err(refused) => {
                    assert_eq!(refused, Overloaded::QueueFull);
                    break;
                }
            }
        }
        let refused = loop {
            match pool.run(&dead, || ()) {
                Ok(answer) => kept.push(answer),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Overloaded::QueueFull);
        assert!(kept.len() <= QUEUE_OF_ROOT + share(0));
        let other = pool.run(&root("/other"), || 7).unwrap();
        assert_eq!(other.blocking_recv(), Ok(7));
        drop(end);
        for answer in kept {
            assert_eq!(answer.blocking_recv(), Ok(()));
        }
    }

    /// What comes within ten seconds.
    fn in_time<T>(mut answer: oneshot::Receiver<T>) -> Option<T> {
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            match answer.try_recv() {
                Ok(value) => return Some(value),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => thread::yield_now(),
            }
        }
        None
    }

    #[test]
    fn four_directories_that_do_not_answer_leave_a_thread_to_others() {
        let pool = Pool::default();
        let (end, until) = mpsc::channel::<()>();
        let until = Arc::new(Mutex::new(until));
        for dead in ["/a", "/b", "/c", "/d"] {
            for _ in 0..THREADS {
                stuck(&pool, &root(dead), &until);
            }
        }
        for _ in 0..3 {
            let other = pool.run(&root("/other"), || 7).unwrap();
            assert_eq!(in_time(other), Some(7));
        }
        drop(end);
        // What waited gets its turn in the end.
        let last = pool.run(&root("/a"), || 8).unwrap();
        assert_eq!(in_time(last), Some(8));
    }

    #[test]
    fn without_a_thread_all_that_waits_is_given_up() {
        let mut state = State {
            threads: 2,
            ..State::default()
        };
        for name in ["/a", "/b"] {
            state.queue.push_back((root(name), Box::new(|| ())));
            state.roots.entry(root(name)).or_default().waiting = 1;
        }
        assert!(state.lose_thread());
        assert_eq!(state.queue.len(), 2);
        assert!(!state.lose_thread());
        assert!(state.queue.is_empty() && state.roots.is_empty());
    }

    #[test]
    fn work_that_panics_answers_with_nothing_and_costs_no_thread() {
        let pool = Pool::default();
        for _ in 0..2 * THREADS {
            let broken = pool.run(&root("/a"), || panic!("a test"));
            let broken: Result<(), _> = broken.unwrap().blocking_recv();
            assert!(broken.is_err());
        }
        assert_eq!(pool.run(&root("/a"), || 1).unwrap().blocking_recv(), Ok(1));
        let state = pool.0.state.lock();
        assert!(state.threads <= THREADS);
    }

    #[test]
    fn work_that_nobody_waits_for_is_not_done() {
        let pool = Pool::default();
        let (end, until) = mpsc::channel::<()>();
        let until = Arc::new(Mutex::new(until));
        for _ in 0..share(0) {
            stuck(&pool, &root("/a"), &until);
        }
        let (told, hears) = mpsc::channel::<()>();
        drop(pool.run(&root("/a"), move || told.send(())));
        let last = pool.run(&root("/a"), || ()).unwrap();
        drop(end);
        last.blocking_recv().unwrap();
        assert!(hears.recv().is_err(), "it was done");
    }
}
