//! See `host/src/fuzz/config.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("config")(bytes));
