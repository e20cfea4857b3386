//! See `host/src/fuzz/chunked.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("chunked")(bytes));
