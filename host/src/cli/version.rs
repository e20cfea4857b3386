//! `waypost version`: what this binary is and what it was built of.

use std::process::ExitCode;

use crate::stock;

const WAYPOST: &str = env!("CARGO_PKG_VERSION");

pub(super) fn version(verbose: bool) -> anyhow::Result<ExitCode> {
    let mut text = format!("waypost {WAYPOST}\n");
    if verbose {
        // From the build script: `build/versions.rs`.
        let facts = [
            ("rustc", env!("WAYPOST_RUSTC")),
            ("target", env!("WAYPOST_TARGET")),
            ("wasmtime", env!("WAYPOST_WASMTIME")),
            ("interface", env!("WAYPOST_WIT")),
        ];
        for (name, value) in facts {
            text += &format!("{name:<10} {value}\n");
        }
        // They are built with the host, from the same sources.
        text += &format!(
            "{:<10} {} (all {WAYPOST})\n",
            "plugins",
            stock::NAMES.join(", ")
        );
    }
    super::print(&text)
}
