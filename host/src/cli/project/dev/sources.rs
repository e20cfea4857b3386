//! What a plugin is made of. It is looked at again and again, which finds a change however an
//! editor makes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// Between two looks. A change counts once nothing has changed from one look to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// Files that are looked at.
const MOST: usize = 5000;
/// What toolchains leave beside sources.
const BUILT: [&str; 5] = ["target", "node_modules", ".venv", "__pycache__", ".git"];

type Stamps = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Files as they were when they were last built of.
pub(super) struct Sources {
    paths: Vec<PathBuf>,
    stamps: Stamps,
}

impl Sources {
    pub(super) fn now(paths: &[PathBuf]) -> Sources {
        Sources {
            paths: paths.to_vec(),
            stamps: stamps(paths),
        }
    }

    /// Waits for a change, and names a file that has changed. From here on the files are these.
    pub(super) fn changed(&mut self) -> String {
        let mut last = stamps(&self.paths);
        loop {
            thread::sleep(PAUSE);
            let now = stamps(&self.paths);
            if now == last && now != self.stamps {
                let changed = difference(&self.stamps, &now).map(super::shown);
                self.stamps = now;
                return changed.unwrap_or_default();
            }
            last = now;
        }
    }
}

/// A file that is new, other than it was, or gone.
fn difference<'a>(before: &'a Stamps, now: &'a Stamps) -> Option<&'a Path> {
    let mut other = now
        .iter()
        .filter(|(path, stamp)| before.get(*path) != Some(stamp));
    let mut gone = before.keys().filter(|path| !now.contains_key(*path));
    let other = other.next().map(|(path, _)| path);
    other.or_else(|| gone.next()).map(PathBuf::as_path)
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    let (mut left, mut stamps) = (paths.to_vec(), Stamps::new());
    while let Some(path) = left.pop() {
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        if stamps.len() >= MOST {
            break;
        }
        if !found.is_dir() {
            stamps.insert(path, (found.modified().ok(), found.len()));
            continue;
        }
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            !is_link && !BUILT.iter().any(|built| entry.file_name() == *built)
        });
        left.extend(entries.map(|entry| entry.path()));
    }
    stamps
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn changes(change: impl FnOnce(&Path)) -> Option<PathBuf> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("src")).unwrap();
        fs::write(path.join("src/lib.rs"), "one").unwrap();
        let paths = [path.to_owned()];
        let before = stamps(&paths);
        change(path);
        let now = stamps(&paths);
        let changed = difference(&before, &now)?;
        Some(changed.strip_prefix(path).unwrap().to_owned())
    }

    #[test]
    fn a_file_that_is_other_new_or_gone_is_a_change() {
        let other = changes(|path| fs::write(path.join("src/lib.rs"), "four").unwrap());
        assert_eq!(other.unwrap(), Path::new("src/lib.rs"));
        let new = changes(|path| fs::write(path.join("src/more.rs"), "").unwrap());
        assert_eq!(new.unwrap(), Path::new("src/more.rs"));
        let gone = changes(|path| fs::remove_file(path.join("src/lib.rs")).unwrap());
        assert_eq!(gone.unwrap(), Path::new("src/lib.rs"));
    }

    #[test]
    fn what_a_build_leaves_behind_is_none() {
        let built = changes(|path| {
            for name in BUILT {
                fs::create_dir(path.join(name)).unwrap();
                fs::write(path.join(name).join("file"), "").unwrap();
            }
        });
        assert_eq!(built, None);
    }
}
