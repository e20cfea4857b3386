//! What a plugin that may wait imports of WASI: wasmtime's own `io`, `clocks` and `http`, which
//! suspend it, and for the rest the [WASI that reaches nothing](super::super::wasi).

use wasmtime::Result;
use wasmtime::component::Linker;

use super::super::host_state::HostState;
use super::super::{interfaces, wasi};

/// Whether a plugin with these imports is one that waits, where it is granted `http`.
pub(in crate::plugin) fn is_waiting(imports: &[String]) -> bool {
    let mut imports = imports.iter();
    imports.any(|import| interfaces::ASKING.contains(&interfaces::split(import).0))
}

/// Adds every interface of it that such a plugin may import.
///
/// # Errors
/// The engine takes none.
pub(in crate::plugin) fn add_to(linker: &mut Linker<HostState>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasi::add_surroundings_to(linker)
}
