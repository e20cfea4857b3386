//! See `host/src/fuzz/head.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("head")(bytes));
