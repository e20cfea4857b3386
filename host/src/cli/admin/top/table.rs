//! Columns and lines of each view: what there is room for, in which order, and which of it is asked
//! for.

use std::cmp::Ordering;
use std::time::Duration;

use ratatui::text::Span;

use super::super::table::{brief, count, size};
use super::shown::{Event, Hook, Plugin, Rate, Server, Shown, Upstream, is_bad};

/// What is seen below the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Upstreams,
    Plugins,
    Hooks,
    Events,
}

impl View {
    pub(super) const ALL: [View; 4] = [View::Upstreams, View::Plugins, View::Hooks, View::Events];

    pub(super) fn name(self) -> &'static str {
        match self {
            View::Upstreams => "upstreams",
            View::Plugins => "plugins",
            View::Hooks => "hooks",
            View::Events => "events",
        }
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            View::Upstreams => UPSTREAMS,
            View::Plugins => PLUGINS,
            View::Hooks => HOOKS,
            View::Events => EVENTS,
        }
    }
}

pub(super) struct Column {
    pub(super) head: &'static str,
    /// What has less of it goes first where there is too little room; the first column stays.
    keep: u8,
    pub(super) is_number: bool,
}

const fn text(head: &'static str, keep: u8) -> Column {
    Column {
        head,
        keep,
        is_number: false,
    }
}

const fn number(head: &'static str, keep: u8) -> Column {
    Column {
        head,
        keep,
        is_number: true,
    }
}

const UPSTREAMS: &[Column] = &[
    text("SERVER", 9),
    text("STATE", 8),
    number("REQ/S", 7),
    number("FAIL/S", 6),
    number("RETRY/S", 3),
    number("FLIGHT", 5),
    number("P99", 4),
    number("MEAN", 2),
    number("WEIGHT", 1),
];
const PLUGINS: &[Column] = &[
    text("PLUGIN", 9),
    text("STATE", 8),
    number("CALLS/S", 7),
    number("MEAN", 6),
    number("P99", 4),
    number("FAULTS", 5),
    number("VERSION", 3),
    number("TIME", 2),
    number("MEMORY", 1),
];
const HOOKS: &[Column] = &[
    text("HOOK", 9),
    text("PLUGIN", 3),
    number("PROCEED/S", 7),
    number("ANSWER/S", 6),
    number("REROUTE/S", 4),
    number("FAILED/S", 5),
    number("MEAN", 2),
];
const EVENTS: &[Column] = &[text("LAST", 9), text("LEVEL", 8), number("COUNT", 7)];

/// How a line stands out. Its words say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Doubtful,
    Bad,
}

#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What it is sorted by; texts where there is none.
    value: Option<f64>,
}

/// One thing with its columns.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// What else there is to say of it.
    pub(super) notes: Vec<String>,
    pub(super) tone: Tone,
    /// It has others below it.
    pub(super) is_group: bool,
}

impl Row {
    pub(super) fn is_number(&self, column: usize) -> bool {
        self.cells[column].value.is_some()
    }
}

fn word(text: impl Into<String>) -> Cell {
    let (text, value) = (text.into(), None);
    Cell { text, value }
}

#[allow(clippy::cast_precision_loss, reason = "it is sorted by, and not told")]
fn figure(text: String, value: u64) -> Cell {
    let value = Some(value as f64);
    Cell { text, value }
}

fn rate(rate: Rate) -> Cell {
    let value = Some(rate.unwrap_or(-1.0));
    let text = in_short(rate);
    Cell { text, value }
}

/// `0`, `0.4`, `12.3`, `1234`, `56.7k`; `-` for what is not known.
pub(super) fn in_short(rate: Rate) -> String {
    match rate {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(rate) if rate < 0.05 => "<0.1".to_owned(),
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) if rate < 99_999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 9_999_500.0 => format!("{:.0}k", rate / 1e3),
        Some(rate) => format!("{:.0}m", rate / 1e6),
    }
}

/// `1.5ms`, `-` where nothing was measured.
pub(super) fn time(microseconds: Option<u64>) -> String {
    brief(Duration::from_micros(microseconds.unwrap_or_default()))
}

/// What is asked for of a view.
pub(super) struct Wanted<'a> {
    /// Part of a name, in any case.
    pub(super) filter: &'a str,
    /// The column that lines are sorted by.
    pub(super) sort: Option<usize>,
    pub(super) is_reverse: bool,
}

