//! What is tested from outside the crate, in one binary: the engine is linked once for all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's unwrap is its failure"
)]

mod architecture; // who may know whom
mod command_line; // what the commands say
mod contract; // each function of `wit` is in every SDK, and in the pages that list them
mod config_cases; // files and what is said of them; the reference in the documentation
mod import_cases; // what nginx's configurations become
mod plugin_compile; // by the real binary, within bounds
