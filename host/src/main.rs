//! The `waypost` binary: everything is in the library.

/// Per-thread heaps without locks. `docs/benchmarks.md` has what it gains over the system
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    waypost::cli::main()
}
