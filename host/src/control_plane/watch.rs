//! Watches the files of `watch = true` plugins, those of TLS, those that settings of hooks name,
//! error pages, and files with lists of servers.
//!
//! The directories are watched, not the files: editors and deployments replace a file by renaming
//! another over it. So is every link on the way to a file, wherever that leads: certbot changes the
//! link to the file, a mounted volume of Kubernetes the one to its directory. An event is only a
//! hint; whether the content has changed is found out by reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::blocking::{FILES, run_blocking};
use super::operator::{Change, ChangeRequest};
use crate::config::model::Config;
use crate::fault_injection;

/// How long a file must have been left alone: a copy is many writes.
const QUIET: Duration = Duration::from_millis(100);
/// How long a change waits at most: a file may be written all the time.
const LONGEST: Duration = Duration::from_secs(2);

/// What a file is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Plugin(String),
    /// Certificates are read together: a key is nothing without its certificate.
    Tls,
    /// Files that settings of plugins name, and error pages.
    OfSnapshot,
    /// Files with lists of servers.
    Lists,
}

/// Links that are followed on the way to one file; Linux follows as many (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A file that is watched, and what it is about.
type Watched = (PathBuf, Subject);

/// Where something is watched, and what for.
type Places = Arc<Mutex<BTreeSet<Watched>>>;

/// Watches files while it lives.
pub(super) struct Watcher(Arc<Mutex<Watches>>);

/// Locked by threads that may wait, and by no other.
struct Watches {
    /// None where the kernel offers no watches: reloads still work.
    notify: Option<RecommendedWatcher>,
    places: Places,
    directories: BTreeSet<PathBuf>,
    changed: UnboundedSender<Subject>,
}

impl Watcher {
    /// Starts to watch nothing; `requests` gets what changes. `tell_of_lists`: has files with lists of
    /// servers read again, whatever change is under way.
    pub(super) fn start(
        requests: UnboundedSender<ChangeRequest>,
        tell_of_lists: impl Fn() + 'static,
    ) -> Watcher {
        let places = Places::default();
        let (changed, changes) = unbounded_channel();
        let (known, noticed) = (places.clone(), changed.clone());
        let notify = notify::recommended_watcher(move |event| {
            let places = known.lock();
            // The thread is the only one that is told of events: it goes on after a panic, by which
            // an event was lost.
            let touched = catch_unwind(AssertUnwindSafe(|| touched(&places, &event)));
            let all = |_| places.iter().map(|(_, subject)| subject.clone()).collect();
            for subject in touched.unwrap_or_else(all) {
                // The receiver is there as long as the process is.
                let _ = noticed.send(subject);
            }
        });
        tokio::task::spawn_local(settle(changes, requests, tell_of_lists));
        Watcher(Arc::new(Mutex::new(Watches {
            notify: notify
                .inspect_err(|error| tracing::error!("files cannot be watched: {error}"))
                .ok(),
            places,
            directories: BTreeSet::new(),
            changed,
        })))
    }

    /// Watches what a configuration wants watched, and nothing else. To be said again before a file
    /// is read that has changed: its directory may be another one by now, or the same one made
    /// anew.
    pub(super) async fn follow(&self, config: &Config, of_snapshot: Vec<PathBuf>) {
        let watched = config.plugins.iter().filter(|plugin| plugin.watch);
        let plugins = watched.flat_map(|plugin| {
            let signed = !plugin.trust.signed_by.is_empty();
            let signature = signed.then(|| plugin.trust.signature_of(&plugin.file));
            let files = signature.into_iter().chain([plugin.file.clone()]);
            files.map(|file| (file, Subject::Plugin(plugin.name.clone())))
        });
        let of_tls = config
            .tls_files()
            .map(|file| (file.path.clone(), Subject::Tls));
        let of_snapshot = of_snapshot.into_iter();
        let of_snapshot = of_snapshot.map(|path| (path, Subject::OfSnapshot));
        let lists = config.list_files();
        let lists = lists.map(|file| (file.path.clone(), Subject::Lists));
        let files = plugins.chain(of_tls).chain(of_snapshot).chain(lists);
        let files: Vec<Watched> = files.collect();
        let watches = self.0.clone();
        let follow = move || watches.lock().follow(&files);
        if let Err(late) = run_blocking("watching files", FILES, follow).await {
            tracing::error!("{late}");
        }
    }
}

impl Watches {
    fn follow(&mut self, files: &[Watched]) {
        let places: BTreeSet<_> = files
            .iter()
            .flat_map(|(file, subject)| {
                let places = places(file).into_iter();
                places.map(move |place| (place, subject.clone()))
            })
            .collect();
        let directory = |place: &(PathBuf, Subject)| place.0.parent().map(Path::to_owned);
        let directories: BTreeSet<_> = places.iter().filter_map(directory).collect();
        let before = std::mem::replace(&mut *self.places.lock(), places.clone());
        let Some(notify) = &mut self.notify else {
            return;
        };
        for gone in self.directories.difference(&directories) {
            // It may have been deleted, and its watch with it.
            let _ = notify.unwatch(gone);
        }
        // Those that are watched already as well: a directory that was made anew is another one.
        for directory in &directories {
            if let Err(error) = notify.watch(directory, RecursiveMode::NonRecursive) {
                tracing::error!("`{}` cannot be watched: {error}", directory.display());
            }
        }
        self.directories = directories;
        for (_, subject) in places.difference(&before) {
            // It may have changed after it was read, and before it was watched.
            let _ = self.changed.send(subject.clone());
        }
    }
}

