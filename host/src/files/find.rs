//! Which file a path stands for: itself, an index, a name with a suffix, a fallback; and what is
//! known of it once it is open.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;

use super::beneath::Root;
use super::listing::{self, NoListing};
use super::room::Text;
use crate::config::model::{FileCoding, FileFallback, Files};
use crate::fault_injection;

/// The last second that a date of HTTP can name: the end of the year 9998.
const LAST_SECOND: i64 = 253_370_764_799;

/// What a path stands for.
#[derive(Debug)]
pub(crate) enum Found {
    File(OpenFile),
    /// A directory that was asked for without a slash at its end.
    Directory,
    /// What is in a directory, and the media type of that.
    Listing(Text, &'static str),
}

/// An open file, and what is told of it.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// Bytes when it was opened.
    pub(crate) length: u64,
    /// Seconds since 1970 when it was last changed.
    pub(crate) modified: i64,
    /// As `Last-Modified` has it.
    pub(crate) last_modified: String,
    /// `"mtime-size"` in hexadecimal digits (`ngx_http_set_etag`), or `"mtime-size.br"`.
    pub(crate) etag: String,
    pub(crate) content_type: String,
    pub(crate) coding: Option<FileCoding>,
}

/// Why nothing is served. The display text is the error log's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotServed {
    #[error("open() \"{0}\" failed ({1})")]
    NotThere(String, Reason),
    #[error("open() \"{0}\" failed ({1})")]
    Forbidden(String, Reason),
    #[error("open() \"{0}\" failed ({1})")]
    Failed(String, Reason),
    #[error("\"{0}\" is not listed: {1}")]
    NoRoom(String, String),
}

/// Why a name cannot be opened.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum Reason {
    #[error("{}", kernel_words(*.0))]
    Kernel(Errno),
    #[error("it is not a regular file")]
    NoFile,
    #[error("its name begins with a dot")]
    Hidden,
    #[error("directory index is forbidden")]
    NoIndex,
    #[error("directories are not served")]
    NoDirectory,
}

/// As nginx writes it: `2: No such file or directory`.
fn kernel_words(errno: Errno) -> String {
    let number = errno.raw_os_error();
    let text = errno.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    // It stands for a link that leads out: nothing else here is of another device.
    let why = match errno {
        Errno::XDEV => ": a link leads out of `root`, and `follow_links` is off",
        _ => "",
    };
    format!("{number}: {text}{why}")
}

/// What a path below the root stands for. `path`: decoded and normalised, without a slash at its
/// beginning; `accepted`: codings that the client takes, the ones it likes best first. Waits for the
/// file system for as long as it takes.
///
/// # Errors
/// [`NotServed`]; the fallback was looked for, if it is a file.
pub(crate) fn find(
    files: &Files,
    path: &Path,
    asks_for_directory: bool,
    accepted: &[FileCoding],
) -> Result<Found, NotServed> {
    if fault_injection::fails("file system") {
        // As one whose server is gone.
        std::thread::sleep(Duration::from_secs(600));
    }
    let root = Root::open(&files.root, files.follow_links)
        .map_err(|errno| not_served(&files.root, errno))?;
    let search = Search {
        files,
        root,
        accepted,
    };
    let name = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    let found = match &files.file {
        Some(file) => search.only(file.as_bytes()),
        None if !files.hidden && is_hidden(name) => {
            return Err(search.refused(name, Reason::Hidden));
        }
        None if asks_for_directory => search.directory(name),
        None => search.named(name),
    };
    match (&files.fallback, found) {
        (
            FileFallback::File(fallback),
            Err(NotServed::NotThere(..) | NotServed::Forbidden(_, Reason::NoIndex)),
        ) => search.only(fallback.as_bytes()),
        (_, found) => found,
    }
}

/// Whether a name on the way begins with a dot; RFC 8615 gives `.well-known` to all.
fn is_hidden(path: &[u8]) -> bool {
    let mut segments = path.split(|byte| *byte == b'/');
    segments.any(|segment| segment.starts_with(b".") && segment != b".well-known")
}

struct Search<'a> {
    files: &'a Files,
    root: Root,
    accepted: &'a [FileCoding],
}

