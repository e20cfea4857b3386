//! Plugins compiled by the real binary in a process of its own, the bounds on that process, and
//! what is kept of its work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's unwrap is its failure"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use waypost::config::model::CompileLimits;
use waypost::plugin::{Compiler, Kind, Plugin, PluginError, PluginOptions, PolicyContext, Runtime};
use wit_component::StringEncoding;
use wit_parser::Resolve;

const WAYPOST: &str = env!("CARGO_BIN_EXE_waypost");

/// A policy that always takes the first endpoint, as a core module with its component type.
fn policy() -> Vec<u8> {
    let text = r#"(module
        (import "waypost:plugin/request@0.2.0" "path" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "waypost:plugin/plugin@0.2.0#configure") (param i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "waypost:plugin/members@0.2.0#update") (param i64 i32 i32))
        (func (export "waypost:plugin/balancer@0.2.0#pick") (param i64 i32 i64 i64 i64) (result i32) (i32.const 0)))"#;
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.2.0");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("policy")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .unwrap();
    module
}

/// A component of 20,000 functions that the compiler takes its time over, in 8 MB.
fn bomb() -> Vec<u8> {
    const FUNCTIONS: u32 = 20_000;
    // 100 times: the sum of the two parameters, to the first one.
    let step = b"\x20\0\x20\x01\x6a\x21\0".as_slice();
    let body = [b"\0", &step.repeat(100)[..], b"\x20\0\x0b"].concat();
    let mut module = b"\0asm\x01\0\0\0\x01\x07\x01\x60\x02\x7f\x7f\x01\x7f".to_vec();
    section(
        &mut module,
        3,
        &[&leb(FUNCTIONS)[..], &[0; FUNCTIONS as usize]].concat(),
    );
    let entry = [leb(u32::try_from(body.len()).unwrap()), body].concat();
    section(
        &mut module,
        10,
        &[leb(FUNCTIONS), entry.repeat(FUNCTIONS as usize)].concat(),
    );
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    section(&mut component, 1, &module);
    component
}

fn section(into: &mut Vec<u8>, id: u8, content: &[u8]) {
    into.push(id);
    into.extend(leb(u32::try_from(content.len()).unwrap()));
    into.extend(content);
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A runtime whose plugins `program` compiles.
fn compiled_by(program: impl Into<PathBuf>, cache: Option<&Path>) -> Arc<Runtime> {
    let compiler = Compiler::Aside {
        program: program.into(),
        cache: cache.map(Path::to_owned),
    };
    Runtime::new(compiler).unwrap()
}

fn load(runtime: &Runtime, bytes: &[u8], compile: CompileLimits) -> Result<Plugin, String> {
    let options = PluginOptions {
        compile,
        ..PluginOptions::stock()
    };
    runtime
        .load("mine", 1, bytes, &options)
        .map_err(|error: PluginError| error.to_string())
}

fn refusal(program: impl Into<PathBuf>, bytes: &[u8], compile: CompileLimits) -> String {
    load(&compiled_by(program, None), bytes, compile)
        .map(|_| ())
        .unwrap_err()
}

fn within(time: Duration) -> CompileLimits {
    CompileLimits {
        time,
        ..CompileLimits::default()
    }
}

/// A stand-in for the compiler, of those in `compiler.sh`.
fn stand_in(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    let file = folder.path().join(name);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compiler.sh");
    std::os::unix::fs::symlink(script, &file).unwrap();
    file
}

#[test]
fn a_plugin_is_compiled_aside_and_serves() {
    let plugin = load(
        &compiled_by(WAYPOST, None),
        &policy(),
        CompileLimits::default(),
    )
    .unwrap();
    assert_eq!(plugin.interfaces(), ["policy"]);
    assert!(
        plugin
            .configure(
                Kind::Policy,
                &serde_json::json!({}),
                &PolicyContext::default()
            )
            .is_ok()
    );
}

#[test]
fn the_compiler_aside_says_what_the_one_here_says() {
    let here = Runtime::new(Compiler::Here).unwrap();
    let untyped = wat::parse_str("(module)").unwrap();
    let invalid = wat::parse_str("(component (core module (func (result i32))))").unwrap();
    for bytes in [untyped, invalid] {
        let said = load(&here, &bytes, CompileLimits::default())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refusal(WAYPOST, &bytes, CompileLimits::default()), said);
    }
}

