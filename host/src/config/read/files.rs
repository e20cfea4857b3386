//! `files`: the directory that a route answers with.

use std::path::Path;
use std::sync::Arc;

use super::headers::expires as cache_time;
use super::{Complaint, check_name, noted};
use crate::config::declared::FILES_TABLE;
use crate::config::model::{Autoindex, CacheTime, Expires, FileCoding, FileFallback, Files};
use crate::config::problem::{Place, Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::headers;

/// None where the route has none, or a problem was noted.
pub(super) fn files(route: &Section<'_>) -> Option<Files> {
    let node = route.get("files")?;
    let table = match &node.value {
        Value::Table(_) => route.table("files", &FILES_TABLE)?,
        _ => Section::of(&[], &node.place, &FILES_TABLE, route.problems),
    };
    let root = match &node.value {
        Value::Table(_) => {
            table.required("root")?;
            table.text_given("root")
        }
        _ => route.text_given("files"),
    };
    let (root, root_node) = root?;
    let root = noted(directory(root, &root_node.place), root_node, route.problems);
    let index = match table.get("index") {
        Some(_) => names(&table, "index"),
        None => vec!["index.html".to_owned()],
    };
    Some(Files {
        file: only_file(&table),
        index,
        suffixes: names(&table, "suffixes"),
        fallback: fallback(&table),
        autoindex: autoindex(&table),
        expires: expires(&table),
        precompressed: precompressed(&table),
        follow_links: table.boolean("follow_links"),
        hidden: table.boolean("hidden"),
        strip_prefix: table.boolean("strip_prefix"),
        types: types(&table),
        default_type: header_text(&table, "default_type"),
        charset: header_text(&table, "charset"),
        open_file_cache: table.duration("open_file_cache"),
        timeout: table.duration("timeout"),
        root: root?,
    })
}

fn directory(text: &str, place: &Place) -> Result<Arc<Path>, Complaint> {
    if text.is_empty() || text.contains('\0') {
        let complaint = Complaint::new(format!("`{}` is no directory", text.escape_default()));
        return Err(complaint.hint("name the directory whose files are the answer: `\"/srv/app\"`"));
    }
    if text.contains('$') {
        let complaint = Complaint::new("variables in `root` are not available in this version");
        return Err(complaint.hint("make a `[[route]]` for each directory"));
    }
    Ok(place.beside(text).into())
}

/// Names of files below a directory.
fn names(table: &Section<'_>, key: &str) -> Vec<String> {
    let names = table.texts(key).into_iter();
    let names = names.filter_map(|(text, node)| {
        if text.contains(' ') {
            let message = format!("`{text}` in `{key}` is one name");
            let each: Vec<String> = text.split(' ').map(|name| format!("{name:?}")).collect();
            let hint = format!("for several names write `{key} = [{}]`", each.join(", "));
            table
                .problems
                .warn(Problem::new(&node.place, message).hint(hint));
        }
        noted(name(text, key), node, table.problems)
    });
    names.collect()
}

fn name(text: &str, key: &str) -> Result<String, Complaint> {
    let segments = text.split('/');
    let leads_out = segments.clone().any(|segment| segment == "..");
    match text {
        "" => Err(Complaint::new(format!("an empty name in `{key}`"))),
        text if leads_out || text.contains('\0') => {
            let message = format!("`{}` in `{key}` leads nowhere", text.escape_default());
            Err(Complaint::new(message).hint("a name is looked for below the root"))
        }
        text if text.starts_with('/') && key == "index" => {
            let complaint = Complaint::new(format!("`{text}` in `index` begins with a slash"));
            Err(complaint.hint("an index is looked for in the directory that was asked for"))
        }
        text if text.contains('$') => {
            let message = format!("variables in `{key}` are not available in this version");
            Err(Complaint::new(message))
        }
        text => Ok(text.to_owned()),
    }
}

/// The file that is the answer to any path.
fn only_file(table: &Section<'_>) -> Option<String> {
    const OF_PATHS: [&str; 5] = ["strip_prefix", "index", "suffixes", "autoindex", "hidden"];
    let (text, node) = table.text_given("file")?;
    for key in OF_PATHS {
        if let Some(node) = table.get(key) {
            let problem = Problem::new(&node.place, format!("`{key}` beside `file`"));
            let hint = "`file` is the answer whatever the path is: leave one of them out";
            table.problems.add(problem.hint(hint));
        }
    }
    noted(one_file(text, "file"), node, table.problems)
}

/// The name of a file below a directory, with or without a slash before it.
fn one_file(text: &str, key: &str) -> Result<String, Complaint> {
    let file = name(text.strip_prefix('/').unwrap_or(text), key)?;
    match file.ends_with('/') {
        true => Err(Complaint::new(format!("`{text}` is a directory"))
            .hint("name the file that is served: `\"/index.html\"`")),
        false => Ok(file),
    }
}

fn fallback(table: &Section<'_>) -> FileFallback {
    let none = FileFallback::Status(404);
    let Some(node) = table.get("fallback") else {
        return none;
    };
    let Some(text) = node.as_text() else {
        let status = table.integer_of(node, "fallback");
        let status = status.and_then(|status| u16::try_from(status).ok());
        return FileFallback::Status(status.unwrap_or(404));
    };
    noted(fallback_of(text), node, table.problems).unwrap_or(none)
}

fn fallback_of(text: &str) -> Result<FileFallback, Complaint> {
    if let Some(route) = text.strip_prefix('@') {
        check_name(route, "a route's name")?;
        return Ok(FileFallback::Route(route.to_owned()));
    }
    if let Ok(status @ 400..=599) = text.trim_start_matches('=').parse::<u16>() {
        let complaint = Complaint::new(format!("`\"{text}\"` is a status written as a text"));
        return Err(complaint.hint(format!("write `fallback = {status}`")));
    }
    one_file(text, "fallback").map(FileFallback::File)
}

fn autoindex(table: &Section<'_>) -> Option<Autoindex> {
    let node = table.get("autoindex")?;
    match (&node.value, node.as_text()) {
        (Value::Boolean(false), _) | (_, Some("false")) => None,
        (Value::Boolean(true), _) | (_, Some("true" | "html")) => Some(Autoindex::Html),
        (_, Some("json")) => Some(Autoindex::Json),
        (_, Some(other)) => {
            let problem = Problem::new(&node.place, format!("`autoindex` cannot be `{other}`"));
            let hint = "write `true`, `false`, `\"html\"` or `\"json\"`";
            table.problems.add(problem.hint(hint));
            None
        }
        _ => {
            table.wrong_type(node, "autoindex");
            None
        }
    }
}

fn expires(table: &Section<'_>) -> Option<Expires> {
    match cache_time(table)? {
        CacheTime::Unchanged => None,
        CacheTime::AtOnce => Some(Expires::NoCache),
        CacheTime::After(time) => Some(Expires::MaxAge(time)),
    }
}

fn precompressed(table: &Section<'_>) -> Vec<FileCoding> {
    let mut codings = Vec::new();
    for (text, node) in table.texts("precompressed") {
        let known = FileCoding::ALL.into_iter();
        match known.clone().find(|coding| coding.name() == text) {
            Some(coding) if codings.contains(&coding) => {
                let message = format!("`{text}` twice in `precompressed`");
                table.problems.add(Problem::new(&node.place, message));
            }
            Some(coding) => codings.push(coding),
            None => {
                let message = format!("unknown coding `{text}` in `precompressed`");
                let hint = suggestion(text, known.map(FileCoding::name), "codings");
                let problem = Problem::new(&node.place, message);
                table.problems.add(problem.hint(hint));
            }
        }
    }
    codings
}

/// Endings in lower case, without a dot.
fn types(table: &Section<'_>) -> Vec<(String, String)> {
    let mut types = Vec::new();
    for entry in table.named("types") {
        let ending = entry.key.strip_prefix('.').unwrap_or(&entry.key);
        let Some(text) = entry.node.as_text() else {
            let message = format!("`{}` in `types` must be a string", entry.key);
            table.problems.add(Problem::new(&entry.node.place, message));
            continue;
        };
        let checked = match ending.is_empty() || ending.contains(['.', '/']) {
            true => Err(
                Complaint::new(format!("`{}` is not the ending of a name", entry.key))
                    .hint("an ending is what follows the last dot: `wasm`"),
            ),
            false => media_type(text),
        };
        let checked = noted(checked, &entry.node, table.problems);
        types.extend(checked.map(|text| (ending.to_ascii_lowercase(), text)));
    }
    types
}

fn media_type(text: &str) -> Result<String, Complaint> {
    if text.contains('/') && headers::is_value(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    let complaint = Complaint::new(format!("`{}` is no media type", text.escape_default()));
    Err(complaint.hint("such as `text/plain`"))
}

fn header_text(table: &Section<'_>, key: &str) -> String {
    let checked = |(text, node): (&str, &Node)| {
        let checked = match (key, text) {
            ("charset", text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(text.to_owned())
            }
            ("charset", text) => Err(Complaint::new(format!(
                "`{}` is no charset",
                text.escape_default()
            ))),
            (_, text) => media_type(text),
        };
        noted(checked, node, table.problems)
    };
    let given = table.text_given(key).and_then(checked);
    given.unwrap_or_else(|| table.text_by_default(key).to_owned())
}
