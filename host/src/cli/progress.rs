//! What takes long says so: in one line of a terminal, which is gone when it is over, and in plain
//! lines elsewhere, of which what is over soon writes none.

use std::io::{IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// When the first word is said, and how long it is until the next one.
#[derive(Debug, Clone, Copy)]
struct Pace {
    first: Duration,
    next: Duration,
}

const ON_TERMINAL: Pace = Pace {
    first: Duration::from_millis(300),
    next: Duration::from_millis(100),
};
const ELSEWHERE: Pace = Pace {
    first: Duration::from_secs(3),
    next: Duration::from_secs(30),
};

/// Work under way; it is over when this is dropped.
pub(super) struct Progress {
    line: Arc<Line>,
    /// Both are there until it is over.
    over: Option<Sender<()>>,
    says: Option<JoinHandle<()>>,
}

struct Line {
    what: String,
    /// Of how many; 0 where nobody knows.
    all: u64,
    done: AtomicU64,
    began: Instant,
    is_terminal: bool,
    out: Mutex<Out>,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// The line stands on the terminal.
    is_shown: bool,
}

impl Progress {
    /// Work begins, of so many parts; 0 where nobody knows of how many.
    pub(super) fn of(what: String, all: u64) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let pace = if terminal { ON_TERMINAL } else { ELSEWHERE };
        Progress::shown(what, all, Box::new(std::io::stderr()), terminal, pace)
    }

    fn shown(
        what: String,
        all: u64,
        to: Box<dyn Write + Send>,
        is_terminal: bool,
        pace: Pace,
    ) -> Progress {
        let line = Arc::new(Line {
            what,
            all,
            done: AtomicU64::new(0),
            began: Instant::now(),
            is_terminal,
            out: Mutex::new(Out {
                to,
                is_shown: false,
            }),
        });
        let (over, end) = channel();
        let said = line.clone();
        let says = thread::Builder::new()
            .name("progress".into())
            .spawn(move || said.say(&end, pace));
        Progress {
            line,
            over: Some(over),
            says: says.ok(), // nothing is said then
        }
    }

    /// So many parts are done.
    pub(super) fn done(&self, parts: u64) {
        self.line.done.store(parts, Relaxed);
    }

    /// Does what prints lines of its own, while none of ours is in the way.
    pub(super) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        let mut out = self.line.out.lock();
        out.clear();
        print()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(says) = self.says.take() {
            let _ = says.join();
        }
        self.line.out.lock().clear();
    }
}

impl Line {
    fn say(&self, over: &Receiver<()>, pace: Pace) {
        let mut wait = pace.first;
        while over.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            let words = self.words();
            let mut out = self.out.lock();
            // Nobody is told that nobody can be told.
            let _ = match self.is_terminal {
                true => write!(out.to, "\r{words}\x1b[K"),
                false => writeln!(out.to, "{words}"),
            };
            let _ = out.to.flush();
            out.is_shown = self.is_terminal;
            wait = pace.next;
        }
    }

    fn words(&self) -> String {
        let (what, seconds) = (&self.what, self.began.elapsed().as_secs());
        let done = self.done.load(Relaxed).min(self.all);
        match (done * 100).checked_div(self.all) {
            Some(percent) => format!("{what}: {percent} %, {seconds} s"),
            None => format!("{what}: {seconds} s"),
        }
    }
}

impl Out {
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(self.to, "\r\x1b[K");
            let _ = self.to.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Sends each piece of output on.
    struct Told(Sender<String>, Vec<u8>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let text = String::from_utf8_lossy(&std::mem::take(&mut self.1)).into_owned();
            let _ = self.0.send(text);
            Ok(())
        }
    }

    fn shown(all: u64, is_terminal: bool, first: Duration) -> (Progress, Receiver<String>) {
        let (told, hears) = channel();
        let pace = Pace {
            first,
            next: Duration::from_millis(1),
        };
        let to = Box::new(Told(told, Vec::new()));
        (
            Progress::shown("trying".into(), all, to, is_terminal, pace),
            hears,
        )
    }

    #[test]
    fn a_terminal_has_one_line_that_is_gone_when_it_is_over_or_another_one_is_printed() {
        let (progress, hears) = shown(10, true, Duration::ZERO);
        progress.done(4);
        assert!(
            hears
                .iter()
                .any(|text| text.starts_with("\rtrying: 40 %, ") && text.ends_with("\x1b[K"))
        );
        let until = |text: &str| hears.iter().any(|told| told == text);
        progress.beside(|| ());
        assert!(until("\r\x1b[K"));
        assert!(
            hears.iter().any(|told| told.contains("40 %")),
            "it is there again"
        );
        drop(progress);
        assert_eq!(hears.iter().last().as_deref(), Some("\r\x1b[K"));
    }

    #[test]
    fn elsewhere_there_are_lines_and_none_of_what_is_over_soon() {
        let (progress, hears) = shown(0, false, Duration::ZERO);
        assert_eq!(hears.recv().as_deref(), Ok("trying: 0 s\n"));
        drop(progress);
        assert!(hears.iter().all(|text| text.ends_with(" s\n")));

        let (progress, hears) = shown(0, false, Duration::from_secs(3600));
        drop(progress);
        assert_eq!(hears.iter().next(), None);
    }
}