#[test]
fn what_was_compiled_once_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = policy();
    let gone = compiled_by("/nowhere/waypost", Some(folder.path()));
    let load = |runtime: &Runtime| load(runtime, &bytes, CompileLimits::default());
    let error = load(&gone).map(|_| ()).unwrap_err();
    assert!(error.contains("cannot run /nowhere/waypost"), "{error}");

    let real = compiled_by(WAYPOST, Some(folder.path()));
    load(&real).unwrap();
    load(&gone).unwrap();

    // An entry that was altered is not run, but compiled anew.
    let entry = fs::read_dir(folder.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut code = fs::read(&entry).unwrap();
    *code.last_mut().unwrap() ^= 1;
    fs::write(&entry, code).unwrap();
    load(&gone).map(|_| ()).unwrap_err();
    load(&real).unwrap();
    load(&gone).unwrap();
}

#[test]
fn bounds_hold_for_what_was_compiled_before_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = compiled_by(WAYPOST, Some(folder.path()));
    load(&runtime, &policy(), CompileLimits::default()).unwrap();
    let fewer = CompileLimits {
        functions: 3,
        ..CompileLimits::default()
    };
    let error = load(&runtime, &policy(), fewer).map(|_| ()).unwrap_err();
    assert!(error.contains("has 4 functions, more than 3"), "{error}");
}

