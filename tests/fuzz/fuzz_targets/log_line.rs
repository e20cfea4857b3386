//! See `host/src/fuzz/log_line.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("log_line")(bytes));
