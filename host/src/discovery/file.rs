//! A file with a list. The control plane watches it, and tells when it may have changed.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::disk::on_a_thread;
use super::reader::{Again, Answer, MOST, Reader, Reading};
use crate::config::model::{SourceKind, UpstreamConfig};
use crate::config::{ListFormat, check_list, list_items};
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
            let items = read.map_err(|error| error.to_string())??;
            Ok(Answer {
                items: Some(items),
                again: Again::WhenTold,
            })
        })
    }
}

/// The items of the list that a file holds. Waits for the disk.
pub(super) fn read(path: &Path) -> Result<Vec<Json>, String> {
    let bytes = file::read_regular(path, MOST as u64).map_err(|error| error.to_string())?;
    let is_toml = path
        .extension()
        .is_some_and(|extension| extension == "toml");
    let format = match is_toml {
        true => ListFormat::Toml,
        false => ListFormat::Json,
    };
    list_items(&bytes, format)
}

/// What is wrong with the file that an upstream's servers come from; nothing where they come from
/// elsewhere. Waits for the disk.
pub(crate) fn problem_with(upstream: &UpstreamConfig) -> Option<String> {
    let source = upstream.source.as_ref()?;
    let SourceKind::File(file) = &source.kind else {
        return None;
    };
    let checked = read(&file.path)
        .and_then(|items| check_list(&items, "", upstream).map(|list| list.servers.is_empty()));
    match checked {
        Ok(true) if !source.allow_empty => Some("it lists no server".to_owned()),
        Ok(_) => None,
        Err(why) => Some(why),
    }
}
