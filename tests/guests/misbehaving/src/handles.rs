//! Handles of WASI's standard output, never given back.
//!
//! Below the standard library, which keeps the one handle that it opens, but by its import: it
//! brings along the type, hence the version here is the toolchain's.
#![allow(
    unsafe_code,
    reason = "the import itself: the standard library shows no handles"
)]

#[link(wasm_import_module = "wasi:cli/stdout@0.2.4")]
unsafe extern "C" {
    /// A new handle each time.
    #[link_name = "get-stdout"]
    safe fn get_stdout() -> i32;
}

/// Opens one, and forgets it.
pub(crate) fn leak() {
    _ = get_stdout();
}
