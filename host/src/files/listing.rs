//! What is in a directory, as HTML or JSON (`ngx_http_autoindex_module`).

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};
use rustix::io::Result;
use serde::Serialize;

use super::beneath::Root;
use super::find::http_date;
use crate::config::model::{Autoindex, Files};
use crate::http::path;

/// Names that are listed at most.
const MOST: usize = 10_000;

/// One name of a directory.
#[derive(Serialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// As a link to it has it.
    #[serde(skip)]
    escaped: String,
}

/// The listing of a directory, and its media type: directories first, then by name. What would not
/// be served is not listed. `name`: of the directory, below the root.
///
/// # Errors
/// What the kernel says.
pub(super) fn of(
    directory: &OwnedFd,
    name: &[u8],
    files: &Files,
    root: &Root,
    format: Autoindex,
) -> Result<(Vec<u8>, &'static str)> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        let is_hidden = bytes.starts_with(b".") && (!files.hidden || matches!(bytes, b"." | b".."));
        if is_hidden {
            continue;
        }
        if entries.len() == MOST {
            let name = String::from_utf8_lossy(name);
            tracing::warn!("more than {MOST} names in {name:?}: the rest is not listed");
            break;
        }
        entries.extend(self::entry(directory, name, bytes, root));
    }
    entries.sort_by(|a, b| (a.size.is_some(), &a.name).cmp(&(b.size.is_some(), &b.name)));
    Ok(match format {
        Autoindex::Json => (
            serde_json::to_vec(&entries).unwrap_or_default(),
            "application/json",
        ),
        Autoindex::Html => (html(name, &entries), "text/html; charset=utf-8"),
    })
}

/// A file or a directory; none for anything else.
fn entry(directory: &OwnedFd, parent: &[u8], bytes: &[u8], root: &Root) -> Option<Entry> {
    let mut stat = statat(directory, bytes, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        // As it would be opened.
        let opened = root.open_below(&[parent, bytes].concat()).ok()?;
        stat = fstat(&opened).ok()?;
    }
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory",
        FileType::RegularFile => "file",
        _ => return None,
    };
    let is_file = kind == "file";
    let mut escaped = Vec::new();
    path::escape(bytes, &mut escaped);
    Some(Entry {
        name: String::from_utf8_lossy(bytes).into_owned(),
        kind,
        mtime: http_date(stat.st_mtime),
        size: is_file.then(|| u64::try_from(stat.st_size).unwrap_or(0)),
        escaped: String::from_utf8_lossy(&escaped).into_owned(),
    })
}

fn html(name: &[u8], entries: &[Entry]) -> Vec<u8> {
    let title = escaped(&format!("/{}", String::from_utf8_lossy(name)));
    let mut out = format!(
        "<!DOCTYPE html>\n<html>\n<head><title>Index of {title}</title></head>\n<body>\n\
         <h1>Index of {title}</h1>\n<table>\n<tr><td><a href=\"../\">../</a></td></tr>\n"
    );
    for entry in entries {
        let slash = if entry.size.is_none() { "/" } else { "" };
        let size = entry.size.map_or("-".to_owned(), |size| size.to_string());
        // A name with a colon would be taken for a scheme without the `./`.
        out.push_str(&format!(
            "<tr><td><a href=\"./{}{slash}\">{}{slash}</a></td><td>{}</td><td>{size}</td></tr>\n",
            escaped(&entry.escaped),
            escaped(&entry.name),
            entry.mtime,
        ));
    }
    out.push_str("</table>\n</body>\n</html>\n");
    out.into_bytes()
}

/// Text as HTML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
