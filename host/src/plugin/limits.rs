//! What one instance may use up: memory, tables, instances of core modules. Time is the engine's
//! clock's concern.

use wasmtime::ResourceLimiter;

use crate::config::model::PluginLimits;

/// The plugin asked for more than its limit.
#[derive(Debug, thiserror::Error)]
pub(super) enum BoundExceeded {
    #[error("asked for {asked} bytes of memory, its limit is {limit}")]
    Memory { asked: usize, limit: usize },
    #[error("asked for {asked} elements of tables, its `limits.table_elements` is {limit}")]
    Table { asked: usize, limit: usize },
}

/// Counts what an instance uses, all of its memories and tables together.
pub(super) struct InstanceLimits {
    memory_limit: usize,
    elements_limit: usize,
    modules: usize,
    memory: usize,
    elements: usize,
}

impl InstanceLimits {
    /// `memory`: bytes.
    pub(super) fn new(limits: &PluginLimits, memory: u64) -> InstanceLimits {
        InstanceLimits {
            memory_limit: usize::try_from(memory).unwrap_or(usize::MAX),
            elements_limit: limits.table_elements as usize,
            modules: limits.core_instances as usize,
            memory: 0,
            elements: 0,
        }
    }
}

impl InstanceLimits {
    /// Bytes of linear memory in use.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for InstanceLimits {
    /// Refuses with a trap: an allocator that is told "no" aborts anyway, and the trap says why.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the memory's own bound: the plugin counts on being told
        }
        let asked = self.memory.saturating_add(desired.saturating_sub(current));
        if asked > self.memory_limit {
            let limit = self.memory_limit;
            return Err(BoundExceeded::Memory { asked, limit }.into());
        }
        self.memory = asked;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let asked = (self.elements).saturating_add(desired.saturating_sub(current));
        if asked > self.elements_limit {
            let limit = self.elements_limit;
            return Err(BoundExceeded::Table { asked, limit }.into());
        }
        self.elements = asked;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.modules
    }

    fn tables(&self) -> usize {
        self.modules
    }

    fn memories(&self) -> usize {
        self.modules
    }
}