/// Where a change of what a file holds can be seen: at every link on the way to it, and at the file
/// itself or, where there is none, at what is missing. All of them in directories by their real
/// names: the kernel has one watch for each directory, whatever it is called.
fn places(file: &Path) -> Vec<PathBuf> {
    let (mut found, mut at) = (Vec::new(), PathBuf::new());
    let mut left: Vec<OsString> = steps(file);
    while let Some(step) = left.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        // A link to an absolute path begins anew.
        let next = at.join(&step);
        match std::fs::read_link(&next) {
            Ok(target) if found.len() < MAX_LINKS => {
                found.push(next);
                left.extend(steps(&target));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.push(next);
                return found;
            }
            _ => at = next,
        }
    }
    found.push(at);
    found
}

/// The parts of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

/// What an event may be about.
fn touched(places: &BTreeSet<(PathBuf, Subject)>, event: &notify::Result<Event>) -> Vec<Subject> {
    fault_injection::panics("watch");
    let event = match event {
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => return Vec::new(),
        Ok(event) => Some(event),
        Err(_) => None,
    };
    let about = |place: &Path| match event {
        // Its directory has changed itself: it was moved away, or deleted.
        Some(event) if !event.need_rescan() => event
            .paths
            .iter()
            .any(|path| path == place || Some(&**path) == place.parent()),
        // Events were lost: any file may have changed.
        _ => true,
    };
    places
        .iter()
        .filter(|(place, _)| about(place))
        .map(|(_, subject)| subject.clone())
        .collect()
}

/// When a subject was touched: since it was last passed on, and last of all.
struct Touched {
    first: Instant,
    last: Instant,
}

impl Touched {
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

/// Passes changes on once they have come to an end, each subject by itself: one that is touched all
/// the time holds up no other one, and is passed on as well.
async fn settle(
    mut changes: UnboundedReceiver<Subject>,
    requests: UnboundedSender<ChangeRequest>,
    tell_of_lists: impl Fn(),
) {
    let mut waiting: BTreeMap<Subject, Touched> = BTreeMap::new();
    loop {
        let next = waiting.values().map(Touched::due).min();
        let settled = async {
            match next {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changes.recv() => {
                let Some(subject) = changed else { return };
                let now = Instant::now();
                let new = Touched { first: now, last: now };
                waiting.entry(subject).or_insert(new).last = now;
            }
            () = settled => {}
        }
        let now = Instant::now();
        for (subject, _) in waiting.extract_if(.., |_, touched| touched.due() <= now) {
            let change = match subject {
                Subject::Plugin(name) => Change::FileChanged { name },
                Subject::Tls => Change::TlsFilesChanged,
                Subject::OfSnapshot => Change::FilesChanged,
                Subject::Lists => {
                    tell_of_lists();
                    Change::ListFilesChanged
                }
            };
            if requests.send((change, None)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tokio::time::timeout;

    #[test]
    fn a_file_is_watched_at_every_link_on_the_way_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("releases/1")).unwrap();
        std::fs::write(root.join("releases/1/own.pem"), "").unwrap();
        symlink("releases/1", root.join("current")).unwrap();
        symlink(root.join("current/own.pem"), root.join("own.pem")).unwrap();
        assert_eq!(
            places(&root.join("./current/../own.pem")),
            [
                root.join("current"),
                root.join("releases/own.pem"), // as the kernel has it: `..` of where the link leads
            ]
        );
        assert_eq!(
            places(&root.join("own.pem")),
            [
                root.join("own.pem"),
                root.join("current"),
                root.join("releases/1/own.pem"),
            ]
        );
    }

    #[test]
    fn what_is_missing_is_watched_where_it_would_come_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        assert_eq!(places(&root.join("certs/own.pem")), [root.join("certs")]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(places(&root.join("loop")).len(), MAX_LINKS + 1);
    }

    #[tokio::test]
    async fn what_is_newly_watched_is_read_once_more() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                    tls = { certificate = \"own.pem\", key = \"own.key\" }\n\
                    [[route]]\nreturn = { status = 200 }\n";
        let file = directory.path().join("waypost.toml");
        let config = crate::config::parse(text, &file).unwrap();
        let watched = async {
            let (requests, mut requested) = unbounded_channel();
            let watcher = Watcher::start(requests, || {});
            watcher.follow(&config, Vec::new()).await;
            let change = timeout(50 * QUIET, requested.recv()).await;
            assert!(matches!(change, Ok(Some((Change::TlsFilesChanged, None)))));
            watcher.follow(&config, Vec::new()).await;
            let again = timeout(3 * QUIET, requested.recv()).await;
            assert!(again.is_err(), "nothing is new");
        };
        tokio::task::LocalSet::new().run_until(watched).await;
    }

    /// One that is touched again before it is quiet, and for longer than a change may wait.
    #[tokio::test]
    async fn what_is_touched_all_the_time_holds_up_nothing() {
        let (changed, changes) = unbounded_channel();
        let (requests, mut requested) = unbounded_channel::<ChangeRequest>();
        let touching = async {
            changed.send(Subject::Tls).unwrap();
            loop {
                changed.send(Subject::Lists).unwrap();
                tokio::time::sleep(QUIET / 20).await;
            }
        };
        let passed_on = async {
            let first = requested.recv().await.unwrap().0;
            assert!(matches!(first, Change::TlsFilesChanged));
            let second = requested.recv().await.unwrap().0;
            assert!(matches!(second, Change::ListFilesChanged));
        };
        tokio::select! {
            passed_on = timeout(10 * LONGEST, passed_on) => passed_on.unwrap(),
            () = touching => {}
            () = settle(changes, requests, || {}) => {}
        }
    }
}
