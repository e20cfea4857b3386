//! `error_pages`: what clients are told of errors.

use std::ops::RangeInclusive;

use super::action::misfit;
use super::headers::{self, check_content_type};
use super::{Complaint, ConfigReader, noted, statuses_of, template};
use crate::config::declared::ERROR_PAGE;
use crate::config::model::{ErrorPage, ErrorPages, PageContent, Route};
use crate::config::problem::{Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::Entry;
use crate::http::variable::{Names, Phase};

/// The statuses that can have a page (nginx: `ngx_http_core_error_page`).
const STATUSES: RangeInclusive<u16> = 300..=599;

/// The keys that say what a page is: a page has one of them.
const CONTENTS: [&str; 4] = ["file", "body", "location", "route"];

/// Those that a section has itself.
pub(super) fn pages(section: &Section<'_>, names: Names<'_>) -> ErrorPages {
    let entries = section.named("error_pages").iter();
    let pages = entries.filter_map(|entry| page(section, entry, names));
    let mut pages: ErrorPages = pages.collect();
    leave_out_named(&mut pages);
    pages
}

/// Takes the statuses that pages name out of the classes of the others: `404` counts before `4xx`,
/// wherever it stands.
fn leave_out_named(pages: &mut ErrorPages) {
    let statuses = pages.iter().flat_map(|page| &page.statuses);
    let named = statuses.filter(|range| range.start() == range.end());
    let named: Vec<u16> = named.map(|range| *range.start()).collect();
    for page in pages {
        for status in &named {
            let parts = page.statuses.iter().flat_map(|range| {
                let (first, last) = (*range.start(), *range.end());
                match range.contains(status) && first < last {
                    true => [first..=status - 1, status + 1..=last],
                    // One of both is empty.
                    false => [range.clone(), last..=last - 1],
                }
            });
            page.statuses = parts.filter(|part| !part.is_empty()).collect();
        }
    }
}

fn page(of: &Section<'_>, entry: &Entry, names: Names<'_>) -> Option<ErrorPage> {
    let statuses = statuses(of, entry);
    let section = Section::open(&entry.node, &ERROR_PAGE, of.problems)?;
    let given: Vec<&Entry> = CONTENTS
        .iter()
        .filter_map(|name| section.entries().iter().find(|entry| entry.key == *name))
        .collect();
    match given[..] {
        [_] => {}
        [] => {
            let problem = Problem::new(section.place, "the error page says nothing");
            let hint = "give it a `file`, a `body`, a `location` or a `route`";
            section.problems.add(problem.hint(hint));
        }
        [first, second, ..] => {
            let message = format!(
                "an error page has `{}` or `{}`, not both",
                first.key, second.key
            );
            section
                .problems
                .add(Problem::new(&second.key_place, message));
        }
    }
    let status = section.get("status").map(|_| section.integer("status"));
    if let [content] = given[..] {
        check_content_type(&section, names);
        let own = statuses.as_deref().unwrap_or_default();
        check_fit(&section, &content.key, status, own);
    }
    Some(ErrorPage {
        spelling: entry.key.clone(),
        statuses: statuses?,
        content: content(&section, names)?,
        status,
        place: entry.node.place.clone(),
    })
}

/// Notes what does not go with the content of a page. `own`: the statuses of the errors that it is
/// for, of which one without a `status` has one.
fn check_fit(
    section: &Section<'_>,
    content: &str,
    status: Option<u16>,
    own: &[RangeInclusive<u16>],
) {
    let is_text = matches!(content, "file" | "body");
    let note = |place, complaint: Complaint| section.problems.add(complaint.at(place));
    match (section.get("status"), status) {
        // The answer of a route may be any, and what was no status is noted already.
        _ if content == "route" => {}
        (Some(_), None | Some(0)) => {}
        (Some(node), Some(status)) => {
            let text = is_text.then_some(content);
            if let Some(complaint) = misfit(status, content == "location", text) {
                note(&node.place, complaint);
            }
        }
        (None, _) if is_text && own.contains(&(304..=304)) => {
            let message = format!("an answer of status 304 has no `{content}`");
            let hint = "give it another `status`, or leave 304 out";
            note(section.place, Complaint::new(message).hint(hint));
        }
        (None, _) => {}
    }
    if let Some(node) = section.get("content_type")
        && !is_text
    {
        let message = format!("`content_type` does not go with a `{content}`");
        let hint = match content {
            "route" => "the answer of the route has a type of its own: leave `content_type` out",
            _ => "a redirect has no content: leave `content_type` out",
        };
        note(&node.place, Complaint::new(message).hint(hint));
    }
}

fn content(section: &Section<'_>, names: Names<'_>) -> Option<PageContent> {
    let content_type = |default: &str| match section.text_given("content_type") {
        Some((text, _)) => text.to_owned(),
        None => default.to_owned(),
    };
    if let Some((text, node)) = section.text_given("file") {
        return Some(PageContent::File {
            path: node.place.beside(text),
            content_type: content_type(type_of(text)),
        });
    }
    if let Some((text, node)) = section.text_given("body") {
        let template = template(text, Phase::Return, names);
        return Some(PageContent::Text {
            body: noted(template, node, section.problems)?,
            content_type: content_type("text/plain"),
        });
    }
    if let Some((text, node)) = section.text_given("location") {
        let location = headers::location(text, names);
        return Some(PageContent::Location(noted(
            location,
            node,
            section.problems,
        )?));
    }
    let (name, _) = section.text_given("route")?;
    Some(PageContent::Route(name.to_owned()))
}

/// By the file's ending, as far as error pages are concerned.
fn type_of(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => "application/json",
        Some("txt") => "text/plain",
        _ => "text/html",
    }
}

