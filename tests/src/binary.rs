//! Finds the `waypost` binary and the specs' own plugins, or has cargo build them.
//!
//! Cargo tells the path of a binary only to tests of its own package. So the specs ask
//! `cargo build` for it, once per test process; that takes a fraction of a second when it is built
//! already. `WAYPOST_BIN` names another one to test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The path of the binary under test: `WAYPOST_BIN`, or else built in the profile that the specs
/// were built in.
pub fn waypost() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("WAYPOST_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let profile = if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            };
            // Of the whole workspace, as these specs are: its packages together choose the features
            // of what they depend on, and with other features all of it would be compiled once
            // more.
            build(
                &["--workspace", "--bin", "waypost", "--profile", profile],
                |message| {
                    message["target"]["name"] == "waypost" && message["executable"].is_string()
                },
            )
        }
    })
}

/// The path of a plugin of this workspace, built for a WebAssembly target.
pub fn plugin(package: &str, target: &str) -> PathBuf {
    let arguments = [
        "--package",
        package,
        "--lib",
        "--profile",
        "plugin",
        "--target",
        target,
    ];
    build(&arguments, |message| {
        message["target"]["name"] == package && message["filenames"].is_array()
    })
}

/// Builds, and returns the file of the first artifact that is wanted.
fn build(arguments: &[&str], wanted: impl Fn(&serde_json::Value) -> bool) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(arguments);
    command.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
    ]);
    let output = command.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "{arguments:?} does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| wanted(message))
        .find_map(|message| {
            // A plugin that is a library too has several files.
            let files = message["filenames"].as_array().into_iter().flatten();
            let plugin = files
                .filter_map(|file| file.as_str())
                .find(|file| file.ends_with(".wasm"));
            message["executable"].as_str().or(plugin).map(PathBuf::from)
        })
        .expect("cargo names the file that it built")
}
