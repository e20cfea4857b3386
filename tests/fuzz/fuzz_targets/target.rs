//! See `host/src/fuzz/target.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("target")(bytes));
