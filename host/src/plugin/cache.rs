//! Keeps compiled plugins in a directory of ours, so that the next start need not compile them
//! again.
//!
//! What is read here is run as machine code. So the directory must be ours alone; an entry must be
//! a file of ours, names the plugin and the engine that it was made for, and carries a hash of its
//! code: a truncated or altered one is as good as none. Whoever can write to the directory as us
//! can do whatever we can do anyway.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use super::hash::Hash;
use crate::file::open_regular;

/// An entry begins with these, the plugin's hash and the code's hash.
pub(super) const MAGIC: &[u8] = b"\0waypost code 1\0\n";
const HEADER: usize = MAGIC.len() + 2 * size_of::<Hash>();
/// Entries that are kept, and their bytes: a component of an interpreter has tens of megabytes. When
/// there are more, those that were not used for longest go.
const ENTRIES: usize = 256;
const BYTES: u64 = 2 << 30;

/// Where compiled plugins are kept unless the configuration says otherwise: `$CACHE_DIRECTORY`
/// (systemd's; the first where there are several), `$XDG_CACHE_HOME/waypost`, or
/// `$HOME/.cache/waypost`.
pub fn default_cache_directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    // Relative paths are ignored: the XDG base directory specification asks for it, and systemd
    // never sets one.
    let absolute = |path: &PathBuf| path.is_absolute();
    let systemd = std::env::var_os("CACHE_DIRECTORY")
        .and_then(|list| std::env::split_paths(&list).next())
        .filter(absolute);
    systemd
        .or_else(|| {
            variable("XDG_CACHE_HOME")
                .filter(absolute)
                .map(|path| path.join("waypost"))
        })
        .or_else(|| {
            variable("HOME")
                .filter(absolute)
                .map(|path| path.join(".cache/waypost"))
        })
}

/// A directory of compiled plugins.
pub(super) struct Cache {
    directory: PathBuf,
    /// Names the engine, with its version and settings: code of another one is never looked at.
    engine: String,
}

impl Cache {
    /// Opens the directory, and makes it if it is not there. `None` where it cannot be trusted or
    /// used, which is logged.
    pub(super) fn open(directory: &Path, engine: String) -> Option<Cache> {
        match usable(directory) {
            Ok(()) => Some(Cache {
                directory: directory.to_owned(),
                engine,
            }),
            Err(error) => {
                tracing::warn!(
                    "plugin cache {} is not used: {error}; custom plugins are compiled at every start",
                    directory.display()
                );
                None
            }
        }
    }

    /// The code of that plugin, at most `bound` bytes, if it is kept here and is as it was written.
    pub(super) fn get(&self, plugin: &Hash, bound: u64) -> Option<Vec<u8>> {
        let file = open_regular(&self.entry(plugin)).ok()?;
        if !is_ours(&file.metadata().ok()?) {
            return None;
        }
        let mut header = [0; HEADER];
        (&file).read_exact(&mut header).ok()?;
        let mut code = Vec::new();
        (&file).take(bound).read_to_end(&mut code).ok()?;
        if header != self::header(plugin, &code) {
            return None;
        }
        // The time of its last use. Where it cannot be set, that of its making will do.
        let _ = file.set_modified(SystemTime::now());
        Some(code)
    }

    /// Keeps the code of a plugin. A failure is logged: it costs the next start time, and this one
    /// nothing.
    pub(super) fn put(&self, plugin: &Hash, code: &[u8]) {
        let kept = self.write(plugin, code).and_then(|()| self.prune());
        if let Err(error) = kept {
            tracing::warn!(
                "cannot keep a compiled plugin in {}: {error}; it will be compiled again at the next start",
                self.directory.display()
            );
        }
    }

    fn entry(&self, plugin: &Hash) -> PathBuf {
        self.directory
            .join(format!("{plugin}-{}.cwasm", self.engine))
    }

    /// Writes under a temporary name, then renames: no reader ever sees half an entry.
    fn write(&self, plugin: &Hash, code: &[u8]) -> io::Result<()> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let unique = format!("{}-{}", std::process::id(), WRITTEN.fetch_add(1, Relaxed));
        let temporary = self.directory.join(format!("{unique}.tmp"));
        let mut options = OpenOptions::new();
        let written = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(&header(plugin, code))?;
                file.write_all(code)
            })
            .and_then(|()| fs::rename(&temporary, self.entry(plugin)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what was not used for longest, leftovers of writers that were stopped included.
    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let ours = path
                .extension()
                .is_some_and(|extension| extension == "cwasm" || extension == "tmp");
            // Another process may have removed it meanwhile.
            if let (true, Ok(metadata)) = (ours, path.symlink_metadata()) {
                files.push((metadata.modified()?, path, metadata.len()));
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        let (mut kept, mut bytes) = (0, 0_u64);
        for (_, path, length) in &files {
            let with_this = bytes.saturating_add(*length);
            if kept < ENTRIES && (with_this <= BYTES || kept == 0) {
                (kept, bytes) = (kept + 1, with_this);
            } else {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }
}

fn header(plugin: &Hash, code: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let (magic, hashes) = header.split_at_mut(MAGIC.len());
    let (of_plugin, of_code) = hashes.split_at_mut(size_of::<Hash>());
    magic.copy_from_slice(MAGIC);
    of_plugin.copy_from_slice(&plugin.0);
    of_code.copy_from_slice(&Hash::of(code).0);
    header
}

/// Makes the directory if need be, and checks that no other user can put anything into it.
fn usable(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    if is_ours(&fs::metadata(directory)?) {
        return Ok(());
    }
    let uid = rustix::process::geteuid().as_raw();
    Err(io::Error::other(format!(
        "what is in it is run as machine code, so it must belong to the user that waypost runs as (uid {uid}) \
         and be writable by nobody else (`chmod go-w`)"
    )))
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.permissions().mode() & 0o022 == 0
}