#[test]
fn a_plugin_that_takes_too_long_to_compile_is_stopped_and_the_key_named() {
    let begun = Instant::now();
    let error = refusal(WAYPOST, &bomb(), within(Duration::from_secs(1)));
    // The compiler gives way to others: beside a busy machine, the wall clock may come first.
    let by_either_clock = [
        "1s of processor time",
        "10s, 10 times its `limits.compile_time`",
    ]
    .map(|clock| {
        format!(
            "plugin `mine` is not compiled within {clock}: \
             raise its `limits.compile_time` if you trust it with more"
        )
    });
    assert!(by_either_clock.contains(&error), "{error}");
    assert!(
        begun.elapsed() < Duration::from_secs(60),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_plugin_that_takes_too_much_memory_to_compile_is_stopped_and_the_key_named() {
    let little = CompileLimits {
        memory: 192 << 20,
        ..CompileLimits::default()
    };
    assert_eq!(
        refusal(WAYPOST, &bomb(), little),
        "plugin `mine` takes more than 201326592 bytes of memory to compile: \
         raise its `limits.compile_memory` if you trust it with more"
    );
    let hardly_any = CompileLimits {
        memory: 1 << 20,
        ..CompileLimits::default()
    };
    let error = refusal(WAYPOST, &policy(), hardly_any);
    assert!(
        error.contains("raise its `limits.compile_memory`"),
        "{error}"
    );
    // The first bound is enough for others.
    load(&compiled_by(WAYPOST, None), &policy(), little).unwrap();
}

#[test]
fn a_compiler_that_neither_reads_nor_answers_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    // More than a pipe holds.
    let error = refusal(
        stand_in(&folder, "hangs"),
        &bomb(),
        within(Duration::from_millis(300)),
    );
    assert!(
        error.contains("is not compiled within 3s, 10 times its `limits.compile_time`"),
        "{error}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_compiler_that_talks_without_end_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let too_much = stand_in(&folder, "floods");
    let error = refusal(too_much, &policy(), CompileLimits::default());
    assert!(error.contains("bytes of machine code"), "{error}");
    let chatty = stand_in(&folder, "chats");
    let error = refusal(chatty, &policy(), CompileLimits::default());
    assert!(
        error.starts_with("plugin `mine` does not compile: waypost\\nwaypost"),
        "{error}"
    );
    assert!(error.len() < 5000, "{}", error.len());
}

#[test]
fn a_compiler_that_dies_is_no_more_than_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let dies = stand_in(&folder, "dies");
    assert_eq!(
        refusal(dies, &policy(), CompileLimits::default()),
        "plugin `mine` does not compile: the compiler failed (signal: 11 (SIGSEGV)): last words"
    );
    // What it left is no code.
    let empty = stand_in(&folder, "says-nothing");
    let error = refusal(empty, &policy(), CompileLimits::default());
    assert!(
        error.starts_with("plugin `mine` does not compile"),
        "{error}"
    );
}

/// The priority of a process, of its `/proc/PID/stat`. proc(5): the name in parentheses is field 2, and `nice` field 19.
fn nice(stat: &str) -> i32 {
    let fields = stat.rsplit_once(") ").unwrap().1;
    fields.split(' ').nth(16).unwrap().parse().unwrap()
}

#[test]
fn the_compiler_gives_way_and_knows_nothing_of_our_environment() {
    let folder = tempfile::tempdir().unwrap();
    let tells = stand_in(&folder, "tells-environment");
    let error = refusal(tells, &policy(), CompileLimits::default());
    assert!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !error.contains("CARGO"),
        "{error}"
    );
    // Its priority, seen while it waits for its input.
    let mut child = Command::new(WAYPOST)
        .args(["compile-plugin", "--memory", "1073741824", "--seconds", "9"])
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let seen = |what: &str| fs::read_to_string(format!("/proc/{}/{what}", child.id())).unwrap();
    let begun = Instant::now();
    // The last of its bounds is that of its memory.
    while !seen("limits").contains("1073741824") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            seen("limits")
        );
        // Nothing tells when a process bounds itself.
        std::thread::sleep(Duration::from_millis(5));
    }
    let (stat, limits) = (seen("stat"), seen("limits"));
    // Ten steps behind the process that asks for it, which need not have the usual priority itself.
    let own = nice(&fs::read_to_string("/proc/self/stat").unwrap());
    assert_eq!(nice(&stat), (own + 10).min(19));
    let line = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..]
            .split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line("Max core file size"), ["0", "0"]);
    assert_eq!(line("Max cpu time"), ["9", "10"]);
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn inspect(file: &Path) -> Output {
    Command::new(WAYPOST)
        .args(["plugin", "inspect"])
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn inspect_tells_what_a_plugin_is_and_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.wasm");
    fs::write(&file, policy()).unwrap();
    let output = inspect(&file);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let facts: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("sha256 ") && !line.starts_with("size "))
        .collect();
    assert_eq!(
        facts,
        [
            "name        first",
            "kind        core module, of which a component is made when it is loaded",
            "functions   4",
            "exports     waypost:plugin/balancer@0.2.0",
            "            waypost:plugin/members@0.2.0",
            "            waypost:plugin/plugin@0.2.0",
            "imports     waypost:plugin/request@0.2.0",
            "grants      grants = [\"request\"]",
            "loads       yes: policy",
        ]
    );
    let hash = waypost::plugin::Hash::of(&policy());
    assert!(text.contains(&format!("sha256      {hash}\n")), "{text}");
}

#[test]
fn inspect_tells_programs_the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, code) in [
        ("first", policy(), 0),
        ("none", wat::parse_str("(component)").unwrap(), 1),
    ] {
        let file = folder.path().join(name).with_extension("wasm");
        fs::write(&file, bytes).unwrap();
        let mut command = Command::new(WAYPOST);
        let output = command.args(["plugin", "inspect", "--json"]).arg(&file);
        let output = output.output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["name"], name);
        match code {
            0 => {
                assert_eq!(told["grants"], serde_json::json!(["request"]));
                assert_eq!(told["interfaces"], serde_json::json!(["policy"]));
                assert_eq!(told["error"], serde_json::Value::Null);
            }
            _ => {
                let error = told["error"].as_str().unwrap();
                assert!(error.contains("exports none of"), "{error}");
                assert_eq!(told["interfaces"], serde_json::Value::Null);
            }
        }
    }
}

#[test]
fn inspect_tells_why_a_plugin_cannot_be_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.wasm");
    fs::write(&file, wat::parse_str("(component)").unwrap()).unwrap();
    let output = inspect(&file);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("kind        component\n")
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with(
            "error: plugin `none` exports none of `waypost:plugin/balancer`, `filter`, `scorer`"
        ),
        "{error}"
    );
}
