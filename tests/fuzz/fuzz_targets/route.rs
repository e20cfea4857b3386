//! See `host/src/fuzz/route.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("route")(bytes));
