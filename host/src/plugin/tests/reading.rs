//! The file of a plugin is read within its bound, whatever kind of file it is.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::config::model::CompileLimits;
use crate::plugin::{Inspection, PluginError, Runtime};

fn refusal(file: &Path) -> String {
    Runtime::read("mine", file, &CompileLimits::default())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_missing_file_is_named() {
    let error = refusal(Path::new("/nowhere/mine.wasm"));
    let expected = "cannot read plugin `mine` from /nowhere/mine.wasm: no such file or directory";
    assert_eq!(error, expected);
}

#[test]
fn a_file_that_cannot_be_read_has_the_way_out_that_its_error_asks_for() {
    use std::io::ErrorKind::{InvalidData, NotFound, PermissionDenied};
    for (kind, hint) in [
        (NotFound, Some("build it, or correct `file`")),
        (PermissionDenied, Some("allowed to read it")),
        (InvalidData, None),
    ] {
        let error = PluginError::Read {
            plugin: "mine".to_owned(),
            file: "mine.wasm".into(),
            error: kind.into(),
        };
        let part = |hint: &str| error.hint().is_some_and(|said| said.contains(hint));
        assert!(hint.map_or(error.hint().is_none(), part), "{kind:?}");
    }
}

#[test]
fn an_empty_file_is_said_to_be_empty() {
    let error = Inspection::of("mine", b"").unwrap_err().to_string();
    assert_eq!(
        error,
        "plugin `mine` is no webassembly that can be read: the file is empty: build it again"
    );
}

#[test]
fn a_directory_a_device_and_a_pipe_without_a_writer_are_no_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for file in [folder.path(), Path::new("/dev/zero"), &pipe] {
        let error = refusal(file);
        assert!(error.ends_with(": it is not a regular file"), "{error}");
    }
}

#[test]
fn a_file_of_a_terabyte_is_refused_unread_and_the_key_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap(); // takes no space
    assert_eq!(
        refusal(file.path()),
        "plugin `mine` is a file of more than 33554432 bytes: raise its `limits.file_size` if you trust it with more"
    );
}

#[test]
fn a_file_of_just_the_bound_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let limits = CompileLimits {
        file_size: 5,
        ..CompileLimits::default()
    };
    std::fs::write(file.path(), b"12345").unwrap();
    assert_eq!(
        Runtime::read("mine", file.path(), &limits).unwrap(),
        b"12345"
    );
    std::fs::write(file.path(), b"123456").unwrap();
    assert!(Runtime::read("mine", file.path(), &limits).is_err());
}
