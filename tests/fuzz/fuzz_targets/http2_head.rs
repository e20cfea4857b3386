//! See `host/src/fuzz/http2_head.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("http2_head")(bytes));
