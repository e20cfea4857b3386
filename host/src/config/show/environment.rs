//! What came from the environment, shown as it stands in the file.
//!
//! It is most often a secret, and what `waypost show` prints is most often pasted somewhere; and
//! what is printed is to mean with another environment what the file means with it. So each value
//! is looked up in the file by its key, and where it stood there as `${env:...}`, that is shown.
//! Values of other keys stay as they are, even if they happen to be the same.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{text, texts};
use crate::config::model::UpstreamConfig;
use crate::config::problem::Place;
use crate::config::tree::{Entry, Node, Value};

/// A shown configuration, with the file's own text for each value that came from the environment.
pub(super) fn as_written(shown: &str, root: &[Entry]) -> String {
    let mut replacements = Replacements(Vec::new());
    if let Ok(table) = DeTable::parse(shown) {
        replacements.root(table.get_ref(), root);
    }
    let Replacements(mut list) = replacements;
    list.sort_by_key(|(span, _)| span.start);
    let (mut out, mut at) = (String::with_capacity(shown.len()), 0);
    for (span, own) in list {
        out.push_str(shown.get(at..span.start).unwrap_or_default());
        out.push_str(&own);
        at = span.end;
    }
    out.push_str(shown.get(at..).unwrap_or_default());
    out
}

/// Whether an upstream is only there because of an address from the environment, by which it is
/// called. Such a one is left out: the `proxy` that names it brings it about again.
pub(super) fn names(upstream: &UpstreamConfig, root: &[Entry]) -> bool {
    let named = entry(root, "upstream").is_some_and(|upstreams| match &upstreams.value {
        Value::Table(entries) => entry(entries, &upstream.name).is_some(),
        _ => false,
    });
    let server = upstream.servers.first();
    !named && server.is_some_and(|server| root.iter().any(|e| stands_at(&e.node, &server.place)))
}

/// Whether a value from the environment stands at a place.
fn stands_at(node: &Node, place: &Place) -> bool {
    match &node.value {
        Value::Environment(_) => node.place == *place,
        Value::Array(items) => items.iter().any(|item| stands_at(item, place)),
        Value::Table(entries) => entries.iter().any(|entry| stands_at(&entry.node, place)),
        _ => false,
    }
}

fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Node> {
    let mut entries = entries.iter();
    let found = entries.find(|entry| entry.key == key)?;
    Some(&found.node)
}

fn entries(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Table(entries) => entries,
        _ => &[],
    }
}

/// Bytes of what is shown, and the TOML to be shown there instead.
struct Replacements(Vec<(Range<usize>, String)>);

impl Replacements {
    fn root(&mut self, shown: &DeTable<'_>, root: &[Entry]) {
        let server = entry(root, "server").map(entries).unwrap_or_default();
        for (key, value) in shown {
            let Some(node) = entry(root, key.get_ref()) else {
                continue;
            };
            match (value.get_ref(), &node.value) {
                // A listener without a value of its own has that of `[server]`.
                (DeValue::Array(shown), Value::Array(nodes)) if key.get_ref() == "listen" => {
                    for (shown, node) in shown.iter().zip(nodes) {
                        if let DeValue::Table(shown) = shown.get_ref() {
                            self.table(shown, &[entries(node), server]);
                        }
                    }
                }
                _ => self.value(value, node),
            }
        }
    }

    /// `tables`: those of the file that the values came from; the first that has a key says it.
    fn table(&mut self, shown: &DeTable<'_>, tables: &[&[Entry]]) {
        for (key, value) in shown {
            let (span_of_key, key) = (key.span(), key.get_ref());
            if let ("certificates", DeValue::Array(shown), [tls]) =
                (&**key, value.get_ref(), tables)
            {
                self.certificates(shown, tls);
            } else if let Some(node) = tables.iter().find_map(|entries| entry(entries, key)) {
                self.value(value, node);
            } else if key == "tls"
                && tables
                    .iter()
                    .any(|entries| has_servers_from_environment(entries))
            {
                // Their addresses say whether they speak it: the line is left out.
                self.0
                    .push((span_of_key.start..value.span().end + 1, String::new()));
            }
        }
    }

