//! Compiles the stock plugins into the host: `plugins/*` to core modules, these to components,
//! these to machine code.
//!
//! The code runs on other machines of the target than this one: it uses the instructions that
//! practically all of them have.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

#[path = "src/plugin/engine_config.rs"]
mod engine_config;
#[path = "build/versions.rs"]
mod versions;

/// What plugins are compiled to first. It has no WASI, and the stock plugins need none.
const WASM: &str = "wasm32-unknown-unknown";
/// What a user's plugin may be compiled to instead.
const WASI: &str = "wasm32-wasip2";

#[allow(clippy::expect_used, reason = "a build script reports by panicking")]
fn main() {
    versions::export();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host lives in the workspace");
    for path in [
        "plugins",
        "sdk/rust",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
        ".cargo/config.toml",
    ] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    // Beside the profiles' own folders: all profiles share what is compiled here, and the outer
    // cargo's lock is elsewhere.
    let target = out
        .ancestors()
        .nth(4)
        .expect("cargo's OUT_DIR is four levels below the target directory");
    let target = target.join("plugins");

    let names = stock_plugins(&workspace.join("plugins"));
    compile_to_wasm(workspace, &target, &names);

    let mut config = engine_config::engine_config();
    config
        .target(&variable("TARGET"))
        .expect("wasmtime knows the target");
    add_common_instructions(&mut config);
    let engine = wasmtime::Engine::new(&config).expect("the engine's settings fit together");
    // Names alone are known to more of the host than what is behind them.
    fs::write(out.join("stock_names.rs"), format!("&{names:?}"))
        .expect("OUT_DIR can be written to");
    let mut kinds = Vec::new();
    let mut list = String::from("pub(super) const PLUGINS: &[(&str, [u8; 32], &[u8])] = &[\n");
    for name in &names {
        let module = target
            .join(WASM)
            .join("plugin")
            .join(format!("{}.wasm", name.replace('-', "_")));
        let file = out.join(format!("{name}.cwasm"));
        let component = component(name, &module);
        kinds.push((name.as_str(), kinds_of(name, &component)));
        let hash: [u8; 32] = Sha256::digest(&component).into();
        let code = engine
            .precompile_component(&component)
            .unwrap_or_else(|error| panic!("plugin `{name}` does not compile: {error:#}"));
        fs::write(&file, code).expect("OUT_DIR can be written to");
        writeln!(list, "    ({name:?}, {hash:?}, include_bytes!({file:?})),")
            .expect("strings take what is written to them");
    }
    list.push_str("];\n");
    fs::write(out.join("stock_plugins.rs"), list).expect("OUT_DIR can be written to");
    write_kinds(&out, &kinds);
}

/// What a plugin exports as each kind, and how `host/src/stock.rs` and the documentation of keys
/// call it.
const KINDS: [(&str, &str, &str); 4] = [
    (
        "waypost:plugin/balancer",
        "Kind::Policy",
        "WAYPOST_STOCK_POLICIES",
    ),
    (
        "waypost:plugin/filter",
        "Kind::Filter",
        "WAYPOST_STOCK_FILTERS",
    ),
    (
        "waypost:plugin/scorer",
        "Kind::Scorer",
        "WAYPOST_STOCK_SCORERS",
    ),
    ("waypost:plugin/hook", "Kind::Hook", "WAYPOST_STOCK_HOOKS"),
];

/// Which of [`KINDS`] a component is, by what it exports, of any version.
fn kinds_of(plugin: &str, component: &[u8]) -> Vec<usize> {
    let exports = exports(component)
        .unwrap_or_else(|error| panic!("plugin `{plugin}` cannot be read: {error}"));
    let is_exported = |(interface, ..): &(&str, &str, &str)| {
        let mut names = exports.iter().map(|name| name.split('@').next());
        names.any(|name| name == Some(*interface))
    };
    let kinds: Vec<usize> = (0..KINDS.len())
        .filter(|kind| is_exported(&KINDS[*kind]))
        .collect();
    assert!(
        !kinds.is_empty(),
        "plugin `{plugin}` is of no kind: it exports {exports:?}"
    );
    kinds
}

