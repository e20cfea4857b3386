//! The directory of machine code: what is taken from it, and when it is not used at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::plugin::Hash;
use crate::plugin::cache::Cache;

use super::peers::logged;

const BOUND: u64 = 1 << 20;

fn open(directory: &Path) -> Option<Cache> {
    Cache::open(directory, "engine".to_owned())
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_put_is_got_by_us_alone() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("waypost/plugins");
    let cache = open(&directory).unwrap();
    let plugin = Hash::of(b"plugin");
    assert_eq!(cache.get(&plugin, BOUND), None);
    cache.put(&plugin, b"code");
    assert_eq!(cache.get(&plugin, BOUND).unwrap(), b"code");
    assert_eq!(cache.get(&plugin, 3), None); // more than there may be
    assert_eq!(cache.get(&Hash::of(b"another"), BOUND), None);
    let of_another_engine = Cache::open(&directory, "other".to_owned()).unwrap();
    assert_eq!(of_another_engine.get(&plugin, BOUND), None);
    let entries = entries(&directory);
    assert_eq!(
        (entries.len(), mode(&directory), mode(&entries[0])),
        (1, 0o700, 0o600)
    );
}

#[test]
fn an_altered_cut_or_renamed_entry_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).unwrap();
    let (plugin, other) = (Hash::of(b"plugin"), Hash::of(b"other"));
    cache.put(&plugin, b"code");
    let entry = entries(folder.path()).remove(0);
    let whole = fs::read(&entry).unwrap();
    for position in [0, 20, 60, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[position] ^= 1;
        fs::write(&entry, altered).unwrap();
        assert_eq!(cache.get(&plugin, BOUND), None, "byte {position}");
    }
    for length in [0, 50, whole.len() - 1] {
        fs::write(&entry, &whole[..length]).unwrap();
        assert_eq!(cache.get(&plugin, BOUND), None, "{length} bytes");
    }
    fs::write(&entry, whole).unwrap();
    assert!(cache.get(&plugin, BOUND).is_some());
    let name = entry.file_name().unwrap().to_str().unwrap();
    fs::rename(
        &entry,
        folder
            .path()
            .join(name.replace(&plugin.to_string(), &other.to_string())),
    )
    .unwrap();
    assert_eq!(cache.get(&other, BOUND), None);
}

#[test]
fn an_entry_that_others_could_have_written_is_as_good_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).unwrap();
    let plugin = Hash::of(b"plugin");
    cache.put(&plugin, b"code");
    fs::set_permissions(
        &entries(folder.path())[0],
        fs::Permissions::from_mode(0o620),
    )
    .unwrap();
    assert_eq!(cache.get(&plugin, BOUND), None);
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o720, 0o702, 0o777] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let log = logged(|| assert!(open(folder.path()).is_none(), "{mode:o}"));
        let expected = format!("plugin cache {} is not used", folder.path().display());
        assert!(log.contains(&expected), "{log}");
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(open(folder.path()).is_some());
}

#[test]
fn a_directory_of_another_user_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Only root can give a directory away; for any other user, one of root's will do.
    let foreign = match rustix::process::geteuid().is_root() {
        true => {
            chown(folder.path(), Some(65_534), None).unwrap();
            folder.path()
        }
        false => Path::new("/usr"),
    };
    let log = logged(|| assert!(open(foreign).is_none()));
    assert!(
        log.contains("it must belong to the user that waypost runs as"),
        "{log}"
    );
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = open(folder.path()).unwrap();
    let plugin = |number: u64| Hash::of(&number.to_le_bytes());
    let put = |number| {
        cache.put(&plugin(number), b"code");
        // As if it had been some time ago.
        let age = Duration::from_secs(3600 - number);
        for entry in entries(folder.path()) {
            if entry
                .to_str()
                .unwrap()
                .contains(&plugin(number).to_string())
            {
                let file = fs::File::options().append(true).open(entry).unwrap();
                file.set_modified(SystemTime::now() - age).unwrap();
            }
        }
    };
    (0..256).for_each(put);
    assert!(cache.get(&plugin(0), BOUND).is_some()); // used just now
    put(256);
    assert_eq!(entries(folder.path()).len(), 256);
    let there = |number| cache.get(&plugin(number), BOUND).is_some();
    assert_eq!(
        (there(0), there(1), there(2), there(256)),
        (true, false, true, true)
    );
}
