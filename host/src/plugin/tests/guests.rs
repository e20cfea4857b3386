//! Plugins written by hand: core modules with their component type, as toolchains emit them,
//! encoded when loaded.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wit_component::StringEncoding;
use wit_parser::{PackageId, Resolve};

use crate::config::model::PluginLimits;
use crate::plugin::{Compiler, Plugin, PluginError, PluginOptions, Runtime};

/// One runtime for all tests, as for a process.
pub(super) fn runtime() -> Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| Runtime::new(Compiler::Here).unwrap())
        .clone()
}

/// `round_robin`, which takes turns from the first endpoint on.
pub(super) fn round_robin() -> Plugin {
    runtime().stock("round_robin").unwrap().unwrap()
}

/// The contract, read.
pub(super) fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.2.0");
    let (package, _) = resolve.push_path(wit).unwrap();
    (resolve, package)
}

/// A plugin in parts; each part is WebAssembly text.
#[derive(Clone, Copy)]
pub(super) struct Guest {
    /// Imports, data, functions and further exports.
    pub(super) more: &'static str,
    /// What `configure` does before it answers; with the parameters `$kind`, `$settings` and
    /// `$length`.
    pub(super) setup: &'static str,
    /// What `attach` of a hook does before it accepts; with the parameters `$place`, `$settings`
    /// and `$length`.
    pub(super) attach: &'static str,
    /// The bytes that `configure` answers with, from its tag on.
    pub(super) configured: &'static str,
    /// What it is good for.
    pub(super) is: Is,
    /// Further worlds whose exports it has.
    pub(super) worlds: &'static [&'static str],
}

