//! See `host/src/fuzz/cookie.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("cookie")(bytes));
