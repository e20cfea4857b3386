//! `files`, as the file writes it.

use super::{inline_table, key_text, text, texts};
use crate::config::model::{Autoindex, Expires, FileCoding, FileFallback, Files};
use crate::config::units::duration_text;

pub(super) fn files(files: &Files) -> String {
    let fallback = match &files.fallback {
        FileFallback::Status(status) => status.to_string(),
        other => text(&other.spelling()),
    };
    let root = format!("root = {}", text(&files.root.display().to_string()));
    let mut parts = vec![root];
    match &files.file {
        Some(file) => parts.push(format!("file = {}", text(&format!("/{file}")))),
        None => parts.extend(of_names(files)),
    }
    parts.push(format!("fallback = {fallback}"));
    parts.push(match files.expires {
        None => "expires = false".to_owned(),
        Some(Expires::NoCache) => "expires = \"no-cache\"".to_owned(),
        Some(Expires::MaxAge(age)) => format!("expires = {}", text(&duration_text(age))),
    });
    let codings = files.precompressed.iter().copied().map(FileCoding::name);
    parts.push(format!("precompressed = {}", texts(codings)));
    parts.push(format!("follow_links = {}", files.follow_links));
    if !files.types.is_empty() {
        let types = files.types.iter();
        let types = types.map(|(ending, of)| format!("{} = {}", key_text(ending), text(of)));
        parts.push(format!("types = {}", inline_table(types)));
    }
    parts.push(format!("default_type = {}", text(&files.default_type)));
    parts.push(format!("charset = {}", text(&files.charset)));
    for (key, time) in [
        ("open_file_cache", files.open_file_cache),
        ("timeout", files.timeout),
    ] {
        parts.push(format!("{key} = {}", text(&duration_text(time))));
    }
    inline_table(parts)
}

/// What counts where the path says which file.
fn of_names(files: &Files) -> [String; 5] {
    let autoindex = match files.autoindex {
        None => "false",
        Some(Autoindex::Html) => "\"html\"",
        Some(Autoindex::Json) => "\"json\"",
    };
    [
        format!("strip_prefix = {}", files.strip_prefix),
        format!("index = {}", texts(&files.index)),
        format!("suffixes = {}", texts(&files.suffixes)),
        format!("autoindex = {autoindex}"),
        format!("hidden = {}", files.hidden),
    ]
}