/// The names of what a component itself exports.
fn exports(component: &[u8]) -> wasmparser::Result<Vec<&str>> {
    let (mut depth, mut names) = (0, Vec::new());
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload? {
            wasmparser::Payload::Version { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            wasmparser::Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names.push(export?.name.name);
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The kinds of each plugin, and what may stand for each kind in the configuration, in words.
#[allow(clippy::expect_used, reason = "a build script reports by panicking")]
fn write_kinds(out: &Path, plugins: &[(&str, Vec<usize>)]) {
    let mut list = String::from("&[\n");
    for (name, kinds) in plugins {
        let kinds: Vec<&str> = kinds.iter().map(|kind| KINDS[*kind].1).collect();
        writeln!(list, "    ({name:?}, &[{}]),", kinds.join(", "))
            .expect("strings take what is written to them");
    }
    list.push(']');
    fs::write(out.join("stock_kinds.rs"), list).expect("OUT_DIR can be written to");
    for (kind, (.., variable)) in KINDS.iter().enumerate() {
        let of_kind = plugins.iter().filter(|(_, kinds)| kinds.contains(&kind));
        let listed: Vec<String> = of_kind.map(|(name, _)| format!("`{name}`")).collect();
        let custom = "the name of a `[plugin.NAME]`";
        match listed.is_empty() {
            true => println!("cargo:rustc-env={variable}={custom}"),
            false => println!(
                "cargo:rustc-env={variable}={} or {custom}",
                listed.join(", ")
            ),
        }
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

/// The folders of `plugins`, sorted; each is a package of the same name.
fn stock_plugins(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// One cargo for all of them.
fn compile_to_wasm(workspace: &Path, target: &Path, names: &[String]) {
    add_wasm_targets();
    let mut build = clean_command(&variable("CARGO"));
    build.env("RUSTC", variable("RUSTC"));
    build
        .current_dir(workspace)
        .args([
            "build",
            "--profile",
            "plugin",
            "--target",
            WASM,
            "--target-dir",
        ])
        .arg(target);
    for name in names {
        build.args(["-p", name]);
    }
    let status = build
        .status()
        .unwrap_or_else(|error| panic!("cannot run {build:?}: {error}"));
    assert!(
        status.success(),
        "the stock plugins do not compile: see above ({build:?})"
    );
}

/// Installs the compile targets where the toolchain lacks them. The stock plugins need the first;
/// the other one is for plugins of users, and for the tests.
#[allow(clippy::expect_used, reason = "a build script reports by panicking")]
fn add_wasm_targets() {
    let mut sysroot = clean_command(&variable("RUSTC"));
    let sysroot = sysroot
        .args(["--print", "sysroot"])
        .output()
        .expect("rustc runs: it compiled this script");
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    for target in [WASM, WASI] {
        if Path::new(&sysroot)
            .join("lib/rustlib")
            .join(target)
            .is_dir()
        {
            continue;
        }
        let added = clean_command("rustup")
            .args(["target", "add", target])
            .status();
        if added.is_ok_and(|status| status.success()) {
            continue;
        }
        let way_out = format!("run `rustup target add {target}`, then build again");
        if target == WASM {
            panic!("the stock plugins need the compile target {target}: {way_out}");
        }
        println!("cargo:warning=the tests need the compile target {target}: {way_out}");
    }
}

/// A command that sees the user's environment, without what this build (or clippy, or a coverage
/// tool) set for itself.
fn clean_command(program: &str) -> Command {
    // Where to find crates and toolchains, and how to reach registries: the user's, or the
    // machine's.
    const KEPT: &[&str] = &[
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRY_",
        "CARGO_REGISTRIES_",
        "CARGO_TERM_",
    ];
    const DROPPED: &[&str] = &[
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "MAKEFLAGS",
        "MFLAGS",
        "TARGET",
        "HOST",
        "PROFILE",
        "OPT_LEVEL",
        "DEBUG",
        "OUT_DIR",
        "NUM_JOBS",
    ];
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        if of_cargo || DROPPED.contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command
}

/// Adds the instructions that every x86-64 machine since 2009 has (x86-64-v2): policies that look
/// at many servers use vectors, which take several times as long without. A machine that lacks them
/// is told so when the plugin is loaded.
#[allow(
    unsafe_code,
    reason = "the engine checks these flags against the machine before it runs the code"
)]
fn add_common_instructions(config: &mut wasmtime::Config) {
    if variable("CARGO_CFG_TARGET_ARCH") == "x86_64" {
        for flag in [
            "has_sse3",
            "has_ssse3",
            "has_sse41",
            "has_sse42",
            "has_popcnt",
        ] {
            // SAFETY: they only choose instructions of the target, and loading compares them with
            // the machine at hand.
            unsafe { config.cranelift_flag_enable(flag) };
        }
    }
}

/// The component of one plugin, of the core module that cargo made.
fn component(name: &str, module: &Path) -> Vec<u8> {
    let bytes = fs::read(module)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", module.display()));
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .unwrap_or_else(|error| panic!("plugin `{name}` is no component: {error:#}"))
}
