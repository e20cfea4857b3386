//! The file that is written: blocks with keys, in the order in which a person reads them.

use std::fmt::Write;

use super::report::Entry;
use crate::config::toml_text;

/// Columns of a line that is not broken.
const WIDTH: usize = 100;

/// A text as a value, in one line.
pub(super) fn text(value: &str) -> String {
    if !value.contains(char::is_control) {
        return toml_text(value);
    }
    let mut quoted = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A list as the value of a key, broken into lines where it is long.
pub(super) fn long_list(key: &str, items: &[String]) -> String {
    let line = list(items.iter().cloned());
    match key.len() + 3 + line.len() <= WIDTH || items.len() < 2 {
        true => line,
        false => format!("[\n  {},\n]", items.join(",\n  ")),
    }
}

/// Texts as a list, or as the text alone if there is one.
pub(super) fn texts(values: &[String]) -> String {
    match values {
        [single] => text(single),
        values => list(values.iter().map(|value| text(value))),
    }
}

/// Values as a list.
pub(super) fn list(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<String> = values.into_iter().collect();
    format!("[{}]", values.join(", "))
}

/// A name as a key.
pub(super) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match !name.is_empty() && name.bytes().all(bare) {
        true => name.to_owned(),
        false => text(name),
    }
}

/// Keys and values in the order in which they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Table(Vec<(String, String)>);

impl Table {
    pub(super) fn new() -> Table {
        Table::default()
    }

    /// Adds a key, or gives another value to one that is there.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let (name, value) = (key(name), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Adds a key that is not there yet: of many, in no time.
    pub(super) fn append(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((key(name), value.into()));
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Table {
        self.set(name, value);
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// The value of a key as another table has it.
    pub(super) fn get_written(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs();
        pairs
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Takes out a key as another table has it, where it has this value.
    pub(super) fn remove_pair(&mut self, name: &str, value: &str) {
        self.0.retain(|pair| (&*pair.0, &*pair.1) != (name, value));
    }

    /// Adds a key as another table has it.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of both, those of `more` behind.
    pub(super) fn followed_by(mut self, more: Table) -> Table {
        self.0.extend(more.0);
        self
    }

    /// Names as they are written, and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As a value.
    pub(super) fn inline(&self) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(k, v)| format!("{k} = {v}")).collect();
        match pairs.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{ {} }}", pairs.join(", ")),
        }
    }
}

/// Changes to a header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) remove: Vec<String>,
    pub(super) set: Table,
    pub(super) add: Table,
    /// What is set in answers that are no errors.
    pub(super) set_in_good: Table,
    /// What is added to answers that are no errors.
    pub(super) add_to_good: Table,
    /// What would be added if the answer had another status.
    pub(super) withheld: Table,
}

/// Answers that are no errors.
const GOOD: &str = "[\"2xx\", \"3xx\"]";

impl Headers {
    pub(super) fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
            && self.set_in_good.is_empty()
            && self.add_to_good.is_empty()
    }

    /// As a value: a table, or two for different statuses.
    fn inline(&self) -> String {
        let tables = self.whole();
        match tables.as_slice() {
            [table] => table.inline(),
            tables => list(tables.iter().map(Table::inline)),
        }
    }

    fn whole(&self) -> Vec<Table> {
        let (mut whole, mut tables) = (self.for_all(), Vec::new());
        let mut good = Table::new();
        for (key, table) in [("set", &self.set_in_good), ("add", &self.add_to_good)] {
            if !table.is_empty() {
                good.set(key, table.inline());
            }
        }
        if !good.is_empty() {
            tables.push(good.with("statuses", GOOD));
            if whole.is_empty() {
                return tables;
            }
        }
        tables.insert(0, std::mem::take(&mut whole));
        tables
    }

    fn for_all(&self) -> Table {
        let mut whole = Table::new();
        if !self.remove.is_empty() {
            whole.set("remove", list(self.remove.iter().map(|name| text(name))));
        }
        for (key, table) in [("set", &self.set), ("add", &self.add)] {
            if !table.is_empty() {
                whole.set(key, table.inline());
            }
        }
        whole
    }
}

/// What an `expires` as it is written makes of `Cache-Control`.
fn seconds_of(written: &str) -> Option<String> {
    Some(match written.trim_matches('"') {
        "epoch" => "no-cache".to_owned(),
        "max" => "max-age=315360000".to_owned(),
        time => format!("max-age={}", super::values::time(time)?.as_secs()),
    })
}

