//! The engine, the clock that stops calls which run on, and the plugins that come with the host.
//!
//! One engine for the whole process: code is compiled once and shared by all workers; instances are theirs alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, EngineWeak};

use crate::config::model::PluginLimits;

use super::component::{self, Plugin};
use super::engine_config::engine_config;
use super::error::PluginError;
use super::host_calls::{self, HostState};
use super::wasi;

/// The stock plugins as the build script left them: names, and code for exactly this engine.
mod stock {
    include!(concat!(env!("OUT_DIR"), "/stock_plugins.rs"));
}

/// Loads plugins. One for the process.
pub struct Runtime {
    engine: Engine,
    linker: Linker<HostState>,
    clock: Arc<Clock>,
    stock: Vec<Plugin>,
}

impl Runtime {
    /// Starts the engine and takes in the stock plugins, which are compiled already: a few milliseconds.
    pub fn new() -> Result<Arc<Runtime>, PluginError> {
        let unusable = |error: wasmtime::Error| PluginError::Engine {
            reason: format!("{error:#}"),
        };
        let engine = Engine::new(&engine_config()).map_err(unusable)?;
        let mut linker = Linker::new(&engine);
        host_calls::add_to(&mut linker)
            .and_then(|()| wasi::add_to(&mut linker))
            .map_err(unusable)?;
        let clock = Clock::start(&engine, PERIOD).map_err(|error| PluginError::Engine {
            reason: error.to_string(),
        })?;
        let mut runtime = Runtime {
            engine,
            linker,
            clock,
            stock: Vec::new(),
        };
        for (name, code) in stock::PLUGINS {
            let component = runtime.embedded(code).map_err(unusable)?;
            runtime
                .stock
                .push(runtime.plugin(name, &component, PluginLimits::default())?);
        }
        Ok(Arc::new(runtime))
    }

    /// The plugins that come with the host, sorted.
    pub fn stock_names() -> &'static [&'static str] {
        stock::NAMES
    }

    /// A plugin that comes with the host.
    pub fn stock(&self, name: &str) -> Option<Plugin> {
        self.stock
            .iter()
            .find(|plugin| plugin.name() == name)
            .cloned()
    }

    /// Loads a component, or a core module that carries its component type, and compiles it: milliseconds for most
    /// languages, many seconds for those that bring an interpreter.
    pub fn load(
        &self,
        name: &str,
        file: &Path,
        limits: PluginLimits,
    ) -> Result<Plugin, PluginError> {
        let bytes = std::fs::read(file).map_err(|source| PluginError::Read {
            plugin: name.to_owned(),
            file: file.to_owned(),
            source,
        })?;
        let component = component::compile(&self.engine, name, &bytes)?;
        self.plugin(name, &component, limits)
    }

    fn plugin(
        &self,
        name: &str,
        component: &Component,
        limits: PluginLimits,
    ) -> Result<Plugin, PluginError> {
        Plugin::link(&self.linker, &self.clock, name, component, limits)
    }

    #[allow(
        unsafe_code,
        reason = "the engine runs what it is given here unchecked: only ever code that our own build script compiled \
                  and the linker put into this binary; settings and version are compared even so"
    )]
    fn embedded(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `code` is one of `stock::PLUGINS`, the unmodified output of `Engine::precompile_component`.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

/// One tick of the clock, and the unit of deadlines.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// The longest deadline. The clock stops after a longer silence only, so it never stops on a call under way.
pub(super) const LONGEST_DEADLINE: Duration = Duration::from_secs(5);
/// Ticks after which the clock stops if nobody has called a plugin meanwhile: twice the longest deadline.
const PERIOD: u32 = 10_000;

/// Advances the engine's epoch every millisecond while plugins are called.
///
/// A thread of its own, because a worker that is stuck in a plugin cannot run a task that would free it.
pub(super) struct Clock {
    shared: Arc<ClockState>,
    thread: Thread,
}

struct ClockState {
    /// Set by calls, cleared by the clock once in a period: mostly read, so workers share its cache line in peace.
    wanted: AtomicBool,
    stop: AtomicBool,
}

impl Clock {
    fn start(engine: &Engine, period: u32) -> std::io::Result<Arc<Clock>> {
        let shared = Arc::new(ClockState {
            wanted: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let (state, engine) = (shared.clone(), engine.weak());
        let thread = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || tick(&state, &engine, period))?;
        Ok(Arc::new(Clock {
            shared,
            thread: thread.thread().clone(),
        }))
    }

    /// Sees to it that the clock runs. Before every call; two instructions if it does.
    #[inline]
    pub(super) fn wake(&self) {
        if !self.shared.wanted.load(Relaxed) {
            self.shared.wanted.store(true, Relaxed);
            self.thread.unpark();
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.thread.unpark();
    }
}

fn tick(state: &ClockState, engine: &EngineWeak, period: u32) {
    loop {
        for _ in 0..period {
            thread::sleep(TICK);
            match engine.upgrade() {
                Some(engine) if !state.stop.load(Relaxed) => engine.increment_epoch(),
                _ => return,
            }
        }
        // A call that began just before this swap has the whole next period before the clock can stop.
        if !state.wanted.swap(false, Relaxed) {
            while !state.wanted.load(Relaxed) && !state.stop.load(Relaxed) {
                thread::park();
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test reports by panicking")]
mod tests {
    use wasmtime::{Instance, Module, Store, Trap};

    use super::*;

    /// Functions `loops` and `returns`, in a store of their own.
    fn call(engine: &Engine, name: &str, after: Duration) -> wasmtime::Result<()> {
        let text = r#"(module (func (export "loops") (loop (br 0))) (func (export "returns")))"#;
        let module = Module::new(engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        store.set_epoch_deadline(2);
        thread::sleep(after);
        function.call(&mut store, ())
    }

    #[test]
    fn the_clock_stops_when_nobody_calls_plugins_and_runs_again_for_the_next_call() {
        let engine = Engine::new(&engine_config()).unwrap();
        let clock = Clock::start(&engine, 5).unwrap();
        clock.wake();
        let late = call(&engine, "returns", Duration::from_millis(5));
        assert_eq!(
            late.unwrap_err().downcast::<Trap>().unwrap(),
            Trap::Interrupt
        );

        thread::sleep(Duration::from_millis(200));
        call(&engine, "returns", Duration::from_millis(50)).unwrap();

        clock.wake();
        let looped = call(&engine, "loops", Duration::ZERO);
        assert_eq!(
            looped.unwrap_err().downcast::<Trap>().unwrap(),
            Trap::Interrupt
        );
    }
}
