//! The error of an endpoint that happened last, in the words of the error log, for whoever asks how
//! it is doing. Written where something has gone wrong, and nowhere else.

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// Bytes of a text: an error says what it has to say in fewer, unless a certificate has long names.
const LONGEST: usize = 240;

/// What went wrong last, if anything did.
#[derive(Debug, Default)]
pub(crate) struct LastError(ArcSwapOption<NotedError>);

/// An error, and when it was met.
#[derive(Debug)]
pub(crate) struct NotedError {
    /// Microseconds of the process's [`Clock`](crate::data_plane::process::Clock).
    pub(crate) at: u64,
    pub(crate) message: String,
}

impl LastError {
    pub(super) fn note(&self, at: u64, error: &dyn Display) {
        let mut message = Bounded(String::new());
        // It refuses what is too long, which is cut there.
        let _ = write!(message, "{error}");
        let message = message.0;
        self.0.store(Some(Arc::new(NotedError { at, message })));
    }

    pub(crate) fn get(&self) -> Option<Arc<NotedError>> {
        self.0.load_full()
    }
}

/// A text up to a length, and `...` in place of the rest.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        self.0.push_str("...");
        Err(fmt::Error)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn the_newest_error_is_kept_and_a_long_one_is_cut_between_characters() {
        let last = LastError::default();
        assert!(last.get().is_none());
        last.note(1, &"first");
        last.note(2, &format_args!("{}: {}", "second", "too"));
        let noted = last.get().unwrap();
        assert_eq!((noted.at, &*noted.message), (2, "second: too"));
        last.note(3, &"é".repeat(LONGEST));
        let noted = last.get().unwrap();
        assert_eq!(noted.message, format!("{}...", "é".repeat(LONGEST / 2)));
    }
}
