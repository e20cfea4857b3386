//! What becomes of each directive, with its line.
//!
//! A directive may hold for many places, and in one of them it may be lost: the worst that was said
//! of it counts.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use super::tree::{Directive, Line, Tree};

/// What becomes of a directive, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Leaving it out changes nothing.
    Harmless,
    /// Waypost does it without a word.
    BuiltIn,
    /// It is in the file that is written.
    Translated,
    /// Waypost differs on purpose.
    Changed,
    /// It cannot be said.
    Lost,
}

impl Outcome {
    const ALL: [Outcome; 5] = [
        Outcome::Lost,
        Outcome::Changed,
        Outcome::Translated,
        Outcome::BuiltIn,
        Outcome::Harmless,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Outcome::Lost => "not supported",
            Outcome::Changed => "changed on purpose",
            Outcome::Translated => "translated",
            Outcome::BuiltIn => "built in already",
            Outcome::Harmless => "harmless here",
        }
    }
}

/// What becomes of one directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub line: Line,
    /// The directive as it may be printed: without what may be secret.
    pub directive: String,
    pub outcome: Outcome,
    /// What it is here, or what to do instead.
    pub note: String,
    pub(super) id: usize,
}

/// What becomes of all directives, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub entries: Vec<Entry>,
    /// Departures that no directive stands for.
    pub general: Vec<&'static str>,
}

impl Report {
    /// Whether there is something that cannot be said.
    pub fn has_losses(&self) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.outcome == Outcome::Lost)
    }

    fn of(&self, outcome: Outcome) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.outcome == outcome)
    }

    /// How many there are of each, in a line.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for outcome in Outcome::ALL {
            match self.of(outcome).count() {
                0 => {}
                number => parts.push(format!("{number} {}", outcome.title())),
            }
        }
        match parts.is_empty() {
            true => "no directives".to_owned(),
            false => format!("{} directives: {}", self.entries.len(), parts.join(", ")),
        }
    }

    /// What a user has to know before the file is used: what is lost and what has changed.
    pub fn attention(&self) -> String {
        self.sections(&[Outcome::Lost, Outcome::Changed])
    }

    /// Every directive.
    pub fn full(&self) -> String {
        let mut out = self.sections(&Outcome::ALL);
        if !self.general.is_empty() {
            out.push_str("what differs in general:\n");
            for departure in &self.general {
                let _ = writeln!(out, "  {departure}");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "{}", self.summary());
        out
    }

    fn sections(&self, outcomes: &[Outcome]) -> String {
        let mut out = String::new();
        for outcome in outcomes {
            // A file that is included several times is told of once.
            let mut counted: Vec<(&Entry, usize)> = Vec::new();
            let mut known: HashMap<(&Line, &str, &str), usize> = HashMap::new();
            for entry in self.of(*outcome) {
                let key = (&entry.line, &*entry.directive, &*entry.note);
                let at = *known.entry(key).or_insert(counted.len());
                match counted.get_mut(at) {
                    Some((_, count)) => *count += 1,
                    None => counted.push((entry, 1)),
                }
            }
            if counted.is_empty() {
                continue;
            }
            let _ = writeln!(out, "{}:", outcome.title());
            for (entry, count) in counted {
                let (line, directive, note) = (&entry.line, &entry.directive, &entry.note);
                let times = match count {
                    1 => String::new(),
                    count => format!("   ({count} times)"),
                };
                let _ = writeln!(out, "  {line}: {directive}{times}\n      {note}");
            }
            out.push('\n');
        }
        out
    }
}

/// A report in the making.
#[derive(Debug)]
pub(super) struct Accounts {
    verdicts: RefCell<Vec<Option<(Outcome, String)>>>,
    /// Names of directives that somebody who translates has asked for.
    asked: RefCell<HashSet<&'static str>>,
    general: RefCell<Vec<&'static str>>,
}

impl Accounts {
    pub(super) fn new(tree: &Tree) -> Accounts {
        Accounts {
            verdicts: RefCell::new(vec![None; tree.count]),
            asked: RefCell::default(),
            general: RefCell::default(),
        }
    }

