//! The files of error pages: read with the configuration and when they change, and kept in memory, so
//! that an error does not wait for a disk.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::model::{Config, ErrorPage};
use crate::config::problem::Problem;
use crate::config::reason;
use crate::file::read_regular;

/// Bytes of one page.
const MOST: u64 = 1 << 20;

/// The content of each file.
#[derive(Default)]
pub(crate) struct PageFiles(HashMap<PathBuf, ArcSwap<Vec<u8>>>);

impl PageFiles {
    /// Reads all of a configuration's. Blocks.
    ///
    /// # Errors
    /// One for each that cannot be read, at its page.
    pub(crate) fn read(config: &Config) -> Result<PageFiles, Vec<Problem>> {
        let (mut files, mut problems) = (HashMap::new(), Vec::<Problem>::new());
        for page in config.error_pages() {
            let Some(path) = page.file() else { continue };
            if files.contains_key(path) {
                continue;
            }
            match read_regular(path, MOST) {
                Ok(content) => drop(files.insert(path.clone(), ArcSwap::from_pointee(content))),
                Err(error) => {
                    let problem = unread(page, path, &error);
                    // Listeners have the pages of `[server]`, at the same place.
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            }
        }
        match problems.is_empty() {
            true => Ok(PageFiles(files)),
            false => Err(problems),
        }
    }

    /// Whether these are a configuration's.
    pub(crate) fn are_of(&self, config: &Config) -> bool {
        let wanted: HashSet<&PathBuf> = config.error_pages().filter_map(ErrorPage::file).collect();
        wanted.len() == self.0.len() && wanted.iter().all(|path| self.0.contains_key(*path))
    }

    /// What a page's file holds.
    pub(crate) fn content(&self, path: &Path) -> Option<Arc<Vec<u8>>> {
        Some(self.0.get(path)?.load_full())
    }

    /// Those that are to be watched.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Reads them again, and logs what has changed. One that cannot be read stays what it was. Blocks.
    pub(crate) fn refresh(&self) {
        for (path, content) in &self.0 {
            let shown = path.display();
            match read_regular(path, MOST) {
                Ok(now) if now == **content.load() => {}
                Ok(now) => {
                    content.store(Arc::new(now));
                    tracing::info!("error page `{shown}` was read again");
                }
                Err(error) => {
                    let reason = reason(&error);
                    tracing::warn!(
                        "cannot read error page `{shown}`: {reason}; it stays as it was"
                    );
                }
            }
        }
    }
}

fn unread(page: &ErrorPage, path: &Path, error: &std::io::Error) -> Problem {
    let message = format!(
        "cannot read error page `{}`: {}",
        path.display(),
        reason(error)
    );
    Problem::new(&page.place, message)
}
