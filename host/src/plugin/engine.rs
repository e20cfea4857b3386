//! The engine, and the plugins that come with the host.
//!
//! One engine for the whole process: code is compiled once and shared by all workers; instances are theirs alone.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::config::model::PluginLimits;

use super::clock::{self, Clock};
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
    alarm: Arc<Notify>,
    stock: Vec<Plugin>,
}

impl Runtime {
    /// Starts the engine and takes in the stock plugins, which are compiled already: a few milliseconds.
    pub fn new(_c: super::Compiler) -> Result<Arc<Runtime>, PluginError> {
        let unusable = |error: wasmtime::Error| PluginError::Engine {
            reason: format!("{error:#}"),
        };
        let engine = Engine::new(&engine_config()).map_err(unusable)?;
        let mut linker = Linker::new(&engine);
        host_calls::add_to(&mut linker)
            .and_then(|()| wasi::add_to(&mut linker))
            .map_err(unusable)?;
        let clock = Clock::start(&engine, clock::PERIOD).map_err(|error| PluginError::Engine {
            reason: error.to_string(),
        })?;
        let mut runtime = Runtime {
            engine,
            linker,
            clock,
            alarm: Arc::default(),
            stock: Vec::new(),
        };
        for (name, code) in stock::PLUGINS {
            let component = runtime.embedded(code).map_err(unusable)?;
            runtime.stock.push(runtime.plugin(
                name,
                1,
                super::Hash::of(code),
                &component,
                super::Terms::stock(),
            )?);
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

    pub fn load(
        &self,
        name: &str,
        version: u64,
        bytes: &[u8],
        terms: &super::Terms,
    ) -> Result<Plugin, PluginError> {
        let component = component::compile(&self.engine, name, bytes)?;
        self.plugin(name, version, super::Hash::of(bytes), &component, *terms)
    }

    /// Returns once a plugin was put into quarantine since the last call.
    pub async fn quarantine(&self) {
        self.alarm.notified().await;
    }

    fn plugin(
        &self,
        name: &str,
        version: u64,
        hash: super::Hash,
        component: &Component,
        terms: super::Terms,
    ) -> Result<Plugin, PluginError> {
        Plugin::link(
            &self.linker,
            &self.clock,
            &self.alarm,
            name,
            version,
            hash,
            component,
            terms,
        )
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
