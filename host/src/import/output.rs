//! The whole file, with what is lost as comments at its place.

use std::fmt::Write;

use super::report::{Entry, Outcome, Report};
use super::writer::Block;

/// All of the file.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) server: Block,
    pub(super) listens: Vec<Block>,
    pub(super) variables: Vec<Block>,
    pub(super) hooks: Vec<Block>,
    pub(super) upstreams: Vec<Block>,
    pub(super) routes: Vec<Block>,
    pub(super) streams: Vec<Block>,
    pub(super) traces: Vec<Block>,
}

impl Output {
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        let server = std::iter::once(&self.server);
        let server = server.filter(|block| {
            !block.keys.is_empty() || !block.tables.is_empty() || !block.headers.is_empty()
        });
        server
            .chain(&self.listens)
            .chain(&self.variables)
            .chain(&self.hooks)
            .chain(&self.upstreams)
            .chain(&self.routes)
            .chain(&self.streams)
            .chain(&self.traces)
    }

    /// Whether nothing listens.
    pub(super) fn is_deaf(&self) -> bool {
        self.listens.is_empty() && self.streams.is_empty()
    }

    /// The text, with what is lost as comments at its place.
    pub(super) fn render(&self, report: &Report) -> String {
        // Each stands at the smallest block that stands for what it was in.
        let blocks: Vec<&Block> = self.blocks().collect();
        let range = |index: &usize| blocks.get(*index).and_then(|block| block.range);
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|index| range(index).map_or(0, |(first, last)| last - first));
        let mut owners: Vec<Option<usize>> = vec![None; report.entries.len() + 1];
        for index in order {
            let (first, last) = range(&index).unwrap_or((1, 0));
            for owner in owners.iter_mut().take(last + 1).skip(first) {
                owner.get_or_insert(index);
            }
        }
        let mut at: Vec<Vec<&Entry>> = vec![Vec::new(); blocks.len()];
        let mut elsewhere = Vec::new();
        let lost = report.entries.iter();
        for entry in lost.filter(|entry| entry.outcome == Outcome::Lost) {
            let owner = owners.get(entry.id).copied().flatten();
            match owner.and_then(|owner| at.get_mut(owner)) {
                Some(list) => list.push(entry),
                None => elsewhere.push(entry),
            }
        }
        let mut out = String::new();
        for entry in elsewhere {
            let (directive, line) = (&entry.directive, &entry.line);
            let _ = writeln!(out, "# not supported: {directive}   ({line})");
        }
        if !out.is_empty() {
            out.push('\n');
        }
        for (block, lost) in blocks.into_iter().zip(&at) {
            block.render(lost, &mut out);
        }
        let length = out.trim_end().len();
        out.truncate(length);
        out.push('\n');
        out
    }
}