/// A table of the file, with what stands above it.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) comments: Vec<String>,
    /// `[[route]]`, `[upstream.app]`.
    pub(super) title: String,
    pub(super) keys: Table,
    /// Keys whose value is a list that is broken into lines where it is long.
    pub(super) lists: Vec<(&'static str, Vec<String>)>,
    /// Tables within, in the same line where they are short.
    pub(super) tables: Vec<(&'static str, Table)>,
    /// `request_headers` and `response_headers`, in the same line where they are short.
    pub(super) headers: Vec<(&'static str, Headers)>,
    /// Whether it is for paths that nothing else is for, and may go where it says nothing.
    pub(super) is_rest: bool,
    /// In how many locations the expression is that it is of; 0 for all others.
    pub(super) depth: usize,
    /// The first and the last of the directives that it stands for.
    pub(super) range: Option<(usize, usize)>,
}

impl Block {
    pub(super) fn new(title: impl Into<String>) -> Block {
        Block {
            title: title.into(),
            ..Block::default()
        }
    }

    /// Adds items to the list of a key, behind those that it has.
    pub(super) fn extend_list(&mut self, name: &'static str, items: Vec<String>) {
        match self.lists.iter_mut().find(|(key, _)| *key == name) {
            Some((_, known)) => known.extend(items),
            None if items.is_empty() => {}
            None => self.lists.push((name, items)),
        }
    }

    /// Puts an item before those that the list of a key has.
    pub(super) fn put_first(&mut self, name: &'static str, item: String) {
        match self.lists.iter_mut().find(|(key, _)| *key == name) {
            Some((_, known)) => known.insert(0, item),
            None => self.lists.push((name, vec![item])),
        }
    }

    /// The value of a key, or of a table as a value.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let table = self.tables.iter().find(|(key, _)| *key == name);
        let table = table.map(|(_, table)| table.inline());
        self.keys.get(name).map(str::to_owned).or(table)
    }

    /// Sets a table. One that says `alone` and nothing else is that key's value; a long one is
    /// written in lines of its own.
    pub(super) fn set_table(&mut self, name: &'static str, alone: &str, table: Table) {
        let line = match table.0.as_slice() {
            [(key, value)] if key == alone => value.clone(),
            _ => table.inline(),
        };
        match name.len() + 3 + line.len() <= WIDTH {
            true => self.keys.set(name, line),
            false => self.tables.push((name, table)),
        }
    }

    /// Takes a key from another one.
    pub(super) fn take_from(&mut self, other: &Block, name: &'static str) {
        if let Some(value) = other.keys.get(name) {
            self.keys.set(name, value);
        }
        let tables = other.tables.iter().filter(|(key, _)| *key == name);
        self.tables.extend(tables.cloned());
    }

    /// Leaves out the page of a status, where it is of that alone.
    pub(super) fn drop_page(&mut self, status: u16) {
        for (key, pages) in &mut self.tables {
            if *key == "error_pages" {
                pages.remove(&status.to_string());
            }
        }
        self.tables.retain(|(_, table)| !table.is_empty());
    }

    /// Joins how long an answer may be kept, by `expires`, and what a header says of that besides: the
    /// latter alone would count.
    pub(super) fn join_caching(&mut self) {
        const NAME: &str = "Cache-Control";
        let Some(seconds) = self.keys.get("expires").and_then(seconds_of) else {
            return;
        };
        for (_, headers) in self
            .headers
            .iter_mut()
            .filter(|(key, _)| *key == "response_headers")
        {
            for table in [&mut headers.add_to_good, &mut headers.add] {
                let name = table.pairs().map(|(name, _)| name.to_owned());
                let name = name
                    .into_iter()
                    .find(|name| name.eq_ignore_ascii_case(NAME));
                let Some(value) = name.and_then(|name| table.remove(&name)) else {
                    continue;
                };
                let values = value
                    .trim_matches(['[', ']', '"', '\''])
                    .replace("\", \"", ", ");
                let mut words: Vec<&str> = values.split(',').collect();
                // Both may say it.
                words.retain(|word| word.trim() != seconds);
                let values = words.join(",");
                let joined = format!("{seconds}, {}", values.trim_start());
                headers
                    .set_in_good
                    .set(NAME, text(joined.trim_end_matches([',', ' '])));
                self.keys.remove("expires");
                return;
            }
        }
    }

    /// Sets changes to a header, if there are some.
    pub(super) fn set_headers(&mut self, name: &'static str, headers: Headers) {
        if !headers.is_empty() || !headers.withheld.is_empty() {
            self.headers.push((name, headers));
        }
    }

    /// Texts that may be names of routes, without the `@` of a `fallback`.
    pub(super) fn names_of_routes(&self) -> impl Iterator<Item = String> {
        let leads = |key: &str| matches!(key, "files" | "error_pages");
        let keys = self.keys.pairs().filter(move |(key, _)| leads(key));
        let tables = self.tables.iter().filter(move |(key, _)| leads(key));
        let values = keys.map(|(_, value)| value);
        let values = values.chain(
            tables
                .flat_map(|(_, table)| table.pairs())
                .map(|(_, value)| value),
        );
        let texts = values.flat_map(|value| value.split('"'));
        texts.map(|text| text.trim_start_matches('@').to_owned())
    }

    /// Whether both say the same, whatever they are called.
    pub(super) fn says_same(&self, other: &Block) -> bool {
        self.keys == other.keys
            && self.tables == other.tables
            && self.headers == other.headers
            && self.lists == other.lists
    }

    /// The status of a `return` that is nothing else, if that is an error's; none within where it
    /// tells more, and none at all without a `return`.
    pub(super) fn refuses(&self) -> Option<Option<u16>> {
        if self.keys.get("stub_status").is_some() {
            return Some(None);
        }
        let answer = self.keys.get("return")?;
        let status = answer
            .strip_prefix("{ status = ")
            .and_then(|rest| rest.strip_suffix(" }"));
        let status = status.and_then(|status| status.parse().ok());
        Some(status.filter(|status| *status >= 300))
    }

    /// The `content_type` of a `return`, as it is written.
    pub(super) fn content_type(&self) -> Option<&str> {
        let (_, of_type) = self.keys.get("return")?.rsplit_once("content_type = ")?;
        of_type.strip_suffix(" }")
    }

    pub(super) fn render(&self, lost: &[&Entry], out: &mut String) {
        for comment in &self.comments {
            let _ = writeln!(out, "# {comment}");
        }
        if !self.title.is_empty() {
            let _ = writeln!(out, "{}", self.title);
        }
        for entry in lost {
            let (directive, line) = (&entry.directive, &entry.line);
            let _ = writeln!(out, "# not supported: {directive}   ({line})");
        }
        for (key, value) in &self.keys.0 {
            let _ = writeln!(out, "{key} = {value}");
        }
        for (key, items) in &self.lists {
            let _ = writeln!(out, "{key} = {}", long_list(key, items));
        }
        let parent = self.title.trim_matches(['[', ']']);
        let mut long = Vec::new();
        let mut long_tables = Vec::new();
        for (name, table) in &self.tables {
            let line = format!("{name} = {}", table.inline());
            match line.len() <= WIDTH && !line.contains('\n') {
                true => {
                    let _ = writeln!(out, "{line}");
                }
                false => long_tables.push((name, table.clone())),
            }
        }
        for (name, headers) in self
            .headers
            .iter()
            .filter(|(_, headers)| !headers.is_empty())
        {
            let line = format!("{name} = {}", headers.inline());
            let is_split = !(headers.set_in_good.is_empty() && headers.add_to_good.is_empty());
            match line.len() <= WIDTH {
                true => {
                    let _ = writeln!(out, "{line}");
                }
                // Tables of a list have no titles of their own that a person would read.
                false if is_split && headers.whole().len() == 1 => {
                    let table = headers.whole().remove(0);
                    long_tables.push((name, table));
                }
                false if is_split => {
                    let tables = headers.whole();
                    let lines: Vec<String> = tables.iter().map(Table::inline).collect();
                    let _ = writeln!(out, "{name} = [\n  {},\n]", lines.join(",\n  "));
                }
                false => long.push((name, headers)),
            }
        }
        for (name, table) in long_tables {
            let _ = writeln!(out, "\n[{parent}.{name}]");
            for (key, value) in &table.0 {
                let _ = writeln!(out, "{key} = {value}");
            }
        }
        for (name, headers) in long {
            if !headers.remove.is_empty() {
                let names = list(headers.remove.iter().map(|name| text(name)));
                let _ = writeln!(out, "\n[{parent}.{name}]\nremove = {names}");
            }
            for (key, table) in [("set", &headers.set), ("add", &headers.add)] {
                if !table.is_empty() {
                    let _ = writeln!(out, "\n[{parent}.{name}.{key}]");
                }
                for (key, value) in &table.0 {
                    let _ = writeln!(out, "{key} = {value}");
                }
            }
        }
        out.push('\n');
    }
}
