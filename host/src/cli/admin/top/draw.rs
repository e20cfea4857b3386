//! A screen, drawn: the head, the table of the view, the foot. Text goes into cells and never
//! through to the terminal; what has no room is cut.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::super::table::span;
use super::screen::{FOOT, HEAD, Screen};
use super::shown::Process;
use super::table::{GAP, Layout, Row, Tone, View, in_short, time, width};

const KEYS: &[(&str, &str)] = &[
    ("1 2 3 4, Tab", "upstreams, plugins, hooks, events"),
    ("Up Down, PgUp PgDn", "scroll; Home and End"),
    ("s", "sort by the next column"),
    ("r", "reverse the order"),
    ("/", "filter by name; Enter keeps it, Esc drops it"),
    ("p", "pause, and go on"),
    ("?", "these keys"),
    ("q, Esc, Ctrl-C", "leave"),
];

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const TURNED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// Where lines are put, one below the other.
struct Paper<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    has_colours: bool,
}

impl Paper<'_> {
    /// Writes from a column of a line on; where it ends.
    fn put(&mut self, line: usize, column: usize, text: &str, style: Style) -> usize {
        let (columns, lines) = (usize::from(self.area.width), usize::from(self.area.height));
        if line >= lines || column >= columns {
            return column;
        }
        let (Ok(x), Ok(y)) = (u16::try_from(column), u16::try_from(line)) else {
            return column;
        };
        let (x, y) = (self.area.x + x, self.area.y + y);
        let (end, _) = self.buffer.set_stringn(x, y, text, columns - column, style);
        usize::from(end - self.area.x)
    }

    /// Not wider than this.
    fn put_cell(&mut self, line: usize, column: usize, text: &str, most: usize, style: Style) {
        let most = most.min(usize::from(self.area.width).saturating_sub(column));
        if width(text) <= most {
            self.put(line, column, text, style);
            return;
        }
        // That something is left out is seen.
        let mut cut = String::new();
        for letter in text.chars() {
            cut.push(letter);
            if width(&cut) + 1 > most {
                cut.pop();
                break;
            }
        }
        self.put(line, column, &format!("{cut}~"), style);
    }

    fn shade(&self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Good => Color::Green,
            Tone::Doubtful => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        if self.has_colours {
            Style::new().fg(colour)
        } else {
            PLAIN
        }
    }
}

pub(super) fn draw(screen: &Screen, area: Rect, buffer: &mut Buffer) {
    let has_colours = screen.has_colours;
    let lines = usize::from(area.height);
    let mut paper = Paper {
        buffer,
        area,
        has_colours,
    };
    for (line, text) in head(&screen.shown.process).iter().enumerate() {
        let style = if line == 0 { BOLD } else { PLAIN };
        paper.put_cell(line, 0, text, usize::MAX, style);
    }
    warnings(&mut paper, screen);
    views(&mut paper, screen);
    foot(&mut paper, screen, lines.saturating_sub(1));
    let room = lines.saturating_sub(HEAD + FOOT);
    if screen.shows_keys {
        keys(&mut paper);
    } else {
        table(&mut paper, screen, room);
    }
}

/// Two lines.
pub(super) fn head(process: &Process) -> [String; 2] {
    let Process {
        version,
        state,
        uptime_s,
        generation,
        workers,
        connections,
        in_flight,
        requests_per_s,
        errors_per_s,
        p50_us,
        p99_us,
        servers,
        servers_in_rotation,
        ..
    } = process;
    let (uptime, workers) = (span(*uptime_s), workers.to_string());
    let of_workers = if workers == "1" { "worker" } else { "workers" };
    let (requests, errors) = (in_short(*requests_per_s), in_short(*errors_per_s));
    let (p50, p99) = (time(*p50_us), time(*p99_us));
    [
        format!(
            "{state}, up {uptime}, {servers_in_rotation}/{servers} servers up, {workers} {of_workers}, \
             version {version}, generation {generation}"
        ),
        format!(
            "{requests} req/s  {errors} 5xx/s  p50 {p50}  p99 {p99}  {connections} connections  \
             {in_flight} in flight"
        ),
    ]
}

/// What is to be looked at: that nobody answers before all else.
fn warnings(paper: &mut Paper<'_>, screen: &Screen) {
    if let Some(lost) = &screen.lost {
        let (since, ago) = (&lost.since, span(lost.seconds));
        let text = format!("no answer since {since} ({ago}): {}", lost.why);
        let style = paper.shade(Tone::Bad).patch(BOLD);
        paper.put_cell(2, 0, &text, usize::MAX, style);
        return;
    }
    let warnings = &screen.shown.process.warnings;
    let (text, tone) = match warnings.split_first() {
        None => ("nothing is wrong".to_owned(), Tone::Good),
        Some((first, [])) => (format!("look: {first}"), Tone::Doubtful),
        Some((first, more)) => (
            format!("look: {first}; and {} more", more.len()),
            Tone::Doubtful,
        ),
    };
    let style = paper.shade(tone);
    paper.put_cell(2, 0, &text, usize::MAX, style);
}

