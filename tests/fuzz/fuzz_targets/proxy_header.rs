//! See `host/src/fuzz/proxy_header.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("proxy_header")(bytes));
