//! What clients are told of errors in place of the status alone (nginx: `error_page`).

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::Place;
use crate::http::template::Template;

/// What is answered for some statuses.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// As written: `404`, `502 503 504`, `5xx`.
    pub spelling: String,
    /// From 300 to 599.
    pub statuses: Vec<RangeInclusive<u16>>,
    pub content: PageContent,
    /// In place of the error's own, if any.
    pub status: Option<u16>,
    pub place: Place,
}

/// What an error page is.
#[derive(Debug, Clone)]
pub enum PageContent {
    /// The content of a file, which is kept in memory.
    File { path: PathBuf, content_type: String },
    Text {
        body: Template,
        content_type: String,
    },
    /// The client is sent there.
    Location(Template),
    /// What the route of this name answers.
    Route(String),
}

/// Those of a route, or of a listener, the nearest first.
pub type ErrorPages = Vec<ErrorPage>;

impl ErrorPage {
    /// The page of a status: the first one that has it.
    pub fn of(pages: &[ErrorPage], status: u16) -> Option<&ErrorPage> {
        let has = |page: &&ErrorPage| page.statuses.iter().any(|range| range.contains(&status));
        pages.iter().find(has)
    }

    /// The files of pages.
    pub fn file(&self) -> Option<&PathBuf> {
        match &self.content {
            PageContent::File { path, .. } => Some(path),
            PageContent::Text { .. } | PageContent::Location(_) | PageContent::Route(_) => None,
        }
    }
}
