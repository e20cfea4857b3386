//! How the engine compiles and runs plugins. Shared with the build script, which compiles the stock
//! plugins ahead of time: the engine refuses artefacts whose settings differ from its own.

use std::num::NonZeroUsize;

use wasmtime::{Config, Inlining, OptLevel, Strategy, WasmBacktraceDetails};

/// Settings for short synchronous calls into long-lived instances.
pub(super) fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // Toolchains have inlined what is worth it; doing it again doubles the code and takes
        // functions out of backtraces.
        .compiler_inlining(Inlining::No)
        // Bookkeeping for concurrent calls makes a call four times as dear, and instances are never
        // in more than one: `docs/components.md`.
        .concurrency_support(false)
        // Deadlines: a counter checked at loops and function entries, free on a short `pick`.
        .epoch_interruption(true)
        // Memories that stay where they are, behind guard pages: accesses need no bounds checks.
        .memory_may_move(false)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_init_cow(true)
        // Calls run on the worker's own stack: an eighth of what a thread has by default.
        .max_wasm_stack(256 << 10)
        // Files and lines are looked up in `lines`. Never from the environment, which the build
        // does not share.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // A panic in Rust is a dozen deep before the function that panicked.
        .wasm_backtrace_max_frames(NonZeroUsize::new(24));
    config
}
