//! A directory out of which no name leads, whatever links it goes through.
//!
//! The kernel sees to that (`openat2` with `RESOLVE_BENEATH`, Linux 5.6): no race between looking
//! at a name and opening it. Where it cannot, each name on the way is opened by itself, and none of
//! them may be a link: stricter, so nothing is served that the kernel would refuse.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, Result};

/// Tries of an `openat2` that meets somebody who moves directories.
const TRIES: usize = 8;

/// For reading; neither waits for the other end of a pipe nor becomes a terminal's.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// An open directory.
pub(super) struct Root {
    directory: OwnedFd,
    /// Links may lead out of it.
    follow_links: bool,
}

impl Root {
    /// Opens a directory, whatever links lead to it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(path: &Path, follow_links: bool) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty())?;
        Ok(Root {
            directory,
            follow_links,
        })
    }

    /// Opens what a name below it stands for, to read: a file or a directory, or anything else,
    /// which is for the caller to look at. A name that is empty is the root itself.
    ///
    /// # Errors
    /// What the kernel says; `EXDEV` and `ELOOP` for a link that is not followed, and `EXDEV` for a
    /// name that begins with a slash, or has a `..`.
    pub(super) fn open_below(&self, name: &[u8]) -> Result<OwnedFd> {
        let mut segments = name.split(|byte| *byte == b'/');
        if name.starts_with(b"/") || segments.any(|segment| segment == b"..") {
            return Err(Errno::XDEV);
        }
        let name = if name.is_empty() { b"." } else { name };
        if self.follow_links {
            return openat(&self.directory, name, READ, Mode::empty());
        }
        static LACKS_OPENAT2: AtomicBool = AtomicBool::new(false);
        if !LACKS_OPENAT2.load(Relaxed) {
            match self.open_by_kernel(name) {
                // Too old, or hidden by a container's rules.
                Err(Errno::NOSYS) => LACKS_OPENAT2.store(true, Relaxed),
                Err(Errno::PERM) => {}
                opened => return opened,
            }
        }
        self.open_by_walking(name)
    }

    fn open_by_kernel(&self, name: &[u8]) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&self.directory, name, READ, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < TRIES => tries += 1,
                opened => return opened,
            }
        }
    }

    fn open_by_walking(&self, name: &[u8]) -> Result<OwnedFd> {
        let mut segments = name.split(|byte| *byte == b'/').peekable();
        let ends_in_slash = name.ends_with(b"/");
        let mut at: Option<OwnedFd> = None;
        while let Some(segment) = segments.next() {
            if segment.is_empty() {
                continue;
            }
            let is_last = segments.peek().is_none_or(|next| next.is_empty());
            let flags = match is_last && !ends_in_slash {
                true => READ | OFlags::NOFOLLOW,
                false => READ | OFlags::NOFOLLOW | OFlags::DIRECTORY,
            };
            let parent = at.as_ref().map_or(self.directory.as_fd(), AsFd::as_fd);
            at = Some(openat(parent, segment, flags, Mode::empty())?);
        }
        match at {
            Some(opened) => Ok(opened),
            None => openat(&self.directory, ".", READ, Mode::empty()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    type Open = fn(&Root, &[u8]) -> Result<OwnedFd>;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let path = |name: &str| tree.path().join(name);
        fs::create_dir_all(path("root/a/b")).unwrap();
        fs::write(path("secret"), "secret").unwrap();
        fs::write(path("root/a/b/c"), "inside").unwrap();
        symlink("../secret", path("root/up")).unwrap();
        symlink(path("secret"), path("root/absolute")).unwrap();
        symlink("..", path("root/parent")).unwrap();
        symlink("a/b/c", path("root/within")).unwrap();
        symlink("/proc/self/root", path("root/magic")).unwrap();
        symlink("loop", path("root/loop")).unwrap();
        tree
    }

    fn read(root: &Root, open: Open, name: &str) -> Option<String> {
        let mut text = String::new();
        let mut file = fs::File::from(open(root, name.as_bytes()).ok()?);
        file.read_to_string(&mut text).ok()?;
        Some(text)
    }

    #[test]
    fn no_name_and_no_link_leads_out_of_the_root_in_either_way() {
        let tree = tree();
        let root = Root::open(&tree.path().join("root"), false).unwrap();
        let ways: [Open; 2] = [Root::open_below, Root::open_by_walking];
        for open in ways {
            assert_eq!(read(&root, open, "a/b/c").as_deref(), Some("inside"));
            for name in [
                "up",
                "absolute",
                "parent/secret",
                "magic/etc/hostname",
                "loop",
                "a/b/c/",
                "none",
            ] {
                assert_eq!(read(&root, open, name), None, "{name}");
            }
        }
    }

    #[test]
    fn a_link_that_stays_below_the_root_is_followed_by_the_kernel_alone() {
        let tree = tree();
        let root = Root::open(&tree.path().join("root"), false).unwrap();
        let within = read(&root, Root::open_by_kernel, "within");
        assert_eq!(within.as_deref(), Some("inside"));
        assert_eq!(read(&root, Root::open_by_walking, "within"), None);
    }

    #[test]
    fn links_lead_out_where_they_may() {
        let tree = tree();
        let root = Root::open(&tree.path().join("root"), true).unwrap();
        for name in ["up", "absolute", "parent/secret"] {
            let text = read(&root, Root::open_below, name);
            assert_eq!(text.as_deref(), Some("secret"), "{name}");
        }
        // A link may lead out, the name itself may not.
        let absolute = tree.path().join("secret").display().to_string();
        for name in ["../secret", "a/../../secret", &absolute, "/etc/hostname"] {
            assert_eq!(read(&root, Root::open_below, name), None, "{name}");
        }
    }

    #[test]
    fn an_empty_name_is_the_root_itself() {
        let tree = tree();
        let root = Root::open(&tree.path().join("root"), false).unwrap();
        for open in [Root::open_below as Open, Root::open_by_walking] {
            assert!(
                fs::File::from(open(&root, b"").unwrap())
                    .metadata()
                    .unwrap()
                    .is_dir()
            );
        }
    }
}
