//! See `host/src/fuzz/traceparent.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("traceparent")(bytes));
