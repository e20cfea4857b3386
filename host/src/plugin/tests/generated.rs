//! Plugins that no programmer would write: a thousand of them, made by wasm-smith of fixed seeds,
//! loaded and called.
//!
//! Whatever they are and do, the process neither crashes nor hangs, and keeps next to nothing of
//! them.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use rustix::time::{ClockId, clock_gettime};
use wasm_smith::{Component, Config, Module};

use crate::config::model::PluginLimits;
use crate::plugin::imports::Surroundings;
use crate::plugin::instance::Instance;
use crate::plugin::policy::Policy;
use crate::plugin::{Ending, FleetView as _, Outcome, Plugin, PluginError, PluginOptions};

use super::guests::{Guest, runtime};
use super::peers::{Endpoints, attempt, exchange, logged};

const COMPONENTS: u64 = 400;
const MODULES: u64 = 600;
/// Random bytes that one input is made of.
const SEED: usize = 2048;
/// Processor time of the whole run; a debug build takes a fifth of it. One that waits and computes
/// nothing is given ten times as long: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the process may keep of 540 modules, half of which get a memory of 64 KiB several times
/// over. It keeps 1 to 5 MiB.
const KEPT: u64 = 32 << 20;

/// What a policy exports to its encoder, and its memory.
const EXPORTS: &str = r#"(module
    (memory (export "memory") 1 4)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "waypost:plugin/plugin@0.2.0#configure") (param i32 i32 i32) (result i32) unreachable)
    (func (export "waypost:plugin/members@0.2.0#update") (param i64 i32 i32))
    (func (export "waypost:plugin/balancer@0.2.0#pick") (param i64 i32 i64 i64 i64) (result i32) unreachable)
    (func (export "waypost:plugin/failures@0.2.0#failed") (param i32))
    (func (export "waypost:plugin/observer@0.2.0#done") (param i64 i32 i32 i32 i32 i32 i32)))"#;

/// Of what the host offers: numbers, and pointers that are random too.
const IMPORTS: &str = r#"(module
    (import "waypost:plugin/fleet@0.2.0" "candidates" (func (param i32) (result i64)))
    (import "waypost:plugin/fleet@0.2.0" "in-flight" (func (param i32) (result i32)))
    (import "waypost:plugin/fleet@0.2.0" "all-in-flight" (func (param i32)))
    (import "waypost:plugin/request@0.2.0" "path" (func (param i32)))
    (import "waypost:plugin/request@0.2.0" "header" (func (param i32 i32 i32)))
    (import "waypost:plugin/variables@0.2.0" "variable" (func (param i32 i32 i32)))
    (import "waypost:plugin/attempt@0.2.0" "set-memo" (func (param i64)))
    (import "waypost:plugin/attempt@0.2.0" "add-response-header" (func (param i32 i32 i32 i32)))
    (import "waypost:plugin/log@0.2.0" "write" (func (param i32 i32 i32))))"#;

/// Short calls and a small memory.
fn options() -> PluginOptions {
    PluginOptions {
        limits: PluginLimits {
            memory: Some(1 << 20),
            deadline: Some(Duration::from_millis(1)),
            ..PluginLimits::default()
        },
        ..PluginOptions::stock()
    }
}

/// Bytes that depend on the seed alone.
fn bytes(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..SEED).map(|_| random.u8(..)).collect()
}

/// Small, and of the instructions that the engine has.
fn config() -> Config {
    Config {
        max_instructions: 60,
        max_funcs: 12,
        max_memories: 1,
        max_table_elements: 1000,
        max_nesting_depth: 4,
        exceptions_enabled: false,
        gc_enabled: false,
        reference_types_enabled: false, // `externref` is a thing of the collector too
        memory64_enabled: false,
        threads_enabled: false,
        ..Config::default()
    }
}

fn component(seed: u64) -> Vec<u8> {
    let bytes = bytes(seed);
    let component = Component::new(config(), &mut Unstructured::new(&bytes)).unwrap();
    component.to_bytes()
}

