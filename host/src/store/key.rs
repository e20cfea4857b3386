//! Keys as they are kept: those that are long by their hash.

use sha2::{Digest as _, Sha256};

use super::{LONGEST, PLAIN_KEY, StoreError};

/// A key as it is kept. What stands for a long one is longer than any plain one.
pub(super) enum Kept<'a> {
    Plain(&'a [u8]),
    Hashed([u8; PLAIN_KEY + 1]),
}

impl Kept<'_> {
    pub(super) fn of(key: &[u8]) -> Result<Kept<'_>, StoreError> {
        match key.len() {
            0..=PLAIN_KEY => Ok(Kept::Plain(key)),
            ..=LONGEST => {
                let mut kept = [0; PLAIN_KEY + 1];
                let hash = Sha256::digest(key);
                kept[..hash.len()].copy_from_slice(&hash);
                Ok(Kept::Hashed(kept))
            }
            _ => Err(StoreError::TooLarge),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Kept::Plain(key) => key,
            Kept::Hashed(key) => key,
        }
    }
}

/// The name of a key among those of others: behind a `:`, and behind a `#` in hexadecimal digits where
/// it is a hash.
pub(super) fn name(part: &str, key: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut name = part.as_bytes().to_vec();
    match key.len() {
        0..=PLAIN_KEY => {
            name.push(b':');
            name.extend_from_slice(key);
        }
        ..=LONGEST => {
            name.push(b'#');
            for byte in Sha256::digest(key) {
                name.extend_from_slice(format!("{byte:02x}").as_bytes());
            }
        }
        _ => return Err(StoreError::TooLarge),
    }
    Ok(name)
}
