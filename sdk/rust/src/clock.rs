//! The time of day. What is measured is measured by the `now_us` of a call.

/// Milliseconds since 1970-01-01 UTC.
pub fn wall_ms() -> u64 {
    crate::host::clock::wall_ms()
}
