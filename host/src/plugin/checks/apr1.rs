//! Apache's MD5 of passwords, `$apr1$SALT$DIGEST`: 1,000 rounds of MD5 over password and salt
//! (`apr_md5_encode` in apr-util's `crypto/apr_md5.c`, nginx's `ngx_crypt_apr1`).
//!
//! It is here because password files have it, and for nothing else.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use md5::{Digest, Md5};

const MAGIC: &str = "$apr1$";
/// What counts of a salt.
const LONGEST_SALT: usize = 8;
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The digest's bytes by threes, as they are written down.
const GROUPS: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];

/// Whether this is a whole hash.
pub(super) fn is_hash(hash: &str) -> bool {
    let salt_and_digest = hash
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_once('$'));
    salt_and_digest.is_some_and(|(salt, digest)| {
        salt.len() <= LONGEST_SALT
            && digest.len() == 22
            && digest.bytes().all(|digit| DIGITS.contains(&digit))
    })
}

/// Whether a password belongs to a [whole hash](is_hash).
pub(super) fn matches(hash: &str, password: &[u8]) -> bool {
    let salt_and_digest = hash
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_once('$'));
    salt_and_digest.is_some_and(|(salt, digest)| {
        let computed = written(&md5(password, salt.as_bytes()));
        verify_slices_are_equal(&computed, digest.as_bytes()).is_ok()
    })
}

fn md5(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner = Md5::new().chain_update(password).chain_update(salt);
    let inner: [u8; 16] = inner.chain_update(password).finalize().into();
    let mut outer = Md5::new()
        .chain_update(password)
        .chain_update(MAGIC)
        .chain_update(salt);
    for chunk in password.chunks(16) {
        outer.update(&inner[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        // A byte of 0, or the password's first: so it was written once, and so it stayed.
        match bits & 1 {
            1 => outer.update([0]),
            _ => outer.update(&password[..1]),
        }
        bits >>= 1;
    }
    let mut digest: [u8; 16] = outer.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        match round % 2 {
            1 => next.update(password),
            _ => next.update(digest),
        }
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        match round % 2 {
            1 => next.update(digest),
            _ => next.update(password),
        }
        digest = next.finalize().into();
    }
    digest
}

/// In digits of six bits, the lowest first.
fn written(digest: &[u8; 16]) -> Vec<u8> {
    let mut written = Vec::with_capacity(22);
    let mut write = |mut value: u32, digits: usize| {
        for _ in 0..digits {
            written.push(DIGITS[(value & 63) as usize]);
            value >>= 6;
        }
    };
    for group in GROUPS {
        let [high, middle, low] = group.map(|at| u32::from(digest[at]));
        write(high << 16 | middle << 8 | low, 4);
    }
    write(digest[11].into(), 2);
    written
}
