//! The engine, and the plugins that come with the host.
//!
//! One engine for the whole process: code is compiled once and shared by all workers; instances are
//! theirs alone.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::config::model::CompileLimits;

use super::cache::Cache;
use super::clock::{self, EpochClock};
use super::compile_process;
use super::component::{self, Code, Identity, Linkers, Plugin};
use super::debug_lines::DebugLines;
use super::engine_config::engine_config;
use super::error::PluginError;
use super::file;
use super::hash::Hash;
use super::history::PluginHistory;
use super::inspect::Inspection;
use super::options::PluginOptions;
use super::untrusted::Untrusted;
use crate::store::Store;

/// The stock plugins as the build script left them: code for exactly this engine.
mod stock {
    include!(concat!(env!("OUT_DIR"), "/stock_plugins.rs"));
}

/// Where plugins are compiled that are not compiled yet.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In this process, without bounds on time and memory. For plugins that are trusted, as those
    /// of tests are.
    Here,
    /// In a process of its own, which `program` (a `waypost`) is run for, within the bounds of the
    /// plugin's options.
    Aside {
        program: PathBuf,
        /// Where machine code is kept; nowhere if there is none.
        cache: Option<PathBuf>,
    },
}

impl Compiler {
    /// A process of this very program.
    ///
    /// # Errors
    /// Where the system does not tell which program this is.
    pub fn child_process(cache: Option<PathBuf>) -> std::io::Result<Compiler> {
        let program = match cfg!(target_os = "linux") {
            // Not its path, under which there may be another version by now.
            true => PathBuf::from("/proc/self/exe"),
            false => std::env::current_exe()?,
        };
        Ok(Compiler::Aside { program, cache })
    }
}

/// A [`Compiler`] at work.
enum CompilerBackend {
    Here,
    Aside {
        program: PathBuf,
        cache: Option<Cache>,
    },
}

/// Loads plugins. One for the process.
pub struct Runtime {
    engine: Engine,
    compiler_backend: CompilerBackend,
    linkers: Linkers,
    clock: Arc<EpochClock>,
    alarm: Arc<Notify>,
    /// The plugins that come with the host, in the order of [`stock::PLUGINS`]: each is taken in
    /// when it is first named.
    stock: Vec<OnceLock<Plugin>>,
    /// By name. One for each plugin that a configuration has named.
    histories: Mutex<HashMap<String, Arc<PluginHistory>>>,
    /// What plugins share.
    store: Arc<Store>,
}

impl Runtime {
    /// Starts the engine: a few milliseconds. What plugins share is in this process.
    pub fn new(compiler: Compiler) -> Result<Arc<Runtime>, PluginError> {
        Runtime::with_store(compiler, Arc::default())
    }

    /// As [`new`](Runtime::new), with what plugins share.
    pub fn with_store(compiler: Compiler, store: Arc<Store>) -> Result<Arc<Runtime>, PluginError> {
        let engine = Engine::new(&engine_config()).map_err(unusable)?;
        let linkers = Linkers::new(&engine);
        let clock =
            EpochClock::start(&engine, clock::PERIOD).map_err(|error| PluginError::Engine {
                reason: error.to_string(),
            })?;
        let compiler_backend = match compiler {
            Compiler::Here => CompilerBackend::Here,
            Compiler::Aside { program, cache } => CompilerBackend::Aside {
                program,
                cache: cache.and_then(|directory| Cache::open(&directory, fingerprint(&engine))),
            },
        };
        Ok(Arc::new(Runtime {
            engine,
            compiler_backend,
            linkers,
            clock,
            alarm: Arc::default(),
            stock: vec![OnceLock::new(); stock::PLUGINS.len()],
            histories: Mutex::default(),
            store,
        }))
    }

    /// A plugin that comes with the host, which is compiled already; none of that name if there is
    /// none.
    ///
    /// # Errors
    /// The engine cannot run what was compiled for it.
    pub fn stock(&self, name: &str) -> Result<Option<Plugin>, PluginError> {
        let place = stock::PLUGINS.iter().position(|(known, ..)| *known == name);
        let Some(place) = place else {
            return Ok(None);
        };
        if let Some(plugin) = self.stock[place].get() {
            return Ok(Some(plugin.clone()));
        }
        let (name, hash, code) = stock::PLUGINS[place];
        let component = self.own(code).map_err(unusable)?;
        let code = Code {
            component,
            lines: DebugLines::default(), // they are built without debug information
        };
        let identity = Identity {
            name,
            version: 1,
            hash: Hash(hash),
            file_size: 0, // what it may do is said in its options
            history: self.history(name),
            store: &self.store,
        };
        let plugin = self.link(&identity, code, &PluginOptions::stock())?;
        Ok(Some(self.stock[place].get_or_init(|| plugin).clone()))
    }

    /// Loads a component, or a core module that carries its component type. Blocks while it is
    /// compiled: milliseconds for most languages, many seconds for those that bring an interpreter;
    /// next to nothing if it was before.
    ///
    /// `version` counts the plugin's versions, from 1.
    ///
    /// # Errors
    /// Whatever keeps it from serving: it is of no kind, exceeds a bound of its options, or imports
    /// what they do not grant.
    pub fn load(
        &self,
        name: &str,
        version: u64,
        bytes: &[u8],
        options: &PluginOptions,
    ) -> Result<Plugin, PluginError> {
        check_bounds(name, bytes, &options.compile)?;
        let hash = Hash::of(bytes);
        let code = match self.kept(&hash, bytes.len()) {
            Some(code) => code,
            None => self.compile(name, &hash, bytes, &options.compile)?,
        };
        self.link_version(name, version, hash, bytes.len(), code, options)
    }