/// The body of the call that a kind of plugin is there for.
#[derive(Clone, Copy)]
pub(super) enum Is {
    /// `pick`, with the parameters `$lease`, `$attempt`, `$now`, `$random`, `$candidates`.
    Policy(&'static str),
    /// `narrow`, with `$word`, `$candidates`, `$attempt`, `$now`, `$random`; and `may-be-ignored`.
    Filter(&'static str, &'static str),
    /// `score`, with `$attempt`, `$now`, `$random`: the address of its answer.
    Scorer(&'static str),
    /// `on-request`, with `$exchange`, `$place`, `$now`, `$random`.
    Hook(&'static str),
    /// A hook without `on-request`.
    Observer,
}

/// `ok(per-worker)` and `ok(per-process)`; and `ok(per-key("$arg_user"))`, whose text is at 1,056.
pub(super) const WORKER: &str = r"\00\00\00\00\00";
pub(super) const PROCESS: &str = r"\00\00\00\00\01";
pub(super) const PER_USER: &str = concat!(
    r"\00\00\00\00\02\00\00\00\20\04\00\00\09\00\00\00",
    r"\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00$arg_user"
);

/// Takes the last of up to 32 candidates, so that it is told from the fallbacks, which begin with
/// the first.
pub(super) const LAST: &str =
    "(i32.sub (i32.const 63) (i32.wrap_i64 (i64.clz (local.get $candidates))))";

impl Default for Guest {
    fn default() -> Guest {
        Guest {
            more: "",
            setup: "",
            attach: "",
            configured: WORKER,
            is: Is::Policy(LAST),
            worlds: &[],
        }
    }
}

impl Is {
    fn worlds(self) -> &'static [&'static str] {
        match self {
            Is::Policy(_) => &["policy"],
            Is::Filter(..) => &["endpoint-filter"],
            Is::Scorer(_) => &["endpoint-scorer"],
            Is::Hook(_) => &["request-hook", "with-on-request"],
            Is::Observer => &["request-hook"],
        }
    }

    fn exports(self, attach: &str) -> String {
        let update = r#"(func (export "waypost:plugin/members@0.2.0#update") (param i64 i32 i32))"#;
        let attach = format!(
            r#"(data (i32.const 1100) "\00")
            (func (export "waypost:plugin/hook@0.2.0#attach")
              (param $place i32) (param $settings i32) (param $length i32) (result i32)
              {attach}
              (i32.const 1100))"#
        );
        match self {
            Is::Policy(pick) => format!(
                r#"{update}
                (func $pick (export "waypost:plugin/balancer@0.2.0#pick")
                  (param $lease i64) (param $attempt i32) (param $now i64) (param $random i64)
                  (param $candidates i64) (result i32)
                  {pick})"#
            ),
            Is::Filter(narrow, ignored) => format!(
                r#"{update}
                (func (export "waypost:plugin/filter@0.2.0#narrow")
                  (param $word i32) (param $candidates i64) (param $attempt i32) (param $now i64)
                  (param $random i64) (result i64)
                  {narrow})
                (func (export "waypost:plugin/filter@0.2.0#may-be-ignored") (result i32)
                  {ignored})"#
            ),
            Is::Scorer(score) => format!(
                r#"{update}
                (func (export "waypost:plugin/scorer@0.2.0#score")
                  (param $attempt i32) (param $now i64) (param $random i64) (result i32)
                  {score})"#
            ),
            Is::Hook(on_request) => format!(
                r#"{attach}
                (func $on-request (export "waypost:plugin/on-request@0.2.0#on-request")
                  (param $exchange i64) (param $place i32) (param $now i64) (param $random i64)
                  (result i32)
                  {on_request})"#
            ),
            Is::Observer => attach,
        }
    }
}

impl Guest {
    /// A policy that picks so.
    pub(super) fn picks(pick: &'static str) -> Guest {
        Guest {
            is: Is::Policy(pick),
            ..Guest::default()
        }
    }

    /// A hook with this body of `on-request`.
    pub(super) fn asked(on_request: &'static str) -> Guest {
        Guest {
            is: Is::Hook(on_request),
            ..Guest::default()
        }
    }

    /// The core module with its component type.
    pub(super) fn module(&self) -> Vec<u8> {
        self.typed(wat::parse_str(self.text()).unwrap())
    }

    /// The core module as text.
    pub(super) fn text(&self) -> String {
        let Guest {
            more,
            setup,
            attach,
            configured,
            is,
            ..
        } = self;
        let exports = is.exports(attach);
        // Imports come first in a module; so does everything of `more`.
        format!(
            r#"(module {more}
              (memory (export "memory") 1)
              (global $heap (mut i32) (i32.const 4096))
              (data (i32.const 1024) "{configured}")
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (if (i32.gt_u (global.get $heap) (i32.const 32768))
                  (then (global.set $heap (i32.const 4096)))) ;; nothing is kept for long
                (global.get $heap)
                (global.set $heap (i32.and (i32.add (i32.add (global.get $heap) (local.get 3)) (i32.const 7)) (i32.const -8))))
              (func (export "waypost:plugin/plugin@0.2.0#configure")
                (param $kind i32) (param $settings i32) (param $length i32) (result i32)
                {setup}
                (i32.const 1024))
              {exports})"#
        )
    }

    /// Adds the component type to a core module.
    pub(super) fn typed(&self, module: Vec<u8>) -> Vec<u8> {
        let worlds = self.is.worlds().iter().chain(self.worlds).copied();
        typed(module, worlds)
    }

    /// Loaded, with [`DEADLINE`] and room for 2 MiB.
    pub(super) fn load(&self) -> Plugin {
        load("guest", &self.module()).unwrap()
    }

    /// Loaded on these terms.
    pub(super) fn load_with(&self, options: &PluginOptions) -> Plugin {
        runtime().load("guest", 1, &self.module(), options).unwrap()
    }
}

/// Adds the component type of these worlds to a core module.
pub(super) fn typed<'a>(mut module: Vec<u8>, worlds: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let (resolve, package) = contract();
    for name in worlds {
        let world = resolve.select_world(&[package], Some(name)).unwrap();
        let encoding = StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    }
    module
}

/// Loads bytes as the plugin `name`.
pub(super) fn load(name: &str, bytes: &[u8]) -> Result<Plugin, PluginError> {
    runtime().load(name, 1, bytes, &options())
}

/// Of each call: long enough for a machine that does something else meanwhile, and no longer than a
/// test of an endless loop may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);

/// [`DEADLINE`] and room for 2 MiB; everything granted.
pub(super) fn options() -> PluginOptions {
    PluginOptions {
        limits: PluginLimits {
            memory: Some(2 << 20),
            deadline: Some(DEADLINE),
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
