//! `files`: a route that answers with the files of a directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Answer with files below a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Resolved anew for each file that is opened, so that it may be a link that changes.
    pub root: Arc<Path>,
    /// The one file below the root that is the answer, without a slash before it, whatever the path
    /// is; default none: the path says which.
    pub file: Option<String>,
    /// What stands for the directory itself, the first that is there (`index`), default
    /// `index.html`. Where there is none, and no listing, directories are not there.
    pub index: Vec<String>,
    /// What is tried behind a name that is no file, such as `.html` (`try_files $uri $uri.html`).
    /// Default: nothing.
    pub suffixes: Vec<String>,
    /// What a request gets for which there is no file, default 404 (`try_files`).
    pub fallback: FileFallback,
    /// How a directory without an index is listed, default not at all (`autoindex`).
    pub autoindex: Option<Autoindex>,
    /// How long clients may keep a file, default nothing is said (`expires`).
    pub expires: Option<Expires>,
    /// Codings of files that lie compressed beside the others, in the order in which they are
    /// preferred, default none (`gzip_static`).
    pub precompressed: Vec<FileCoding>,
    /// Links may lead out of the root, default no (`disable_symlinks`).
    pub follow_links: bool,
    /// Names that begin with a dot are served, default no; `.well-known` always is.
    pub hidden: bool,
    /// The part of the path that the route matched is left out (`alias`), default yes. No: the whole
    /// path is looked for below the root (`root`).
    pub strip_prefix: bool,
    /// Media types by the ending of a name, before those that are known (`types`).
    pub types: Vec<(String, String)>,
    /// The media type of endings that are not known (`default_type`), default
    /// `application/octet-stream`.
    pub default_type: String,
    /// Of types that are text; empty for none. Default `utf-8`.
    pub charset: String,
    /// How long an open file is taken for what its name stands for (`open_file_cache_valid`),
    /// default 1 s; zero: it is opened for each request.
    pub open_file_cache: Duration,
    /// For opening a file, or for reading a piece of it, default 10 s.
    pub timeout: Duration,
}

/// What a request gets for which there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileFallback {
    Status(u16),
    /// A file below the root, without a slash before it.
    File(String),
    /// The route of this name.
    Route(String),
}

/// How long clients may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// They ask each time whether it is still the same (`expires -1`).
    NoCache,
    /// Whole seconds.
    MaxAge(Duration),
}

/// What a directory's listing looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Autoindex {
    Html,
    Json,
}

/// A content coding of files that lie compressed beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileCoding {
    Brotli,
    Zstd,
    Gzip,
}

impl FileCoding {
    pub const ALL: [FileCoding; 3] = [FileCoding::Brotli, FileCoding::Zstd, FileCoding::Gzip];

    /// As `Content-Encoding` and the configuration have it.
    pub fn name(self) -> &'static str {
        match self {
            FileCoding::Brotli => "br",
            FileCoding::Zstd => "zstd",
            FileCoding::Gzip => "gzip",
        }
    }

    /// What such a file's name ends in, behind that of the other.
    pub fn ending(self) -> &'static str {
        match self {
            FileCoding::Brotli => ".br",
            FileCoding::Zstd => ".zst",
            FileCoding::Gzip => ".gz",
        }
    }
}

impl FileFallback {
    /// As the file has it; a status is written as a number.
    pub fn spelling(&self) -> String {
        match self {
            FileFallback::Status(status) => status.to_string(),
            FileFallback::File(name) => format!("/{name}"),
            FileFallback::Route(name) => format!("@{name}"),
        }
    }
}
