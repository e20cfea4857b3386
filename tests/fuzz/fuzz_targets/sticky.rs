//! See `plugins/sticky/src/fuzz.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sticky::fuzz::run(bytes));
