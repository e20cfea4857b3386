//! The last good list on a disk, for a start at which its source does not answer.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::disk::on_a_thread;
use super::known::{self, List};
use super::reader::MOST;
use crate::config::model::{NamedFile, UpstreamConfig};
use crate::config::{ListFormat, list_items, reason};
use crate::file::{self, Replacement};

/// The file of one source; none where nothing is kept.
pub(super) struct Kept<'a> {
    file: Option<&'a NamedFile>,
    written: Option<Arc<[Json]>>,
    /// That it cannot be written was said.
    is_told: bool,
}

impl<'a> Kept<'a> {
    pub(super) fn of(file: Option<&'a NamedFile>) -> Kept<'a> {
        Kept {
            file,
            written: None,
            is_told: false,
        }
    }

    /// What is there, if it can be used.
    pub(super) async fn read(&self, upstream: &UpstreamConfig) -> Option<List> {
        let path = &self.file?.path;
        let owned = path.clone();
        let read = on_a_thread(move || file::read_regular(&owned, MOST as u64)).await;
        let bytes = match read.flatten() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tell_unread(path, upstream, &reason(&error));
                return None;
            }
        };
        let items = list_items(&bytes, ListFormat::Json);
        match items.and_then(|items| known::read(items, upstream)) {
            Ok((list, _)) => Some(list),
            Err(why) => {
                tell_unread(path, upstream, &why);
                None
            }
        }
    }

    /// Writes a list, unless that is what the file has.
    pub(super) async fn write(&mut self, list: &List, upstream: &UpstreamConfig) {
        let Some(file) = self.file else {
            return;
        };
        if self
            .written
            .as_ref()
            .is_some_and(|written| *written == list.items)
        {
            return;
        }
        let (path, text) = (file.path.clone(), as_text(&list.items));
        let write = move || Replacement::prepare(&path, text.as_bytes())?.put_in_place();
        match on_a_thread(write).await.flatten() {
            Ok(()) => {
                self.written = Some(list.items.clone());
                self.is_told = false;
            }
            Err(error) if !self.is_told => {
                self.is_told = true;
                let (name, path, why) = (&upstream.name, file.path.display(), reason(&error));
                tracing::error!("upstream `{name}`: its list cannot be kept in `{path}`: {why}");
            }
            Err(_) => {}
        }
    }
}

fn tell_unread(path: &Path, upstream: &UpstreamConfig, why: &str) {
    let (name, path) = (&upstream.name, path.display());
    tracing::error!("upstream `{name}`: the list kept in `{path}` cannot be used: {why}");
}

/// A list as the text of a file, a line for each server.
fn as_text(items: &[Json]) -> String {
    let lines: Vec<String> = items.iter().map(|item| format!("  {item}")).collect();
    match lines.is_empty() {
        true => json!({ "servers": [] }).to_string() + "\n",
        false => format!("{{\"servers\": [\n{}\n]}}\n", lines.join(",\n")),
    }
}