impl Search<'_> {
    /// What a name without a slash at its end stands for.
    fn named(&self, name: &[u8]) -> Result<Found, NotServed> {
        let otherwise = match self.open(name) {
            Ok((_, stat)) if is(&stat, FileType::Directory) => match self.serves_directories() {
                true => Ok(Found::Directory),
                false => Err(self.refused(name, Reason::NoDirectory)),
            },
            Ok((opened, stat)) => return self.served(name, opened, &stat).map(Found::File),
            Err(why @ NotServed::NotThere(..)) => Err(why),
            Err(why) => return Err(why),
        };
        for suffix in &self.files.suffixes {
            let name = [name, suffix.as_bytes()].concat();
            if let Some(file) = self.file(&name)? {
                return Ok(Found::File(file));
            }
        }
        otherwise
    }

    /// Whether anything is served for a directory.
    fn serves_directories(&self) -> bool {
        !self.files.index.is_empty() || self.files.autoindex.is_some()
    }

    /// The file of this name.
    fn only(&self, name: &[u8]) -> Result<Found, NotServed> {
        let file = self.file(name)?;
        let not_there = || self.refused(name, Reason::Kernel(Errno::NOENT));
        file.map(Found::File).ok_or_else(not_there)
    }

    /// What a directory stands for: `name` is empty, or ends in a slash.
    fn directory(&self, name: &[u8]) -> Result<Found, NotServed> {
        for index in &self.files.index {
            let name = [name, index.as_bytes()].concat();
            if let Some(file) = self.file(&name)? {
                return Ok(Found::File(file));
            }
        }
        // Of the others, a name with a dot at its beginning would come.
        let within = self.files.suffixes.iter();
        for suffix in within.filter_map(|suffix| suffix.strip_prefix('/')) {
            let name = [name, suffix.as_bytes()].concat();
            if let Some(file) = self.file(&name)? {
                return Ok(Found::File(file));
            }
        }
        if !self.serves_directories() {
            return Err(self.refused(name, Reason::NoDirectory));
        }
        let (directory, stat) = self.open(name)?;
        if !is(&stat, FileType::Directory) {
            return Err(self.refused(name, Reason::Kernel(Errno::NOTDIR)));
        }
        let Some(format) = self.files.autoindex else {
            return Err(self.refused(name, Reason::NoIndex));
        };
        let listing = listing::of(&directory, name, self.files, &self.root, format);
        let (text, content_type) = listing.map_err(|why| match why {
            NoListing::Kernel(errno) => self.refused(name, Reason::Kernel(errno)),
            NoListing::NoRoom(why) => NotServed::NoRoom(self.path(name), why.to_string()),
        })?;
        Ok(Found::Listing(text, content_type))
    }

    /// A file of this name; none where there is none.
    fn file(&self, name: &[u8]) -> Result<Option<OpenFile>, NotServed> {
        match self.open(name) {
            Ok((_, stat)) if is(&stat, FileType::Directory) => Ok(None),
            Ok((opened, stat)) => self.served(name, opened, &stat).map(Some),
            Err(NotServed::NotThere(..)) => Ok(None),
            Err(why) => Err(why),
        }
    }

    fn open(&self, name: &[u8]) -> Result<(OwnedFd, Stat), NotServed> {
        let opened = self.root.open_below(name);
        let opened = opened.and_then(|opened| fstat(&opened).map(|stat| (opened, stat)));
        opened.map_err(|errno| self.refused(name, Reason::Kernel(errno)))
    }

    /// A file as it is served: compressed, where it lies beside the other so, and the client takes
    /// that.
    fn served(&self, name: &[u8], opened: OwnedFd, stat: &Stat) -> Result<OpenFile, NotServed> {
        if !is(stat, FileType::RegularFile) {
            return Err(self.refused(name, Reason::NoFile));
        }
        let content_type = content_type(self.files, name);
        let plain = Tag::of(stat);
        for coding in self.accepted {
            let name = [name, coding.ending().as_bytes()].concat();
            // Whatever is wrong with it, the other one is there.
            if let Ok((opened, stat)) = self.open(&name)
                && is(&stat, FileType::RegularFile)
            {
                let etag = Tag::of(&stat).of_copy(*coding, plain);
                return Ok(open_file(opened, &stat, etag, content_type, Some(*coding)));
            }
        }
        Ok(open_file(opened, stat, plain.text(""), content_type, None))
    }

    /// As the error log has it.
    fn path(&self, name: &[u8]) -> String {
        let name = std::os::unix::ffi::OsStrExt::from_bytes(name);
        let path = self.files.root.join::<&std::ffi::OsStr>(name);
        path.display().to_string().escape_debug().to_string()
    }

    fn refused(&self, name: &[u8], reason: Reason) -> NotServed {
        let path = self.path(name);
        match reason {
            Reason::Kernel(errno) => not_served_as(path, errno),
            Reason::Hidden | Reason::NoDirectory => NotServed::NotThere(path, reason),
            Reason::NoFile | Reason::NoIndex => NotServed::Forbidden(path, reason),
        }
    }
}

