//! `waypost version`: what this binary is and what it was built of.

use std::process::ExitCode;

use crate::stock;

const WAYPOST: &str = env!("CARGO_PKG_VERSION");

/// From the build script: `build/versions.rs`.
const FACTS: [(&str, &str); 4] = [
    ("rustc", env!("WAYPOST_RUSTC")),
    ("target", env!("WAYPOST_TARGET")),
    ("wasmtime", env!("WAYPOST_WASMTIME")),
    ("interface", env!("WAYPOST_WIT")),
];

/// `as_json`: with everything that was built in, as a program takes what it wants.
pub(super) fn version(verbose: bool, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        let mut told = serde_json::json!({ "version": WAYPOST });
        for (name, value) in FACTS {
            told[name] = value.into();
        }
        told["plugins"] = stock::NAMES.into();
        return super::print(&super::admin::in_json(&told));
    }
    let mut text = format!("waypost {WAYPOST}\n");
    if verbose {
        for (name, value) in FACTS {
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
