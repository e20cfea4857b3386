//! What is in a directory, as HTML or JSON (`ngx_http_autoindex_module`).

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, fstat, statat};
use rustix::io::Errno;
use serde::Serialize;

use super::beneath::Root;
use super::find::http_date;
use super::room::{NoRoom, ROOM, Text};
use crate::config::model::{Autoindex, Files};
use crate::http::path;

/// Names that are listed at most.
const MOST: usize = 10_000;

/// A directory with more names is told of once in this time, however often it is asked for.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Directories that are told of in this time at most.
const MOST_TOLD: usize = 64;

/// Why there is no listing.
#[derive(Debug)]
pub(super) enum NoListing {
    Kernel(Errno),
    NoRoom(NoRoom),
}

impl From<Errno> for NoListing {
    fn from(errno: Errno) -> NoListing {
        NoListing::Kernel(errno)
    }
}

impl From<NoRoom> for NoListing {
    fn from(no_room: NoRoom) -> NoListing {
        NoListing::NoRoom(no_room)
    }
}

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
/// [`NoListing`]: what the kernel says, or that other listings leave no room for it.
pub(super) fn of(
    directory: &OwnedFd,
    name: &[u8],
    files: &Files,
    root: &Root,
    format: Autoindex,
) -> Result<(Text, &'static str), NoListing> {
    static TOLD: Told = Told(Mutex::new(Vec::new()));
    let mut entries = Vec::new();
    let mut held = ROOM.hold();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        let is_hidden = bytes.starts_with(b".") && (!files.hidden || matches!(bytes, b"." | b".."));
        if is_hidden {
            continue;
        }
        if entries.len() == MOST {
            let path = files.root.join::<&OsStr>(OsStr::from_bytes(name));
            if TOLD.is_new(&path, Instant::now()) {
                tracing::warn!("more than {MOST} names in {path:?}: the rest is not listed");
            }
            break;
        }
        if let Some(entry) = self::entry(directory, name, bytes, root) {
            held.grow(entry.memory())?;
            entries.push(entry);
        }
    }
    entries.sort_by(|a, b| (a.size.is_some(), &a.name).cmp(&(b.size.is_some(), &b.name)));
    let mut text = Text::within(&ROOM);
    // Nothing else can fail here.
    let (written, content_type) = match format {
        Autoindex::Json => (
            serde_json::to_writer(&mut text, &entries).map_err(|_| NoRoom),
            "application/json",
        ),
        Autoindex::Html => (
            html(name, &entries, &mut text).map_err(|_| NoRoom),
            "text/html; charset=utf-8",
        ),
    };
    written?;
    Ok((text.finished(), content_type))
}

/// Directories that were told of, and when.
struct Told(Mutex<Vec<(PathBuf, Instant)>>);

impl Told {
    /// Whether a directory is to be told of now.
    fn is_new(&self, path: &Path, now: Instant) -> bool {
        let mut told = self.0.lock();
        told.retain(|(_, since)| now.saturating_duration_since(*since) < TOLD_EVERY);
        if told.len() >= MOST_TOLD || told.iter().any(|(known, _)| known == path) {
            return false;
        }
        told.push((path.to_owned(), now));
        true
    }
}

impl Entry {
    /// Bytes that it holds, the free ones of a growing list included.
    fn memory(&self) -> usize {
        2 * size_of::<Entry>()
            + self.name.capacity()
            + self.mtime.capacity()
            + self.escaped.capacity()
    }
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

fn html(name: &[u8], entries: &[Entry], out: &mut Text) -> io::Result<()> {
    let title = escaped(&format!("/{}", String::from_utf8_lossy(name)));
    write!(
        out,
        "<!DOCTYPE html>\n<html>\n<head><title>Index of {title}</title></head>\n<body>\n\
         <h1>Index of {title}</h1>\n<table>\n<tr><td><a href=\"../\">../</a></td></tr>\n"
    )?;
    for entry in entries {
        let slash = if entry.size.is_none() { "/" } else { "" };
        let size = entry.size.map_or("-".to_owned(), |size| size.to_string());
        // A name with a colon would be taken for a scheme without the `./`.
        writeln!(
            out,
            "<tr><td><a href=\"./{}{slash}\">{}{slash}</a></td><td>{}</td><td>{size}</td></tr>",
            escaped(&entry.escaped),
            escaped(&entry.name),
            entry.mtime,
        )?;
    }
    out.write_all(b"</table>\n</body>\n</html>\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_told_of_once_a_minute_and_not_all_at_once() {
        let told = Told(Mutex::new(Vec::new()));
        let now = Instant::now();
        assert!(told.is_new(Path::new("/a"), now));
        assert!(!told.is_new(Path::new("/a"), now + TOLD_EVERY / 2));
        assert!(told.is_new(Path::new("/b"), now + TOLD_EVERY / 2));
        assert!(told.is_new(Path::new("/a"), now + TOLD_EVERY));
        let others = (0..2 * MOST_TOLD).map(|number| PathBuf::from(format!("/{number}")));
        let new = others.filter(|path| told.is_new(path, now + TOLD_EVERY));
        assert_eq!(new.count(), MOST_TOLD - 2);
    }
}
