//! Hands the versions of what goes into the binary to `waypost version -v`, as environment
//! variables of the compilation.

use std::path::Path;
use std::process::Command;

pub(crate) fn export() {
    let workspace = Path::new("..");
    set(
        "WAYPOST_TARGET",
        &std::env::var("TARGET").unwrap_or_default(),
    );
    set("WAYPOST_RUSTC", &rustc());
    set(
        "WAYPOST_WASMTIME",
        &wasmtime(&read(&workspace.join("Cargo.lock"))),
    );
    set(
        "WAYPOST_WIT",
        &interface(&read(&workspace.join("wit/0.2.0/package.wit"))),
    );
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    std::fs::read_to_string(path).unwrap_or_default()
}

fn rustc() -> String {
    println!("cargo::rerun-if-env-changed=RUSTC");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    version
        .unwrap_or_default()
        .trim()
        .trim_start_matches("rustc ")
        .to_owned()
}

/// `version = "48.0.8"`, on the line after `name = "wasmtime"`.
fn wasmtime(lock: &str) -> String {
    let mut lines = lock
        .lines()
        .skip_while(|line| *line != r#"name = "wasmtime""#);
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown").to_owned()
}

/// `package waypost:plugin@0.1.0;`
fn interface(wit: &str) -> String {
    let package = wit.lines().find_map(|line| line.strip_prefix("package "));
    package
        .unwrap_or("unknown")
        .trim_end_matches(';')
        .to_owned()
}
