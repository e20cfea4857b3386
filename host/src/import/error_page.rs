//! A page of an error as it is read, and as `error_pages` has it.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::writer::{Table, text};
use crate::config::REDIRECTS;
use crate::config::model::WITH_HEADERS;

/// Statuses of answers that have no content.
const WITHOUT_CONTENT: [u16; 3] = [204, 304, 444];

/// An `error_page`, read.
pub(super) struct ErrorPage<'s> {
    /// Statuses that can have a page here.
    pub(super) codes: Vec<u16>,
    pub(super) answer: Answer,
    pub(super) uri: &'s str,
}

/// The status that the page has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The error's own.
    Own,
    /// `=`: that of what is found.
    Found,
    /// `=200`.
    Is(u16),
}

/// What a page is, before its status.
pub(super) enum Content {
    /// One of `file`, `body`, `location` and what goes with it; and the status that it has by itself.
    Text(Table, u16),
    /// The name of a route, and whether it redirects.
    Route(String, bool),
}

fn is_of_redirect(status: u16) -> bool {
    REDIRECTS.contains(&status)
}

impl ErrorPage<'_> {
    /// Whether clients are sent elsewhere, where others are found a page.
    pub(super) fn is_url(&self) -> bool {
        !self.uri.starts_with(['/', '@'])
    }

    /// The directives of a place that give the page headers.
    pub(super) fn headers_at(&self, scope: &Scope<'_>) -> BTreeSet<usize> {
        let is_good = match self.answer {
            Answer::Own => false,
            Answer::Found => true,
            Answer::Is(status) => WITH_HEADERS.contains(&status),
        };
        let added = scope.nearest("add_header").iter();
        let added = added.filter(|header| is_good || header.argument(2) == "always");
        let expires = scope.nearest("expires").iter();
        let expires = expires.filter(|expires| is_good && expires.argument(0) != "off");
        added.chain(expires).map(|header| header.id).collect()
    }

    /// What it is, where its status goes with that.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn checked(&self, content: Content) -> Result<Content, String> {
        let statuses = match (&content, self.answer) {
            (Content::Text(table, _), _) if table.get("location").is_some() => Vec::new(),
            (Content::Text(..), Answer::Own) => self.codes.clone(),
            (Content::Text(_, found), Answer::Found) => vec![*found],
            (Content::Text(..), Answer::Is(status)) => vec![status],
            (Content::Route(..), _) => Vec::new(),
        };
        match statuses
            .iter()
            .find(|status| WITHOUT_CONTENT.contains(status))
        {
            Some(status) => Err(format!("an answer of status {status} has no content")),
            None => Ok(content),
        }
    }

    /// Whether nginx sends the content with the status of a redirect, and without a place: a
    /// redirect needs one here.
    pub(super) fn leads_nowhere(&self, content: &Content) -> bool {
        let is_page = matches!(content, Content::Text(table, _) if table.get("location").is_none());
        is_page && matches!(self.answer, Answer::Is(status) if is_of_redirect(status))
    }

    /// Writes the page for each of its statuses.
    pub(super) fn write(&self, content: Content, table: &mut Table) {
        match content {
            Content::Text(mut content, found) => {
                let is_redirect = content.get("location").is_some();
                let status = match (self.answer, is_redirect) {
                    (Answer::Is(status), true) if self.is_url() && is_of_redirect(status) => {
                        Some(status)
                    }
                    // That of a `return` counts, whatever the error was.
                    (_, true) => Some(found),
                    (Answer::Is(status), false) if is_of_redirect(status) => None,
                    (Answer::Is(status), false) => Some(status),
                    (Answer::Found, false) => Some(found),
                    (Answer::Own, false) => None,
                };
                let status = status.filter(|status| match is_redirect {
                    true => *status != 302,
                    false => self.codes != [*status],
                });
                if let Some(status) = status {
                    content.set("status", status.to_string());
                }
                let codes = self.free_codes(table);
                Self::enter(&codes, &content, table);
            }
            Content::Route(name, redirects) => {
                let content = Table::new().with("route", text(&name));
                let codes = self.free_codes(table);
                match self.answer {
                    // That of a redirect counts, whatever the error was.
                    _ if redirects => Self::enter(&codes, &content, table),
                    Answer::Found => Self::enter(&codes, &content, table),
                    Answer::Is(status) => {
                        let content = content.with("status", status.to_string());
                        Self::enter(&codes, &content, table);
                    }
                    Answer::Own => {
                        for code in codes {
                            let content = content.clone().with("status", code.to_string());
                            Self::enter(&[code], &content, table);
                        }
                    }
                }
            }
        }
    }

    /// Its statuses without those that an earlier one has: the first one counts.
    fn free_codes(&self, table: &Table) -> Vec<u16> {
        let taken: Vec<u16> = table
            .pairs()
            .flat_map(|(key, _)| key.trim_matches('"').split(' '))
            .filter_map(|code| code.parse().ok())
            .collect();
        let free = self.codes.iter().copied();
        let mut free: Vec<u16> = free.filter(|code| !taken.contains(code)).collect();
        free.dedup();
        free
    }

    fn enter(codes: &[u16], content: &Table, table: &mut Table) {
        let codes: Vec<String> = codes.iter().map(u16::to_string).collect();
        if !codes.is_empty() {
            table.set(&codes.join(" "), content.inline());
        }
    }
}