    /// As [`load`](Runtime::load), of what was compiled before; none where it was not.
    ///
    /// # Errors
    /// As for [`load`](Runtime::load).
    pub fn load_compiled(
        &self,
        name: &str,
        version: u64,
        bytes: &[u8],
        options: &PluginOptions,
    ) -> Result<Option<Plugin>, PluginError> {
        check_bounds(name, bytes, &options.compile)?;
        let hash = Hash::of(bytes);
        let kept = self.kept(&hash, bytes.len());
        kept.map(|code| self.link_version(name, version, hash, bytes.len(), code, options))
            .transpose()
    }

    /// Code that was kept when it was compiled.
    fn kept(&self, hash: &Hash, file_size: usize) -> Option<Code> {
        let CompilerBackend::Aside { cache, .. } = &self.compiler_backend else {
            return None;
        };
        let answer = cache
            .as_ref()?
            .get(hash, compile_process::most_code(file_size))?;
        self.take(&answer).ok()
    }

    fn compile(
        &self,
        name: &str,
        hash: &Hash,
        bytes: &[u8],
        limits: &CompileLimits,
    ) -> Result<Code, PluginError> {
        match &self.compiler_backend {
            CompilerBackend::Here => self.compile_here(name, bytes),
            CompilerBackend::Aside { program, cache } => {
                let answer = compile_process::compile(program, name, bytes, limits)?;
                let code = self.take(&answer);
                let code = code.map_err(|error| not_compiled(name, &error))?;
                if let Some(cache) = cache {
                    cache.put(hash, &answer);
                }
                Ok(code)
            }
        }
    }

    fn link_version(
        &self,
        name: &str,
        version: u64,
        hash: Hash,
        file_size: usize,
        code: Code,
        options: &PluginOptions,
    ) -> Result<Plugin, PluginError> {
        let identity = Identity {
            name,
            version,
            hash,
            file_size,
            history: self.history(name),
            store: &self.store,
        };
        self.link(&identity, code, options)
    }

    /// What happened to the plugin of this name, through all of its versions.
    pub fn history(&self, name: &str) -> Arc<PluginHistory> {
        let mut histories = self.histories.lock();
        histories.entry(name.to_owned()).or_default().clone()
    }

    /// What plugins share.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Returns once a plugin was put into quarantine since the last call.
    pub async fn quarantine(&self) {
        self.alarm.notified().await;
    }

    fn compile_here(&self, name: &str, bytes: &[u8]) -> Result<Code, PluginError> {
        let bytes = component::encode(bytes).map_err(|reason| PluginError::Encode {
            plugin: name.to_owned(),
            reason: Untrusted::message(reason),
        })?;
        let component = Component::from_binary(&self.engine, &bytes);
        Ok(Code {
            component: component.map_err(|error| not_compiled(name, &error))?,
            lines: DebugLines::of(&bytes),
        })
    }

    /// Takes what [`compile_process::compile`] answered, now or when it was put into the cache.
    fn take(&self, mut answer: &[u8]) -> wasmtime::Result<Code> {
        let Some(lines) = DebugLines::read(&mut answer) else {
            return Err(wasmtime::format_err!(
                "the compiler's answer makes no sense"
            ));
        };
        let component = self.own(answer)?;
        Ok(Code { component, lines })
    }

    fn link(
        &self,
        identity: &Identity<'_>,
        code: Code,
        options: &PluginOptions,
    ) -> Result<Plugin, PluginError> {
        Plugin::link(
            &self.linkers,
            &self.clock,
            &self.alarm,
            identity,
            code,
            options,
        )
    }

    #[allow(
        unsafe_code,
        reason = "the engine runs what it is given here unchecked: only ever code that our own compiler made, be it our build script's and in this binary, or our own child's, fresh or from a directory that only we write to; settings and version are compared even so"
    )]
    fn own(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `code` is the output of `Engine::precompile_component`: one of `stock::PLUGINS`,
        // or from `compile_process::compile` or `Cache::get`, which compares it with the hash that
        // was taken when it was made.
        unsafe { Component::deserialize(&self.engine, code) }
    }
}

fn unusable(error: wasmtime::Error) -> PluginError {
    PluginError::Engine {
        reason: format!("{error:#}"),
    }
}

fn not_compiled(plugin: &str, error: &wasmtime::Error) -> PluginError {
    PluginError::Compile {
        plugin: plugin.to_owned(),
        reason: Untrusted::message(format_args!("{error:#}")),
    }
}

/// What can be told without compiling anything.
fn check_bounds(plugin: &str, bytes: &[u8], limits: &CompileLimits) -> Result<(), PluginError> {
    if bytes.len() as u64 > limits.file_size {
        return Err(file::too_large(plugin, limits));
    }
    let functions = Inspection::of(plugin, bytes)?.functions;
    if functions > limits.functions {
        return Err(PluginError::Bound {
            plugin: plugin.to_owned(),
            what: format!("has {functions} functions, more than {}", limits.functions),
            key: "functions",
        });
    }
    Ok(())
}

/// Tells apart all engines whose code cannot be exchanged, and the encoders before them.
fn fingerprint(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