fn not_served(path: &Path, errno: Errno) -> NotServed {
    not_served_as(path.display().to_string().escape_debug().to_string(), errno)
}

/// The status that an error of the kernel stands for (`ngx_http_static_handler`).
fn not_served_as(path: String, errno: Errno) -> NotServed {
    let reason = Reason::Kernel(errno);
    match errno {
        // A name with a NUL is no name.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            NotServed::NotThere(path, reason)
        }
        // A link that leads out, or around; a socket.
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP | Errno::NXIO | Errno::NODEV => {
            NotServed::Forbidden(path, reason)
        }
        _ => NotServed::Failed(path, reason),
    }
}

fn is(stat: &Stat, file_type: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == file_type
}

/// What an `ETag` tells two states of a file apart by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag {
    modified: i64,
    length: u64,
}

impl Tag {
    fn of(stat: &Stat) -> Tag {
        Tag {
            modified: stat.st_mtime.clamp(0, LAST_SECOND),
            length: u64::try_from(stat.st_size).unwrap_or(0),
        }
    }

    /// That of a compressed copy. `gzip` and others leave it the time of the file, and sizes may be
    /// the same, but no two representations have one strong validator (RFC 9110 section 8.8.3). That
    /// of a `.gz` is nginx's wherever it can be.
    fn of_copy(self, coding: FileCoding, plain: Tag) -> String {
        match coding {
            FileCoding::Gzip if self != plain => self.text(""),
            coding => self.text(coding.ending()),
        }
    }

    fn text(self, ending: &str) -> String {
        let Tag { modified, length } = self;
        let mut text = String::with_capacity(32);
        // Writing to a string cannot fail.
        let _ = write!(text, "\"{modified:x}-{length:x}{ending}\"");
        text
    }
}

fn open_file(
    opened: OwnedFd,
    stat: &Stat,
    etag: String,
    content_type: String,
    coding: Option<FileCoding>,
) -> OpenFile {
    let Tag { modified, length } = Tag::of(stat);
    OpenFile {
        file: opened.into(),
        length,
        modified,
        last_modified: http_date(modified),
        etag,
        content_type,
        coding,
    }
}

/// A moment as HTTP writes it (RFC 9110 section 5.6.7).
pub(super) fn http_date(seconds: i64) -> String {
    let seconds = seconds.clamp(0, LAST_SECOND).unsigned_abs();
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The media type of a name, with the charset where it is text.
fn content_type(files: &Files, name: &[u8]) -> String {
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let dot = memchr::memrchr(b'.', name);
    let ending = dot.and_then(|dot| std::str::from_utf8(&name[dot + 1..]).ok());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    let own = files.types.iter().find(|(of, _)| *of == ending);
    let mut content_type = match own {
        Some((_, own)) => own.clone(),
        None => match mime_guess::from_ext(&ending).first_raw() {
            Some(known) => known.to_owned(),
            None => files.default_type.clone(),
        },
    };
    let is_text = content_type.starts_with("text/")
        || [
            "application/javascript",
            "application/json",
            "image/svg+xml",
        ]
        .contains(&content_type.as_str());
    if is_text && !files.charset.is_empty() && !content_type.contains(';') {
        content_type.push_str("; charset=");
        content_type.push_str(&files.charset);
    }
    content_type
}
