//! See `host/src/fuzz/component.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("component")(bytes));
