//! Finds the `waypost` binary, or has cargo build it.
//!
//! Cargo tells the path of a binary only to tests of its own package. So the specs ask `cargo build` for it, once per
//! test process; that takes a fraction of a second when it is built already. `WAYPOST_BIN` names another one to test.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The path of the binary under test: `WAYPOST_BIN`, or else built in the profile that the specs were built in.
pub fn waypost() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("WAYPOST_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--package",
        "waypost",
        "--bin",
        "waypost",
    ]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().expect("cargo runs");
    assert!(
        output.status.success(),
        "waypost does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "waypost")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the binary that it built")
}
