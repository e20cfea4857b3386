//! The `waypost` binary: everything is in the library.

#[global_allocator]
static ALLOCATOR: waypost::Allocator = waypost::Allocator;

fn main() -> std::process::ExitCode {
    waypost::cli::main()
}
