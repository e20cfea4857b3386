//! Write Waypost policies in Rust.