    pub(super) fn note(&self, directive: &Directive, outcome: Outcome, note: impl Into<String>) {
        if let Some(verdict) = self.verdicts.borrow_mut().get_mut(directive.id) {
            let is_worse = verdict.as_ref().is_none_or(|(known, _)| *known < outcome);
            if is_worse {
                *verdict = Some((outcome, note.into()));
            }
        }
    }

    pub(super) fn translated(&self, directive: &Directive, to: impl Into<String>) {
        self.note(directive, Outcome::Translated, to);
    }

    pub(super) fn built_in(&self, directive: &Directive, why: impl Into<String>) {
        self.note(directive, Outcome::BuiltIn, why);
    }

    pub(super) fn harmless(&self, directive: &Directive, why: impl Into<String>) {
        self.note(directive, Outcome::Harmless, why);
    }

    pub(super) fn changed(&self, directive: &Directive, how: impl Into<String>) {
        self.note(directive, Outcome::Changed, how);
    }

    pub(super) fn lost(&self, directive: &Directive, instead: impl Into<String>) {
        self.note(directive, Outcome::Lost, instead);
    }

    /// Everything within a directive has the outcome of the directive.
    pub(super) fn with_children(&self, directive: &Directive) {
        let of_block = self.of(directive.id);
        if let Some((outcome, note)) = of_block {
            let mut verdicts = self.verdicts.borrow_mut();
            for id in directive.id + 1..=directive.last {
                if let Some(verdict) = verdicts.get_mut(id) {
                    *verdict = Some((outcome, note.clone()));
                }
            }
        }
    }

    pub(super) fn of(&self, id: usize) -> Option<(Outcome, String)> {
        self.verdicts.borrow().get(id).cloned().flatten()
    }

    pub(super) fn general(&self, departure: &'static str) {
        let mut general = self.general.borrow_mut();
        if !general.contains(&departure) {
            general.push(departure);
        }
    }

    /// Notes that directives of this name are translated wherever they count.
    pub(super) fn ask(&self, name: &'static str) {
        self.asked.borrow_mut().insert(name);
    }

    pub(super) fn was_asked(&self, name: &str) -> bool {
        self.asked.borrow().contains(name)
    }

    /// The report, in which each directive has its entry.
    pub(super) fn into_report(self, tree: &Tree) -> Report {
        let verdicts = self.verdicts.into_inner();
        let mut entries = Vec::with_capacity(tree.count);
        enter(&tree.directives, &verdicts, &mut entries);
        enter(&tree.left_out, &verdicts, &mut entries);
        entries.sort_by_key(|entry| entry.id);
        Report {
            entries,
            general: self.general.into_inner(),
        }
    }
}

fn enter(
    directives: &[Directive],
    verdicts: &[Option<(Outcome, String)>],
    entries: &mut Vec<Entry>,
) {
    for directive in directives {
        let verdict = verdicts.get(directive.id).cloned().flatten();
        let (outcome, note) = verdict.unwrap_or((Outcome::Lost, "unknown directive".to_owned()));
        entries.push(Entry {
            line: directive.line.clone(),
            directive: printable(directive),
            outcome,
            note,
            id: directive.id,
        });
        if !is_table(&directive.name) {
            enter(directive.children(), verdicts, entries);
        }
    }
}

/// Whether what stands in a directive's block are values and no directives.
pub(super) fn is_table(name: &str) -> bool {
    matches!(
        name,
        "map" | "geo" | "split_clients" | "types" | "match" | "charset_map"
    )
}

/// A directive in a line, without what may be secret: values of headers and variables, and what
/// conditions compare with.
pub(super) fn printable(directive: &Directive) -> String {
    const LONGEST: usize = 72;
    let shown = match &*directive.name {
        "proxy_set_header"
        | "grpc_set_header"
        | "add_header"
        | "set"
        | "fastcgi_param"
        | "proxy_set_body"
        | "return"
        | "external_account_key" => 1,
        "if" => 2,
        "secure_link_md5"
        | "secure_link_secret"
        | "more_set_headers"
        | "more_set_input_headers" => 0,
        _ => usize::MAX,
    };
    let mut text = directive.name.clone();
    for argument in directive.arguments.iter().take(shown) {
        text.push(' ');
        text.push_str(argument);
    }
    if directive.arguments.len() > shown {
        text.push_str(" ...");
    }
    let mut printable: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.chars().count() > LONGEST {
        printable.push_str("...");
    }
    printable
}
