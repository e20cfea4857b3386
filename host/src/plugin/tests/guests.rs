//! Plugins written by hand: core modules with their component type, as toolchains emit them,
//! encoded when loaded.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wit_component::StringEncoding;
use wit_parser::Resolve;

use crate::config::model::PluginLimits;
use crate::plugin::{Compiler, Plugin, PluginError, PluginOptions, Runtime};

/// One runtime for all tests, as for a process.
pub(super) fn runtime() -> Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Runtime::new(Compiler::Here).unwrap())
        .clone()
}

/// A policy in parts; each part is WebAssembly text.
pub(super) struct Guest {
    /// Imports, data, functions and further exports.
    pub(super) more: &'static str,
    /// The bytes that `configure` answers with, from its tag on.
    pub(super) configured: &'static str,
    /// The body of `pick`, with the parameters `$lease`, `$attempt`, `$now`, `$random`,
    /// `$candidates`.
    pub(super) pick: &'static str,
    /// Further worlds whose exports it has.
    pub(super) worlds: &'static [&'static str],
}

/// `ok(worker)` and `ok(process)`.
pub(super) const WORKER: &str = r"\00\00\00\00\00";
pub(super) const PROCESS: &str = r"\00\00\00\00\01";

/// Takes the last of up to 32 candidates, so that it is told from the fallbacks, which begin with
/// the first.
pub(super) const LAST: &str =
    "(i32.sub (i32.const 63) (i32.wrap_i64 (i64.clz (local.get $candidates))))";

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            more: "",
            configured: WORKER,
            pick: LAST,
            worlds: &[],
        }
    }
}

impl Guest {
    /// The core module with its component type.
    pub(super) fn module(&self) -> Vec<u8> {
        self.typed(wat::parse_str(self.text()).unwrap())
    }

    /// The core module as text.
    pub(super) fn text(&self) -> String {
        let Guest {
            more,
            configured,
            pick,
            ..
        } = self;
        // Imports come first in a module; so does everything of `more`.
        format!(
            r#"(module {more}
              (memory (export "memory") 1)
              (global $heap (mut i32) (i32.const 4096))
              (data (i32.const 1024) "{configured}")
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (global.get $heap)
                (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get 3)) (i32.const 7)) (i32.const -8))))
              (func (export "waypost:plugin/balancer@0.1.0#configure") (param i32 i32) (result i32) (i32.const 1024))
              (func (export "waypost:plugin/balancer@0.1.0#update") (param i64 i32 i32))
              (func $pick (export "waypost:plugin/balancer@0.1.0#pick")
                (param $lease i64) (param $attempt i32) (param $now i64) (param $random i64) (param $candidates i64)
                (result i32)
                {pick}))"#
        )
    }

    /// Adds the component type to a core module.
    pub(super) fn typed(&self, mut module: Vec<u8>) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let (package, _) = resolve.push_path(wit).unwrap();
        for name in ["policy"].iter().chain(self.worlds) {
            let world = resolve.select_world(&[package], Some(name)).unwrap();
            wit_component::embed_component_metadata(
                &mut module,
                &resolve,
                world,
                StringEncoding::UTF8,
            )
            .unwrap();
        }
        module
    }

    /// Loaded, with a deadline of 20 ms and room for 2 MiB.
    pub(super) fn load(&self) -> Plugin {
        load("guest", &self.module()).unwrap()
    }
}

/// Loads bytes as the plugin `name`.
pub(super) fn load(name: &str, bytes: &[u8]) -> Result<Plugin, PluginError> {
    runtime().load(name, 1, bytes, &options())
}

/// A deadline of 20 ms and room for 2 MiB; everything granted.
pub(super) fn options() -> PluginOptions {
    PluginOptions {
        limits: PluginLimits {
            memory: 2 << 20,
            deadline: Duration::from_millis(20),
            ..PluginLimits::default()
        },
        ..PluginOptions::stock()
    }
}

/// What is said of bytes that cannot be loaded.
pub(super) fn refusal(bytes: &[u8], options: &PluginOptions) -> String {
    let loaded = runtime().load("mine", 1, bytes, options);
    loaded.map(|_| ()).unwrap_err().to_string()
}

/// The component that a text describes.
pub(super) fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}
