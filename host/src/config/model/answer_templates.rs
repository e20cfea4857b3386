//! The templates that answers to clients are made of.

use super::{Action, Config, HeaderChange, HeaderOperation, PageContent, Return};
use crate::http::template::Template;

impl Config {
    /// Those of headers, of `return` and of error pages.
    pub fn answer_templates(&self) -> impl Iterator<Item = &Template> {
        let of_listeners = self.listeners.iter();
        let headers = of_listeners.flat_map(|listener| &listener.response_headers);
        let of_routes = self.routes.iter().flat_map(|route| &route.response_headers);
        let headers = headers.chain(of_routes).filter_map(of_header);
        let returns = self.routes.iter().filter_map(|route| match &route.action {
            Action::Return(Return { body, location, .. }) => Some([body, location]),
            _ => None,
        });
        let pages = self.error_pages().filter_map(|page| match &page.content {
            PageContent::Text { body, .. } => Some(body),
            PageContent::Location(location) => Some(location),
            PageContent::File { .. } | PageContent::Route(_) => None,
        });
        headers.chain(returns.flatten().flatten()).chain(pages)
    }
}

fn of_header(change: &HeaderChange) -> Option<&Template> {
    match &change.operation {
        HeaderOperation::Set(value) | HeaderOperation::Add(value) => Some(value),
        HeaderOperation::Remove => None,
    }
}
