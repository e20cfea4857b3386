//! See `host/src/fuzz/server_list.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("server_list")(bytes));
