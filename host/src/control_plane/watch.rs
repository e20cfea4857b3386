//! Watches the files of `watch = true` plugins, and those of TLS.
//!
//! The directories are watched, not the files: editors and deployments replace a file by renaming another over it. An event is
//! only a hint; whether the content has changed is found out by reading it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::operator::{Asked, Wish};
use crate::config::model::Config;

/// How long a file must have been left alone: a copy is many writes.
const QUIET: Duration = Duration::from_millis(100);

/// What a file is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Plugin(String),
    /// Certificates are read together: a key is nothing without its certificate.
    Tls,
}

/// What is watched, by file.
type Files = Arc<Mutex<HashMap<PathBuf, Subject>>>;

/// Watches files while it lives.
pub(super) struct Watcher {
    /// None where the kernel offers no watches: reloads still work.
    notify: Option<RecommendedWatcher>,
    files: Files,
    directories: BTreeSet<PathBuf>,
}

impl Watcher {
    /// Starts to watch nothing; `wishes` gets what changes.
    pub(super) fn start(wishes: UnboundedSender<Asked>) -> Watcher {
        let files = Files::default();
        let (changed, changes) = unbounded_channel();
        let known = files.clone();
        let notify = notify::recommended_watcher(move |event| {
            for subject in touched(&known.lock(), &event) {
                // The receiver is there as long as the process is.
                let _ = changed.send(subject);
            }
        });
        tokio::task::spawn_local(settle(changes, wishes));
        Watcher {
            notify: notify
                .inspect_err(|error| tracing::error!("files cannot be watched: {error}"))
                .ok(),
            files,
            directories: BTreeSet::new(),
        }
    }

    /// Watches what a configuration wants watched, and nothing else.
    pub(super) fn follow(&mut self, config: &Config) {
        let watched = config.plugins.iter().filter(|plugin| plugin.watch);
        let plugins =
            watched.map(|plugin| (plugin.file.clone(), Subject::Plugin(plugin.name.clone())));
        let of_tls = config
            .tls_files()
            .map(|file| (file.path.clone(), Subject::Tls));
        let files: HashMap<_, _> = plugins.chain(of_tls).collect();
        let directory = |file: &PathBuf| file.parent().map(Path::to_owned);
        let directories: BTreeSet<_> = files.keys().filter_map(directory).collect();
        *self.files.lock() = files;
        let Some(notify) = &mut self.notify else {
            return;
        };
        for gone in self.directories.difference(&directories) {
            // It may have been deleted, and its watch with it.
            let _ = notify.unwatch(gone);
        }
        for new in directories.difference(&self.directories) {
            if let Err(error) = notify.watch(new, RecursiveMode::NonRecursive) {
                tracing::error!("`{}` cannot be watched: {error}", new.display());
            }
        }
        self.directories = directories;
    }
}

/// What an event may be about.
fn touched(files: &HashMap<PathBuf, Subject>, event: &notify::Result<Event>) -> Vec<Subject> {
    let event = match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => return Vec::new(),
        Ok(event) => event,
        // Events were lost: any file may have changed.
        Err(_) => return files.values().cloned().collect(),
    };
    let about = |file: &PathBuf| {
        event.paths.iter().any(|path| {
            // A mounted volume changes all of its files at once, by a link `..data` beside them.
            let link = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
            path == file || link && path.parent() == file.parent()
        }) || event.need_rescan()
    };
    files
        .iter()
        .filter(|(file, _)| about(file))
        .map(|(_, subject)| subject.clone())
        .collect()
}

/// Passes changes on once they have come to an end.
async fn settle(mut changes: UnboundedReceiver<Subject>, wishes: UnboundedSender<Asked>) {
    while let Some(first) = changes.recv().await {
        let mut subjects = BTreeSet::from([first]);
        while let Ok(Some(subject)) = tokio::time::timeout(QUIET, changes.recv()).await {
            subjects.insert(subject);
        }
        for subject in subjects {
            let wish = match subject {
                Subject::Plugin(name) => Wish::FileChanged { name },
                Subject::Tls => Wish::TlsFilesChanged,
            };
            if wishes.send((wish, None)).is_err() {
                return;
            }
        }
    }
}
