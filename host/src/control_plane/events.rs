//! What the error log has said of late, by kind, for those who look at a process now and would
//! have to search its log: `GET /events`.
//!
//! Lines are noted where they are written, by the log's own thread: whoever logs does not wait for
//! it, and what the log leaves out is not here either.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::admin_api::EventStatus;

/// Kinds of warnings and errors that are kept; as many of information, which push out none of them.
const MOST: usize = 64;
/// Bytes of a line that are kept.
const TEXT: usize = 512;

/// The last lines of a log, by kind.
#[derive(Default)]
pub(super) struct Events {
    kept: Mutex<Kept>,
}

/// Those that were seen last are at the back.
#[derive(Default)]
struct Kept {
    problems: VecDeque<Event>,
    changes: VecDeque<Event>,
}

struct Event {
    level: String,
    /// What lines of one kind have in common: the text with all numbers alike, without the request.
    kind: String,
    text: String,
    count: u64,
    first: String,
    last: String,
}

impl Events {
    /// A line as `tracing_subscriber` writes it: when, how grave, what.
    fn note(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let Some((time, rest)) = line.trim().split_once(' ') else {
            return;
        };
        let Some((level, text)) = rest.trim_start().split_once(' ') else {
            return;
        };
        let is_problem = match level {
            "ERROR" | "WARN" => true,
            "INFO" => false,
            _ => return,
        };
        let text = &text[..text.floor_char_boundary(TEXT)];
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { problems, changes } = &mut *kept;
        let events = if is_problem { problems } else { changes };
        // Which request it was is no part of its kind: a client could make up as many as it likes.
        let what = text.split(", client: ").next().unwrap_or_default();
        let (level, kind) = (level.to_ascii_lowercase(), kind(what));
        let known = events
            .iter()
            .position(|event| event.kind == kind && event.level == level);
        let known = known.and_then(|index| events.remove(index));
        if events.len() == MOST {
            events.pop_front();
        }
        let (first, count) = known.map_or_else(
            || (time.to_owned(), 1),
            |event| (event.first, event.count + 1),
        );
        events.push_back(Event {
            level,
            kind,
            text: text.to_owned(),
            count,
            first,
            last: time.to_owned(),
        });
    }

    /// All of them, the newest first.
    pub(super) fn list(&self) -> Vec<EventStatus> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let events = kept.problems.iter().chain(&kept.changes);
        let events = events.map(|event| EventStatus {
            level: event.level.clone(),
            text: event.text.clone(),
            count: event.count,
            first: event.first.clone(),
            last: event.last.clone(),
        });
        let mut events: Vec<_> = events.collect();
        // Times of one length in UTC, so their texts are in their order.
        events.sort_by(|one, other| other.last.cmp(&one.last));
        events
    }
}

/// A text with each run of digits as one: what is said of another port or another count is alike.
fn kind(text: &str) -> String {
    let mut kind = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_ascii_digit() {
            true if kind.ends_with('0') => {}
            true => kind.push('0'),
            false => kind.push(character),
        }
    }
    kind
}

/// A log whose lines are noted as well.
pub(super) struct Noting<W> {
    pub(super) log: W,
    pub(super) events: Arc<Events>,
}

impl<W: Write> Write for Noting<W> {
    /// A whole line, as the log's thread has them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line)?;
        Ok(line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        self.events.note(line);
        self.log.write_all(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn noted(lines: impl IntoIterator<Item = String>) -> (Vec<EventStatus>, Vec<u8>) {
        let events = Arc::new(Events::default());
        let mut noting = Noting {
            log: Vec::new(),
            events: events.clone(),
        };
        for line in lines {
            noting.write_all(line.as_bytes()).unwrap();
        }
        (events.list(), noting.log)
    }

    fn line(second: usize, rest: &str) -> String {
        let (minute, second) = (second / 60, second % 60);
        format!("2026-09-01T12:{minute:02}:{second:02}.000001Z {rest}\n")
    }

    #[test]
    fn lines_that_differ_in_numbers_are_one_kind_with_a_count_and_the_last_text() {
        let lines = [
            line(1, " WARN server 10.0.0.1:3000 has failed 3 times"),
            line(2, "ERROR reload refused"),
            line(3, " WARN server 10.0.0.27:80 has failed 12 times"),
            line(4, "DEBUG of no interest"),
            line(5, " INFO reloaded: generation 2 (3ms)"),
        ];
        let (events, log) = noted(lines.clone());
        assert_eq!(log, lines.concat().as_bytes());
        let told = events.iter().map(|event| {
            let EventStatus { level, text, .. } = event;
            let (first, last) = (&event.first[17..19], &event.last[17..19]);
            format!("{level} {text} {} {first} {last}", event.count)
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                "info reloaded: generation 2 (3ms) 1 05 05",
                "warn server 10.0.0.27:80 has failed 12 times 2 01 03",
                "error reload refused 1 02 02",
            ]
        );
    }

    #[test]
    fn requests_of_clients_make_no_kinds() {
        let paths = ["/a", "/b", "/, client: "];
        let lines = paths.iter().enumerate().map(|(second, path)| {
            let what = "ERROR connect() failed (111: Connection refused), client: 192.0.2.1";
            line(
                second,
                &format!("{what}, server: , request: \"GET {path} HTTP/1.1\""),
            )
        });
        let (events, _) = noted(lines);
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].count, 3);
    }

    #[test]
    fn there_are_so_many_kinds_of_so_many_bytes_and_information_pushes_out_no_problem() {
        let kinds = ('a'..='z').flat_map(|one| ('a'..='z').map(move |two| format!("{one}{two}")));
        let kinds: Vec<String> = kinds.take(MOST + 36).collect();
        let lines = kinds.iter().enumerate().map(|(index, kind)| {
            let level = if index < 10 { " WARN" } else { " INFO" };
            line(index, &format!("{level} {kind}{}", "ä".repeat(TEXT)))
        });
        let (events, _) = noted(lines);
        assert_eq!(events.len(), 10 + MOST);
        assert_eq!(
            events.iter().filter(|event| event.level == "warn").count(),
            10
        );
        assert!(events.iter().all(|event| event.text.len() <= TEXT));
        let newest = kinds.last().unwrap();
        assert!(events[0].text.starts_with(newest), "{}", events[0].text);
    }

    #[test]
    fn what_is_no_line_of_a_log_is_passed_on_and_not_noted() {
        let lines = [
            "\n",
            " \n",
            "word\n",
            "2026 WARN\n",
            "\u{fffd} thread panicked\n",
        ];
        let (events, log) = noted(lines.map(str::to_owned));
        assert!(events.is_empty());
        assert_eq!(log, lines.concat().as_bytes());
    }
}