fn module(seed: u64) -> Vec<u8> {
    let bytes = bytes(seed);
    let config = Config {
        exports: Some(wat::parse_str(EXPORTS).unwrap()),
        available_imports: Some(wat::parse_str(IMPORTS).unwrap()),
        max_data_segments: 3,
        ..config()
    };
    let module = Module::new(config, &mut Unstructured::new(&bytes)).unwrap();
    let worlds = Guest {
        worlds: &["with-failures", "with-observer"],
        ..Guest::default()
    };
    worlds.typed(module.to_bytes())
}

fn load(bytes: &[u8]) -> Result<Plugin, PluginError> {
    runtime().load("generated", 1, bytes, &options())
}

/// Makes every call that a policy is ever called by, each on an instance that has not failed. How
/// many were answered.
fn call(plugin: &Plugin) -> usize {
    let exchange = exchange(0b111);
    let outcome = Outcome {
        ending: Ending::Completed,
        status: 200,
        connect_us: 1,
        header_us: 2,
        total_us: 3,
    };
    type Call<'a> = &'a dyn Fn(&mut Instance<Policy>) -> bool;
    let calls: [Call<'_>; 5] = [
        &|instance| instance.configure("{}").is_ok(),
        &|instance| instance.update(1, Endpoints(3).endpoints()).is_ok(),
        &|instance| instance.pick(&exchange, &attempt(1), 0b111).is_ok(),
        &|instance| instance.failed(1).is_ok(),
        &|instance| instance.done(&exchange, 1, 1, &outcome).is_ok(),
    ];
    let mut answered = 0;
    let mut kept = None;
    for call in calls {
        let fresh = || {
            let surroundings = Surroundings {
                fleet: Some(Arc::new(Endpoints(3))),
                ..Surroundings::default()
            };
            Instance::new(plugin, surroundings).ok()
        };
        let Some(mut instance) = kept.take().or_else(fresh) else {
            continue;
        };
        if call(&mut instance) {
            answered += 1;
            kept = Some(instance);
        }
    }
    answered
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

/// What this process has used of processors.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

/// Loads and calls all of them. How many of the modules were called, and how many of their calls
/// were answered.
fn run() -> (usize, usize) {
    let (mut called, mut answered, mut warm) = (0, 0, 0);
    for seed in 0..COMPONENTS {
        // Random components are no policies; what matters is that they are taken apart in peace.
        assert!(load(&component(seed)).is_err());
    }
    for seed in 0..MODULES {
        if seed == MODULES / 10 {
            warm = resident();
        }
        if let Ok(plugin) = load(&module(seed)) {
            answered += call(&plugin);
            called += usize::from(plugin.stats().calls > 0);
        }
    }
    let grown = resident().saturating_sub(warm);
    assert!(grown < KEPT, "{grown} bytes were kept");
    (called, answered)
}

#[test]
fn a_thousand_plugins_made_at_random_harm_nobody() {
    // In a process of its own: what other tests keep does not count, and a crash would be told as
    // what it is.
    const ALONE: &str = "WAYPOST_GENERATED_PLUGINS";
    if std::env::var_os(ALONE).is_none() {
        let name = concat!(
            module_path!(),
            "::a_thousand_plugins_made_at_random_harm_nobody"
        );
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name.split_once("::").unwrap().1])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{}: {said}",
            output.status
        );
        return;
    }
    std::thread::spawn(|| {
        let began = Instant::now();
        while processor_time() < PATIENCE && began.elapsed() < 10 * PATIENCE {
            std::thread::sleep(Duration::from_secs(1));
        }
        println!("a plugin hangs");
        std::process::exit(1);
    });
    let mut counts = (0, 0);
    logged(|| counts = run()); // what they log is not looked at
    let quarter = usize::try_from(MODULES).unwrap() / 4;
    let (called, answered) = counts;
    // A good part must really run, or all of this shows nothing.
    assert!(called >= quarter, "only {called} modules were called");
    assert!(answered >= quarter, "only {answered} calls were answered");
}
