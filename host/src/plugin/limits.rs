//! What one instance may use up: memory, tables, instances of core modules. Time is the engine's clock's concern.

use wasmtime::ResourceLimiter;

/// Elements of all tables together. A large plugin has a few thousand functions in its table.
const TABLE_ELEMENTS: usize = 10_000;
/// Core modules in one component; those of the interpreted languages consist of several.
const MODULES: usize = 32;

/// The plugin asked for more memory than its limit.
#[derive(Debug, thiserror::Error)]
#[error("asked for {asked} bytes of memory, its limit is {limit}")]
pub(super) struct MemoryRefused {
    asked: usize,
    limit: usize,
}

/// Counts what an instance uses, all of its memories and tables together.
pub(super) struct Limits {
    memory_limit: usize,
    memory: usize,
    elements: usize,
}

impl Limits {
    /// `memory` in bytes.
    pub(super) fn new(memory: u64) -> Limits {
        Limits {
            memory_limit: usize::try_from(memory).unwrap_or(usize::MAX),
            memory: 0,
            elements: 0,
        }
    }
}

impl Limits {
    /// Bytes of linear memory in use.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Limits {
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
            return Err(MemoryRefused { asked, limit }.into());
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
        let grown = desired.saturating_sub(current);
        let asked = self.elements.saturating_add(grown);
        if maximum.is_some_and(|maximum| desired > maximum) || asked > TABLE_ELEMENTS {
            return Ok(false);
        }
        self.elements = asked;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MODULES
    }

    fn tables(&self) -> usize {
        MODULES
    }

    fn memories(&self) -> usize {
        MODULES
    }
}
