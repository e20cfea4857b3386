//! A file with a list. The control plane watches it, and tells when it may have changed.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::disk::on_a_thread;
use super::known;
use super::reader::{Again, Answer, MOST, Reader, Reading};
use super::shared::Listed;
use crate::config::model::{SourceKind, UpstreamConfig};
use crate::config::{ListFormat, list_items, reason};
use crate::file;

pub(super) struct ListFile {
    path: PathBuf,
}

impl ListFile {
    pub(super) fn new(path: PathBuf) -> ListFile {
        ListFile { path }
    }
}

impl Reader for ListFile {
    fn next(&mut self) -> Reading<'_> {
        Box::pin(async {
            let path = self.path.clone();
            let read = on_a_thread(move || read(&path)).await;
            let items = read.map_err(|error| reason(&error))??;
            Ok(Answer {
                items: Some(items),
                again: Again::WhenTold,
            })
        })
    }
}

/// The items of the list that a file holds. Waits for the disk.
pub(super) fn read(path: &Path) -> Result<Vec<Json>, String> {
    let bytes = file::read_regular(path, MOST as u64).map_err(|error| reason(&error))?;
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    let format = match is_toml {
        true => ListFormat::Toml,
        false => ListFormat::Json,
    };
    list_items(&bytes, format)
}

/// The servers that a file lists for an upstream, or why they cannot be used; nothing where they come
/// from elsewhere. Waits for the disk.
pub(crate) fn listed_in_file(upstream: &UpstreamConfig) -> Option<Result<Listed, String>> {
    let SourceKind::File(file) = &upstream.source.as_ref()?.kind else {
        return None;
    };
    let items = read(&file.path);
    let list = items.and_then(|items| known::read(items, upstream));
    Some(list.map(|(list, _)| list.servers))
}
