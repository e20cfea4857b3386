//! `error_pages`, as the file writes it.

use super::{inline_table, text};
use crate::config::model::{ErrorPage, PageContent};

pub(super) fn pages(pages: &[ErrorPage]) -> String {
    inline_table(pages.iter().map(page))
}

fn page(page: &ErrorPage) -> String {
    let mut parts = match &page.content {
        PageContent::File { path, content_type } => vec![
            format!("file = {}", text(&path.display().to_string())),
            format!("content_type = {}", text(content_type)),
        ],
        PageContent::Text { body, content_type } => vec![
            format!("body = {}", text(&body.to_string())),
            format!("content_type = {}", text(content_type)),
        ],
        PageContent::Location(location) => {
            vec![format!("location = {}", text(&location.to_string()))]
        }
        PageContent::Route(name) => vec![format!("route = {}", text(name))],
    };
    parts.extend(page.status.map(|status| format!("status = {status}")));
    format!("{} = {}", text(&page.spelling), inline_table(parts))
}
