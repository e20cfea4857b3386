//! Holds `ARCHITECTURE.md` to the code: who may know what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod imports;
mod shared;

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
fn only_one_room_asks_name_servers() {
    only(&["names"], "hickory_resolver::");
}

/// What blocks has one way off the control plane's thread, on which its limits are kept.
#[test]
fn only_one_function_gives_work_to_threads_that_may_wait() {
    only(&["control_plane/blocking.rs"], "spawn_blocking(");
}

#[test]
fn only_the_configuration_knows_toml() {
    only(&["config"], "toml::");
}

#[test]
fn only_commands_and_the_control_plane_use_anyhow() {
    only(&["cli", "control_plane"], "anyhow::");
}

/// What is bundled is found in `plugins`: a list by hand would be a door that other plugins lack.
/// The one that is the default has to be named, and a key may happen to be called as one is.
#[test]
fn the_configuration_knows_no_bundled_plugin_by_name() {
    assert!(waypost::stock::NAMES.len() > 1, "nothing is bundled");
    for name in waypost::stock::NAMES {
        for (path, code) in sources() {
            let reads = path.starts_with("config/declared") || path.starts_with("config/read");
            let is_named = code.contains(&format!("\"{name}\""));
            let path = path.display();
            assert!(
                !reads || !is_named || ["round_robin", "labels", "split"].contains(name),
                "{path} names `{name}`"
            );
        }
    }
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

/// From the ground up. A room is a folder or a file below `src`; what it may import lies before it.
const FLOORS: &[&str] = &[
    "allocator",       // what it is told
    "file",            // opened without waiting, read up to a bound
    "event_loop",      // of a thread that goes on after a panic
    "fault_injection", // for specs
    "stock",           // names of the bundled plugins
    "http",            // HTTP as text
    "config",          // what is written, and what it means
    "metrics",         // what is counted
    "import",          // what nginx's configuration is here
    "scaffold",        // the files of a new plugin
    "names",           // what names of servers stand for
    "tls",             // certificates and sessions
    "outgoing",        // connections of the process itself
    "acme",            // certificates that are ordered
    "discovery",       // servers that are listed elsewhere
    "store",           // what plugins share
    "plugin",          // runs components
    "testbed",         // plugins tried without a proxy
    "files",           // that routes answer with
    "access_log",      // lines of exchanges
    "traces",          // spans of exchanges
    "data_plane/turn",
    "data_plane/wanted",
    "data_plane/scrapes",
    "data_plane/standing",
    "data_plane/process",
    "data_plane/unwinding",
    "data_plane/proxy_protocol",
    "data_plane/stream",
    "data_plane/buffers",
    "data_plane/body",
    "data_plane/content_coding",
    "data_plane/copy",
    "data_plane/upstream",
    "health", // of endpoints, looked after by a thread
    "data_plane/worker_config",
    "data_plane/slots",
    "data_plane/drain",
    "data_plane/open_files",
    "data_plane/request_ids",
    "data_plane/host_names",
    "data_plane/worker",
    "data_plane/hooked",
    "data_plane/downstream",
    "data_plane/hook_requests",
    "data_plane/exchange",
    "data_plane/relay",
    "data_plane/serve",
    "admin_api", // what the admin API says, for both sides
    "control_plane",
    "cli",
    "fuzz",
];

/// Files of the data plane that import each other in a circle, at most.
const LARGEST_CIRCLE: usize = 3;

/// The floor of a file; none for the root of the crate.
fn floor(file: &Path) -> Option<usize> {
    let room = file.with_extension("");
    let floor = FLOORS.iter().position(|floor| room.starts_with(floor));
    let root = matches!(room.to_str(), Some("lib" | "main" | "data_plane/mod"));
    assert!(floor.is_some() || root, "{} is on no floor", file.display());
    floor
}

#[test]
fn no_import_goes_up() {
    let imports = imports::Imports::of(sources());
    for (file, others) in &imports.by_file {
        for other in others {
            let (Some(from), Some(to)) = (floor(file), floor(other)) else {
                continue;
            };
            assert!(
                from >= to,
                "{} imports {}, which is on a higher floor",
                file.display(),
                other.display(),
            );
        }
    }
}

#[test]
fn circles_of_files_in_the_data_plane_are_small() {
    let imports = imports::Imports::of(sources());
    let circle = imports.largest_circle("data_plane");
    assert!(circle.len() <= LARGEST_CIRCLE, "{circle:#?}");
}

#[test]
fn imports_are_found_where_they_are() {
    let imports = imports::Imports::of(sources());
    let of = |file: &str| &imports.by_file[Path::new(file)];
    for (file, other) in [
        ("data_plane/serve/http1.rs", "data_plane/exchange/mod.rs"),
        (
            "data_plane/serve/http1.rs",
            "data_plane/downstream/session.rs",
        ),
        ("data_plane/drain.rs", "data_plane/process.rs"),
        (
            "control_plane/assemble.rs",
            "data_plane/worker_config/router.rs",
        ),
    ] {
        assert!(
            of(file).contains(Path::new(other)),
            "{file}: {:#?}",
            of(file)
        );
    }
}