    /// One stands in the table itself, others in a list of it.
    fn certificates(&mut self, shown: &[Spanned<DeValue<'_>>], tls: &[Entry]) {
        let mut shown = shown.iter();
        if entry(tls, "certificate").is_some()
            && let Some(DeValue::Table(own)) = shown.next().map(Spanned::get_ref)
        {
            self.table(own, &[tls]);
        }
        if let Some(Value::Array(nodes)) = entry(tls, "certificates").map(|node| &node.value) {
            for (shown, node) in shown.zip(nodes) {
                self.value(shown, node);
            }
        }
    }

    fn value(&mut self, shown: &Spanned<DeValue<'_>>, node: &Node) {
        match (shown.get_ref(), &node.value) {
            (DeValue::Table(table), Value::Table(entries)) => self.table(table, &[entries]),
            // A plugin, or a hook, without settings is shown by its name.
            (DeValue::String(_), Value::Table(entries)) => {
                if let Some(name) = entry(entries, "plugin").or_else(|| entry(entries, "use")) {
                    self.value(shown, name);
                }
            }
            (DeValue::Array(items), Value::Array(nodes)) => self.list(shown.span(), items, nodes),
            (DeValue::Table(table), Value::Environment(expanded)) => match short_form(table) {
                Some(short) => self.value(short, node),
                None => self.own(shown, node, expanded),
            },
            (_, Value::Environment(expanded)) => self.own(shown, node, expanded),
            _ => {}
        }
    }

    fn list(&mut self, span: Range<usize>, shown: &[Spanned<DeValue<'_>>], nodes: &[Node]) {
        let is_text = |item: &Spanned<DeValue<'_>>| matches!(item.get_ref(), DeValue::String(_));
        if !shown.iter().all(is_text) || nodes.iter().any(|node| node.as_text().is_none()) {
            for (shown, node) in shown.iter().zip(nodes) {
                self.value(shown, node);
            }
        } else if nodes.iter().any(|node| node.written.is_some()) {
            // Words may be shown in another order: the file's own list stands for all of them.
            let own = nodes
                .iter()
                .filter_map(|node| node.written.as_deref().or(node.as_text()));
            self.0.push((span, texts(own)));
        }
    }

    /// `expanded`: what the node stands for.
    fn own(&mut self, shown: &Spanned<DeValue<'_>>, node: &Node, expanded: &str) {
        let written = node.written.as_deref().unwrap_or(expanded);
        // A path stays where it is, relative to the file that the value came from.
        let is_moved = |path: &Path| {
            let is_relative = Path::new(expanded).is_relative();
            path.is_absolute() && is_relative && node.place.beside(expanded) == *path
        };
        let own = match shown.get_ref() {
            DeValue::String(path) if is_moved(Path::new(&**path)) => {
                text(&node.place.beside(written).display().to_string())
            }
            _ => text(written),
        };
        self.0.push((shown.span(), own));
    }
}

/// Whether the address of one of an upstream's servers came from the environment.
fn has_servers_from_environment(upstream: &[Entry]) -> bool {
    let Some(Value::Array(servers)) = entry(upstream, "servers").map(|node| &node.value) else {
        return false;
    };
    let mut addresses = servers.iter().map(|server| match &server.value {
        Value::Table(entries) => entry(entries, "address"),
        _ => Some(server),
    });
    addresses.any(|address| address.is_some_and(|node| node.written.is_some()))
}

/// What a server, or a log, that is shown as a table may be in the file alone.
fn short_form<'a>(table: &'a DeTable<'_>) -> Option<&'a Spanned<DeValue<'a>>> {
    let mut entries = table.iter();
    let short = entries.find(|(key, _)| matches!(&**key.get_ref(), "address" | "path"))?;
    Some(short.1)
}
