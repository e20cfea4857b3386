//! Text for people: aligned columns, figures in units that fit them, and colours, which are left
//! out again where what is printed goes to no terminal.

use std::fmt::Display;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};

pub(super) const HEAD: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// A text with a colour.
pub(super) fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The names of columns.
pub(super) fn header<const N: usize>(names: [&str; N]) -> [String; N] {
    names.map(|name| match name {
        "" => String::new(),
        name => painted(HEAD, name),
    })
}

/// Lines of columns, each as wide as its widest cell, without spaces at the end.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width_of = |cell: &str| -> usize {
        let shown = strip_str(cell);
        shown.map(|text| text.chars().count()).sum()
    };
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(width_of(cell));
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| cell.clone() + &" ".repeat(width - width_of(cell) + 2))
            .collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Columns of the terminal that is printed to, 80 where it does not say; without end where there is
/// none: what reads there goes by lines.
pub(super) fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        Ok(_) => 80,
        Err(_) => usize::MAX,
    }
}

/// A text in lines of at most so many letters, broken between words where that is possible. All lines
/// but the first are further to the right.
pub(super) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    const INDENT: &str = "  ";
    let columns = columns.max(20);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        let mut rest = &letters[..];
        let room = columns - used;
        let needs = rest.len() + usize::from(used > 0);
        if needs > room && used > INDENT.len() {
            lines.push(INDENT.to_owned());
            used = INDENT.len();
        }
        loop {
            let line = lines.len() - 1;
            let line = &mut lines[line];
            if !line.trim().is_empty() {
                line.push(' ');
                used += 1;
            }
            let (now, later) = rest.split_at(rest.len().min(columns - used));
            line.extend(now);
            used += now.len();
            rest = later;
            if rest.is_empty() {
                break;
            }
            lines.push(INDENT.to_owned());
            used = INDENT.len();
        }
    }
    lines
}

/// `312ns`, `4.2us`, `17ms`; `-` for what was never measured.
pub(super) fn brief(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    let (unit, factor) = match nanoseconds {
        0 => return "-".to_owned(),
        1..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => ("us", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    in_two_digits(time.as_secs_f64() * 1e9 / factor, unit)
}

/// `12.5s`.
pub(super) fn seconds(milliseconds: u64) -> String {
    format!("{:.1}s", Duration::from_millis(milliseconds).as_secs_f64())
}

/// `512`, `1.5k`, `64m`, as the configuration writes sizes, rounded.
pub(super) fn size(bytes: u64) -> String {
    let (unit, shift) = match bytes {
        0..1_024 => return bytes.to_string(),
        1_024..1_048_576 => ("k", 10),
        1_048_576..1_073_741_824 => ("m", 20),
        _ => ("g", 30),
    };
    // Rounded for a reader: what `f64` cannot hold is far beyond the two digits shown.
    #[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
    in_two_digits(bytes as f64 / f64::from(1_u32 << shift), unit)
}

fn in_two_digits(value: f64, unit: &str) -> String {
    if value < 9.95 {
        format!("{value:.1}{unit}")
    } else {
        format!("{value:.0}{unit}")
    }
}

/// `1234`, and from ten millions on `12.3m`, in which the last digits say nothing any more.
pub(super) fn count(number: u64) -> String {
    match number {
        0..10_000_000 => number.to_string(),
        _ => format!("{}.{}m", number / 1_000_000, number / 100_000 % 10),
    }
}

/// The two largest units: `3d 4h`, `5m 7s`, `9s`.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NAME", "N"], ["é", "10"], ["longer", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "NAME    N\né       10\nlonger\n");
    }

    #[test]
    fn colours_take_no_room() {
        let rows = [
            header(["A", "B"]),
            [painted(BAD, "x"), "y".to_owned()],
            ["long".to_owned(), painted(GOOD, "z")],
        ];
        let text = aligned(&rows);
        assert!(text.contains("\u{1b}[31mx\u{1b}[0m     y\n"), "{text:?}");
        assert_eq!(strip_str(&text).to_string(), "A     B\nx     y\nlong  z\n");
    }

    #[test]
    fn a_text_is_broken_between_words_and_a_word_only_where_it_has_no_room() {
        let text = "last error 12.0s ago: connect() failed (111: Connection refused)";
        assert_eq!(
            wrapped(text, 40),
            [
                "last error 12.0s ago: connect() failed",
                "  (111: Connection refused)"
            ]
        );
        assert_eq!(wrapped(text, 200), [text]);
        let long = "x".repeat(50);
        let lines = wrapped(&format!("a {long} b"), 20);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 20),
            "{lines:?}"
        );
        let joined: String = lines.concat().replace(' ', "");
        assert_eq!(joined, format!("a{long}b"), "nothing is lost");
        assert_eq!(wrapped("", 80), [""]);
    }

    #[test]
    fn figures_are_short() {
        let times = [0, 312, 4_240, 9_990, 17_000_000, 2_000_000_000];
        let times = times.map(|nanoseconds| brief(Duration::from_nanos(nanoseconds)));
        assert_eq!(times, ["-", "312ns", "4.2us", "10us", "17ms", "2.0s"]);
        let sizes = [0, 1_023, 1_536, 64 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["0", "1023", "1.5k", "64m", "3.0g"]);
        let counts = [0, 9_999_999, 10_000_000, 123_456_789].map(count);
        assert_eq!(counts, ["0", "9999999", "10.0m", "123.4m"]);
        let spans = [9, 307, 3_720, 273_600].map(span);
        assert_eq!(spans, ["9s", "5m 7s", "1h 2m", "3d 4h"]);
    }
}
