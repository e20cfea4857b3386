//! Text that a plugin or its file brought along: messages, names, errors. Bounded, and safe to
//! show.
//!
//! A plugin must not fill a log, hold the host's memory, forge lines of the log or steer a
//! terminal. So such text is cut and escaped where it comes in, and everything that shows it takes
//! an [`Untrusted`]: `String` is for text of our own.

use std::fmt::{self, Write};

/// Bytes that are shown of a message, and of a name.
pub(super) const MESSAGE: usize = 1024;
pub(super) const NAME: usize = 256;

/// Stands for what was cut off.
const CUT: &str = "...";

/// Text of a plugin as it is shown: at most so many bytes, control characters escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Untrusted(Box<str>);

impl Untrusted {
    /// A message: one line of at most 1,024 bytes.
    pub fn message(text: impl fmt::Display) -> Untrusted {
        Untrusted::of(text, MESSAGE)
    }

    /// A name of something: at most 256 bytes.
    pub fn name(text: impl fmt::Display) -> Untrusted {
        Untrusted::of(text, NAME)
    }

    /// At most `most` bytes of `text`, which is written no further than that.
    pub(super) fn of(text: impl fmt::Display, most: usize) -> Untrusted {
        let mut cutter = Cutter {
            shown: String::new(),
            most,
        };
        // An error says that the rest is cut off, or that `text` could not go on.
        if write!(cutter, "{text}").is_err() {
            let room = most.saturating_sub(CUT.len());
            cutter
                .shown
                .truncate(cutter.shown.floor_char_boundary(room));
            cutter.shown.push_str(CUT);
        }
        Untrusted(cutter.shown.into())
    }

    /// As it is shown. The same as the text itself, if that is short and plain.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Untrusted {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// At most eight of `all`, and how many more there are: `a, b and 12 more`.
pub(super) fn few<T: fmt::Display>(all: &[T], separator: &str) -> String {
    const FEW: usize = 8;
    let shown = all.iter().take(FEW).map(T::to_string);
    let shown = shown.collect::<Vec<_>>().join(separator);
    match all.len().saturating_sub(FEW) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Takes text up to its bound, and escapes it.
struct Cutter {
    shown: String,
    most: usize,
}

impl Write for Cutter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        let length = match is_unsafe(c) {
            true => c.escape_default().len(),
            false => c.len_utf8(),
        };
        if self.shown.len() + length > self.most {
            return Err(fmt::Error);
        }
        match is_unsafe(c) {
            true => self.shown.extend(c.escape_default()),
            false => self.shown.push(c),
        }
        Ok(())
    }
}

/// Whether a character ends a line, steers a terminal, or changes how the text around it looks
/// (Unicode's bidirectional and invisible formatting characters).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_language_stays_as_it_is() {
        for text in ["", "a b", "ключ `x`", "日本語 🦀", "C:\\n\"quoted\""] {
            assert_eq!(Untrusted::message(text).as_str(), text);
        }
    }

    #[test]
    fn line_ends_and_escapes_are_shown_as_such() {
        let text = "one\r\ntwo\u{1b}[31m\u{9b}2J\u{7}\u{2028}\u{202e}\0";
        let shown = r"one\r\ntwo\u{1b}[31m\u{9b}2J\u{7}\u{2028}\u{202e}\u{0}";
        assert_eq!(Untrusted::message(text).as_str(), shown);
    }

    #[test]
    fn text_is_cut_at_its_bound_and_never_within_a_character_or_an_escape() {
        assert_eq!(Untrusted::of("abcdef", 6).as_str(), "abcdef");
        assert_eq!(Untrusted::of("abcdefg", 6).as_str(), "abc...");
        assert_eq!(Untrusted::of("äöüäöü", 8).as_str(), "äö...");
        for most in 3..40 {
            let cut = Untrusted::of("\u{1b}".repeat(40), most);
            assert!(cut.as_str().len() <= most, "{most}: {cut}");
        }
    }

    #[test]
    fn a_text_of_gigabytes_is_not_written_to_its_end() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (0..u64::MAX).try_for_each(|_| f.write_str("all work and no play "))
            }
        }
        assert_eq!(Untrusted::name(Endless).as_str().len(), NAME);
    }

    #[test]
    fn of_many_names_a_few_are_shown() {
        assert_eq!(few(&["a", "b"], ", "), "a, b");
        let many: Vec<u32> = (0..20).collect();
        assert_eq!(few(&many, ", "), "0, 1, 2, 3, 4, 5, 6, 7 and 12 more");
    }
}
