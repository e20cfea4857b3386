//! See `host/src/fuzz/client_hello.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("client_hello")(bytes));