impl Wanted<'_> {
    fn is_in(&self, names: &[&str]) -> bool {
        let filter = self.filter.to_lowercase();
        names
            .iter()
            .any(|name| name.to_lowercase().contains(&filter))
    }

    /// Numbers begin with the largest, words with the first.
    fn sort(&self, rows: &mut [(Row, Vec<Row>)]) {
        if let Some(column) = self.sort {
            rows.sort_by(|(one, _), (other, _)| self.order(column, one, other));
            for (_, below) in rows.iter_mut() {
                below.sort_by(|one, other| self.order(column, one, other));
            }
        } else if self.is_reverse {
            rows.reverse();
            rows.iter_mut().for_each(|(_, below)| below.reverse());
        }
    }

    fn order(&self, column: usize, one: &Row, other: &Row) -> Ordering {
        let (one, other) = (&one.cells[column], &other.cells[column]);
        let order = match (one.value, other.value) {
            (Some(one), Some(other)) => other.total_cmp(&one),
            _ => one.text.cmp(&other.text),
        };
        if self.is_reverse {
            order.reverse()
        } else {
            order
        }
    }
}

/// The lines of a view, those that belong to others behind these.
pub(super) fn rows(view: View, shown: &Shown, wanted: &Wanted<'_>) -> Vec<Row> {
    let mut rows: Vec<(Row, Vec<Row>)> = match view {
        View::Upstreams => shown
            .upstreams
            .iter()
            .filter_map(|upstream| with_servers(upstream, wanted))
            .collect(),
        View::Plugins => alone(&shown.plugins, |of| {
            wanted.is_in(&[&of.name]).then(|| plugin(of))
        }),
        View::Hooks => alone(&shown.hooks, |of| {
            wanted.is_in(&[&of.name, &of.plugin]).then(|| hook(of))
        }),
        View::Events => alone(&shown.events, |of| {
            wanted.is_in(&[&of.text, &of.level]).then(|| event(of))
        }),
    };
    wanted.sort(&mut rows);
    let all = rows
        .into_iter()
        .flat_map(|(row, below)| std::iter::once(row).chain(below));
    all.collect()
}

fn alone<T>(items: &[T], row: impl Fn(&T) -> Option<Row>) -> Vec<(Row, Vec<Row>)> {
    let rows = items.iter().filter_map(row);
    rows.map(|row| (row, Vec::new())).collect()
}

/// All servers of an upstream whose name is asked for, or else those that are.
fn with_servers(of: &Upstream, wanted: &Wanted<'_>) -> Option<(Row, Vec<Row>)> {
    let is_named = wanted.is_in(&[&of.name]);
    let servers: Vec<Row> = of
        .servers
        .iter()
        .filter(|server| {
            let address = server.address.as_deref().unwrap_or_default();
            is_named || wanted.is_in(&[address, &server.server])
        })
        .map(server)
        .collect();
    (is_named || !servers.is_empty()).then(|| (upstream(of), servers))
}

fn upstream(of: &Upstream) -> Row {
    let all = of.servers.len();
    let tone = match of.in_rotation {
        0 => Tone::Bad,
        some if some < all => Tone::Doubtful,
        _ => Tone::Good,
    };
    let p99 = of.p99_us;
    Row {
        cells: vec![
            word(&of.name),
            word(format!("{}/{all} up", of.in_rotation)),
            rate(of.requests_per_s),
            rate(of.errors_per_s),
            rate(of.retries_per_s),
            figure(of.in_flight.to_string(), of.in_flight.into()),
            figure(time(p99), p99.unwrap_or_default()),
            figure("-".to_owned(), 0),
            figure("-".to_owned(), 0),
        ],
        notes: match of.waiting {
            0 => Vec::new(),
            waiting => vec![format!("{waiting} requests wait for a server")],
        },
        tone,
        is_group: true,
    }
}

fn server(of: &Server) -> Row {
    let name = of.address.as_ref().unwrap_or(&of.server);
    let tone = match (of.down, of.in_rotation) {
        (true, _) => Tone::Doubtful,
        (false, false) => Tone::Bad,
        (false, true) if of.why.is_some() => Tone::Doubtful,
        (false, true) => Tone::Good,
    };
    let mut about = Vec::new();
    if of.address.as_ref().is_some_and(|known| *known != of.server) {
        about.push(of.server.clone());
    }
    if of.backup {
        about.push("backup".to_owned());
    }
    let about = Some(about.join(", ")).filter(|about| !about.is_empty());
    let notes = [about, of.why.clone(), of.last_error.clone()];
    Row {
        cells: vec![
            word(format!("  {name}")),
            word(&of.state),
            rate(of.requests_per_s),
            rate(of.failures_per_s),
            rate(of.retries_per_s),
            figure(of.in_flight.to_string(), of.in_flight.into()),
            figure("-".to_owned(), 0),
            figure(time(Some(of.latency_us.into())), of.latency_us.into()),
            figure(of.weight.to_string(), of.weight.into()),
        ],
        notes: notes.into_iter().flatten().collect(),
        tone,
        is_group: false,
    }
}

