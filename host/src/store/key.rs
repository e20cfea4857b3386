//! Keys as they are kept: those that are long by their hash.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};

use super::{LONGEST, PLAIN_KEY, StoreError};

/// What stands for a key in this process. That of a long one is longer than any plain one.
pub(super) fn kept(key: &[u8]) -> Result<Cow<'_, [u8]>, StoreError> {
    if is_plain(key)? {
        return Ok(Cow::Borrowed(key));
    }
    let mut kept = Sha256::digest(key).to_vec();
    kept.resize(PLAIN_KEY + 1, 0);
    Ok(Cow::Owned(kept))
}

/// The name of a key among those of others: behind a `:`, and behind a `#` in hexadecimal digits where
/// it is a hash.
pub(super) fn name(part: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut name = part.as_bytes().to_vec();
    if is_plain(key)? {
        name.push(b':');
        name.extend_from_slice(key);
    } else {
        name.push(b'#');
        for byte in Sha256::digest(key) {
            name.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
    }
    Ok(name)
}

fn is_plain(key: &[u8]) -> Result<bool, StoreError> {
    match key.len() <= LONGEST {
        true => Ok(key.len() <= PLAIN_KEY),
        false => Err(StoreError::TooLarge),
    }
}
