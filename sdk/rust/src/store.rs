//! Counters and values that all instances of a plugin share, in all workers, through reloads, and
//! where the operator has it so on several machines.
//!
//! Times to live are milliseconds; 0 stands for never. In `configure` and `attach` every answer is
//! [`StoreError::Unavailable`].

use crate::host::store;

pub use crate::bindings::imported::store::Error as StoreError;

/// Whether it is in another process, as the operator has it: then only `on-request` and `on-check` can
/// wait for its answers, and in all other calls it is [`StoreError::Unavailable`].
pub fn is_elsewhere() -> bool {
    store::is_elsewhere()
}

/// A value; `None` where there is no entry. Of a counter its number in decimal digits.
///
/// # Errors
/// Why it was not done.
pub fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    store::get(key)
}

/// Keeps a value for so long from now on, in place of whatever there was.
///
/// # Errors
/// Why it was not done.
pub fn set(key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), StoreError> {
    store::set(key, value, ttl_ms)
}

/// Adds to a counter, which begins at 0, and answers the sum. It expires so long after it began.
///
/// # Errors
/// Why it was not done.
pub fn add(key: &[u8], amount: i64, ttl_ms: u64) -> Result<i64, StoreError> {
    store::add(key, amount, ttl_ms)
}

/// Keeps a value for so long from now on if the present one is `expected`, `None` where there must be
/// no entry. Whether it did.
///
/// # Errors
/// Why it was not done.
pub fn compare_and_swap(
    key: &[u8],
    expected: Option<&[u8]>,
    value: &[u8],
    ttl_ms: u64,
) -> Result<bool, StoreError> {
    store::compare_and_swap(key, expected, value, ttl_ms)
}

/// Whether there was an entry; there is none any more.
///
/// # Errors
/// Why it was not done.
pub fn delete(key: &[u8]) -> Result<bool, StoreError> {
    store::delete(key)
}

/// Pours an amount into a leaky bucket that loses `leak` in each second, and answers the level with
/// the amount in it. Where that is more than `capacity`, nothing was poured in.
///
/// # Errors
/// Why it was not done.
pub fn fill(key: &[u8], amount: u64, leak: u64, capacity: u64) -> Result<u64, StoreError> {
    store::fill(key, amount, leak, capacity)
}
