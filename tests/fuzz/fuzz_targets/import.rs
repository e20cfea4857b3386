//! See `host/src/fuzz/import.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("import")(bytes));