/// `404`, `502 503 504`, `5xx`.
fn statuses(section: &Section<'_>, entry: &Entry) -> Option<Vec<RangeInclusive<u16>>> {
    let words: Vec<&str> = entry.key.split_ascii_whitespace().collect();
    let statuses = words.iter().map(|word| {
        let range = statuses_of(word);
        range.filter(|range| STATUSES.contains(range.start()))
    });
    let statuses: Option<Vec<_>> = statuses.collect();
    if statuses.is_none() || words.is_empty() {
        let message = format!("`{}` is no status that can have a page", entry.key);
        let problem = Problem::new(&entry.key_place, message);
        let hint = "write statuses from 300 to 599: `404`, `\"502 503 504\"`, `5xx`";
        section.problems.add(problem.hint(hint));
        return None;
    }
    statuses
}

/// A listener's own, and behind them those of `[server]` that it does not have.
pub(super) fn inherited(mut own: ErrorPages, of_server: &[ErrorPage]) -> ErrorPages {
    let missing = of_server.iter().filter(|page| {
        let same = |own: &ErrorPage| own.spelling == page.spelling;
        !own.iter().any(same)
    });
    let missing: Vec<ErrorPage> = missing.cloned().collect();
    own.extend(missing);
    own
}

/// Notes pages that lead to routes which are not there.
pub(super) fn check_routes<'a>(
    pages: impl Iterator<Item = &'a ErrorPage>,
    routes: &[Route],
    reader: ConfigReader<'_>,
) {
    let names: Vec<&str> = routes
        .iter()
        .filter_map(|route| route.name.as_deref())
        .collect();
    // Those of `[server]` are there for each listener, a route's for each of its hosts.
    let mut seen = Vec::new();
    for page in pages {
        if let PageContent::Route(name) = &page.content
            && !names.contains(&name.as_str())
            && !seen.contains(&&page.place)
        {
            seen.push(&page.place);
            let problem = Problem::new(&page.place, format!("no route has the name `{name}`"));
            let hint = suggestion(name, names.iter().copied(), "routes with a name");
            reader.missing(problem.hint(hint));
        }
    }
}