fn views(paper: &mut Paper<'_>, screen: &Screen) {
    let mut column = 0;
    for (number, view) in View::ALL.into_iter().enumerate() {
        let is_seen = view == screen.view;
        let (number, name) = (number + 1, view.name());
        let text = if is_seen {
            format!("[{number} {name}]")
        } else {
            format!(" {number} {name} ")
        };
        column = paper.put(3, column, &text, if is_seen { BOLD } else { PLAIN });
    }
    let sorted = format!("  sort: {}", screen.sorted_by());
    column = paper.put(3, column, &sorted, PLAIN);
    if !screen.filter.is_empty() {
        paper.put(3, column, &format!("  filter: {}", screen.filter), BOLD);
    }
}

fn keys(paper: &mut Paper<'_>) {
    for (line, (key, meaning)) in KEYS.iter().enumerate() {
        paper.put(HEAD + line, 1, key, BOLD);
        paper.put(HEAD + line, 21, meaning, PLAIN);
    }
}

fn table(paper: &mut Paper<'_>, screen: &Screen, room: usize) {
    let (rows, layout) = screen.table(usize::from(paper.area.width));
    header(paper, screen, &layout);
    if rows.is_empty() {
        let why = match (&*screen.filter, screen.view) {
            ("", View::Upstreams) => "the configuration has no upstreams",
            ("", View::Plugins) => "no plugin is loaded",
            ("", View::Hooks) => "the configuration has no hooks",
            ("", View::Events) => "the log has said nothing",
            _ => "nothing has such a name",
        };
        paper.put(HEAD, 0, why, PLAIN);
        return;
    }
    let all: usize = rows.iter().map(|row| layout.height(row)).sum();
    let first = screen.first(all, room);
    let (mut line, end) = (0, first + room);
    for row in &rows {
        let next = line + layout.height(row);
        if next > first && line < end {
            one(paper, &layout, row, line, first..end);
        }
        line = next;
    }
    if first > 0 || all > room {
        let seen = format!("{}-{} of {all}", first + 1, (first + room).min(all));
        let column = usize::from(paper.area.width).saturating_sub(width(&seen));
        let foot = usize::from(paper.area.height).saturating_sub(1);
        paper.put(foot, column, &seen, PLAIN);
    }
}

fn header(paper: &mut Paper<'_>, screen: &Screen, layout: &Layout) {
    let blank = " ".repeat(usize::from(paper.area.width));
    paper.put(HEAD - 1, 0, &blank, TURNED);
    let mut column = 0;
    for (number, wide) in &layout.columns {
        let of = &screen.view.columns()[*number];
        let is_sorted = screen.sort() == Some(*number);
        let style = if is_sorted {
            TURNED.patch(BOLD)
        } else {
            TURNED
        };
        let at = if of.is_number {
            column + wide.saturating_sub(width(of.head))
        } else {
            column
        };
        paper.put_cell(HEAD - 1, at, of.head, *wide, style);
        column += wide + GAP;
    }
}

/// One row, with the lines below it: those of them that are seen.
fn one(
    paper: &mut Paper<'_>,
    layout: &Layout,
    row: &Row,
    line: usize,
    seen: std::ops::Range<usize>,
) {
    let at = |line: usize| seen.contains(&line).then(|| HEAD + line - seen.start);
    if let Some(at) = at(line) {
        let mut column = 0;
        for (number, wide) in &layout.columns {
            let cell = &row.cells[*number];
            let style = match number {
                0 if row.is_group => BOLD,
                // What says how it is.
                1 => paper.shade(row.tone),
                _ => PLAIN,
            };
            let indent = if row.is_number(*number) {
                wide.saturating_sub(width(&cell.text))
            } else {
                0
            };
            paper.put_cell(at, column + indent, &cell.text, *wide, style);
            column += wide + GAP;
        }
        if let Some(column) = layout.notes_at {
            paper.put_cell(at, column, &row.notes.join("; "), usize::MAX, PLAIN);
            return;
        }
    }
    if layout.notes_at.is_none() {
        for (number, note) in row.notes.iter().enumerate() {
            if let Some(at) = at(line + 1 + number) {
                paper.put_cell(at, 4, note, usize::MAX, PLAIN);
            }
        }
    }
}

fn foot(paper: &mut Paper<'_>, screen: &Screen, line: usize) {
    if screen.is_typing {
        paper.put(line, 0, &format!("/{}_", screen.filter), BOLD);
        return;
    }
    let age = screen.age;
    let when = match (screen.is_paused, &screen.lost) {
        (true, _) => format!("PAUSED, {} old", span(age)),
        (false, Some(_)) => format!("{} old, asking again", span(age)),
        (false, None) => format!("{} old", span(age)),
    };
    paper.put(line, 0, &format!("q leave  ? keys  {when}"), PLAIN);
}