fn plugin(of: &Plugin) -> Row {
    let tone = match &*of.state {
        "live" => Tone::Good,
        state if is_bad(state) => Tone::Bad,
        _ => Tone::Doubtful,
    };
    let nanoseconds = |time| figure(brief(Duration::from_nanos(time)), time);
    let used = Some(of.used_by.join(", ")).filter(|used| !used.is_empty());
    let error = of.last_error.as_ref();
    let notes = [
        used,
        of.trial.as_ref().map(|trial| format!("trial: {trial}")),
        error.map(|error| format!("last error: {error}")),
    ];
    Row {
        cells: vec![
            word(&of.name),
            word(&of.state),
            rate(of.calls_per_s),
            nanoseconds(of.mean_ns),
            nanoseconds(of.p99_ns),
            figure(count(of.faults), of.faults),
            figure(of.version.to_string(), of.version),
            figure(format!("{}%", of.worker_percent), of.worker_percent),
            figure(size(of.memory_bytes), of.memory_bytes),
        ],
        notes: notes.into_iter().flatten().collect(),
        tone,
        is_group: false,
    }
}

fn hook(of: &Hook) -> Row {
    let is_failing = of.failed_per_s.is_some_and(|rate| rate > 0.0);
    Row {
        cells: vec![
            word(&of.name),
            word(&of.plugin),
            rate(of.proceed_per_s),
            rate(of.answer_per_s),
            rate(of.reroute_per_s),
            rate(of.failed_per_s),
            figure(brief(Duration::from_nanos(of.mean_ns)), of.mean_ns),
        ],
        notes: Vec::new(),
        tone: if is_failing { Tone::Bad } else { Tone::Good },
        is_group: false,
    }
}

fn event(of: &Event) -> Row {
    // Of an RFC 3339 time, the day and the second: fractions say nothing to a reader.
    let last = of.last.get(..19).unwrap_or(&of.last).replace('T', " ");
    Row {
        cells: vec![
            word(last),
            word(&of.level),
            figure(count(of.count), of.count),
        ],
        notes: vec![of.text.clone()],
        tone: match &*of.level {
            "error" => Tone::Bad,
            "warn" => Tone::Doubtful,
            _ => Tone::Good,
        },
        is_group: false,
    }
}

/// Which columns there is room for, and how wide each is.
pub(super) struct Layout {
    /// By number, with its width.
    pub(super) columns: Vec<(usize, usize)>,
    /// Where notes begin that stand on the same line; below it otherwise.
    pub(super) notes_at: Option<usize>,
}

pub(super) const GAP: usize = 2;
/// Of the first column, below which others go.
const NAME: usize = 12;
/// Room that notes want to stand on the same line.
const NOTES: usize = 36;

pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

impl Layout {
    pub(super) fn of(view: View, rows: &[Row], room: usize) -> Layout {
        let columns = view.columns();
        let mut widths: Vec<usize> = columns.iter().map(|column| width(column.head)).collect();
        for row in rows {
            for (widest, cell) in widths.iter_mut().zip(&row.cells) {
                *widest = (*widest).max(width(&cell.text));
            }
        }
        let name = widths[0];
        let mut kept: Vec<usize> = (0..columns.len()).collect();
        let needs = |kept: &[usize], name: usize| {
            let others = kept.iter().skip(1).map(|column| widths[*column] + GAP);
            name + others.sum::<usize>()
        };
        // A long name is cut before others go.
        while kept.len() > 1 && needs(&kept, name.min(NAME.max(room / 4))) > room {
            let least = kept
                .iter()
                .skip(1)
                .min_by_key(|column| columns[**column].keep);
            let least = *least.unwrap_or(&0);
            kept.retain(|column| *column != least);
        }
        let name = name.min(room.saturating_sub(needs(&kept, 0)));
        let notes_at = needs(&kept, name) + GAP;
        let of_kept = kept.iter().map(|column| match column {
            0 => (0, name),
            column => (*column, widths[*column]),
        });
        let wants = if view == View::Events { NAME } else { NOTES };
        Layout {
            columns: of_kept.collect(),
            notes_at: (room >= notes_at + wants).then_some(notes_at),
        }
    }

    /// How many lines of the terminal a row takes.
    pub(super) fn height(&self, row: &Row) -> usize {
        match self.notes_at {
            Some(_) => 1,
            None => 1 + row.notes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        let rates = [
            0.0,
            0.01,
            0.44,
            12.34,
            99.96,
            99_999.0,
            123_456.0,
            12_345_678.0,
        ];
        let short = rates.map(|rate| in_short(Some(rate)));
        assert_eq!(
            short,
            ["0", "<0.1", "0.4", "12.3", "100", "99999", "123k", "12m"]
        );
        assert_eq!(in_short(None), "-");
    }
}
