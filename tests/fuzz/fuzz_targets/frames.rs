//! See `host/src/fuzz/frames.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| waypost::fuzz::target("frames")(bytes));
