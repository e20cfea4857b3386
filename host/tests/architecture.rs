//! Holds `ARCHITECTURE.md` to the code: who may know what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file of the host below `src`, with its code less comments.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"));
                let code = code.collect::<Vec<_>>().join("\n");
                files.push((path.strip_prefix(&root).unwrap().to_owned(), code));
            }
        }
    }
    assert!(files.len() > 50, "the sources were not found");
    files
}

#[track_caller]
fn only(allowed: &[&str], knows: &str) {
    let mut users = 0;
    for (path, code) in sources() {
        if code.contains(knows) {
            users += 1;
            assert!(
                allowed.iter().any(|allowed| path.starts_with(allowed)),
                "{} knows `{knows}`, which only {allowed:?} may",
                path.display(),
            );
        }
    }
    assert!(
        users > 0,
        "nobody knows `{knows}`: the rule has lost its subject"
    );
}

#[test]
fn only_the_plugin_module_knows_wasmtime() {
    only(&["plugin"], "wasmtime::");
}

#[test]
fn only_the_tls_module_builds_rustls_configurations() {
    only(&["tls"], "Config::builder_with_provider");
    only(&["tls"], "default_provider()");
}

#[test]
fn only_the_configuration_knows_toml() {
    only(&["config"], "toml::");
}

#[test]
fn only_commands_and_the_control_plane_use_anyhow() {
    only(&["cli", "control_plane"], "anyhow::");
}

#[test]
fn the_data_path_takes_no_lock_and_blocks_on_nothing() {
    for (path, code) in sources() {
        if path.starts_with("data_plane") || path.starts_with("http") {
            for banned in [
                "Mutex",
                "RwLock",
                "std::thread::sleep",
                "std::fs::",
                "block_in_place",
                "spawn_blocking",
            ] {
                assert!(!code.contains(banned), "{} uses `{banned}`", path.display());
            }
        }
    }
}
