//! The formats of password hashes, and what computing one may cost.
//!
//! Hashes come from files of operators and settings of plugins. Their parameters are bounded, so
//! that a check takes about a second at most, and 128 MiB.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha_crypt::{PasswordVerifier, ShaCrypt};

use super::apr1;

/// No longer password is right: the bound of `crypt(3)` (libxcrypt's `CRYPT_MAX_PASSPHRASE_SIZE`).
/// SHA-crypt's costs grow with the square of it.
const LONGEST_PASSWORD: usize = 512;
/// bcrypt's cost at most: a second, some 16 times of what is usual (10).
const BCRYPT_COST: u32 = 14;
/// SHA-crypt's rounds: at least its specification's least, and half a second at most. 5,000 are its
/// default, some tools take 656,000.
const SHA_CRYPT_ROUNDS: std::ops::RangeInclusive<u32> = 1000..=1_000_000;
/// What SHA-crypt takes of a salt.
const SHA_CRYPT_SALT: usize = 16;
/// argon2's memory in KiB: twice that of RFC 9106's second recommendation.
const ARGON2_MEMORY: u32 = 128 << 10;
/// argon2's memory times its passes: a second at most.
const ARGON2_WORK: u64 = 512 << 10;

/// A hash that a password may belong to, with parameters within bounds.
#[derive(Debug)]
pub(super) enum PasswordHash {
    Bcrypt(String),
    ShaCrypt(String),
    Argon2(Box<argon2::PasswordHash>, Argon2<'static>),
    Apr1(String),
    Sha1(Vec<u8>),
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// Why it cannot be checked, in a few words.
    pub(super) fn parse(hash: &str) -> Result<PasswordHash, &'static str> {
        if let Some(digest) = hash.strip_prefix("{SHA}") {
            let digest = BASE64_STANDARD.decode(digest).ok();
            let digest = digest.filter(|digest| digest.len() == 20);
            return digest
                .map(PasswordHash::Sha1)
                .ok_or("a `{SHA}` hash is 20 bytes of Base64");
        }
        let mut fields = hash.split('$');
        match (fields.next(), fields.next()) {
            (Some(""), Some("2a" | "2b" | "2y")) => bcrypt(hash),
            (Some(""), Some("5" | "6")) => sha_crypt(hash),
            (Some(""), Some("apr1")) => match apr1::is_hash(hash) {
                true => Ok(PasswordHash::Apr1(hash.to_owned())),
                false => Err("an `$apr1$` hash has a salt of up to 8 bytes and 22 characters"),
            },
            (Some(""), Some("argon2d" | "argon2i" | "argon2id")) => argon2(hash),
            _ => Err("it is not bcrypt, argon2, SHA-crypt, `$apr1$` or `{SHA}`"),
        }
    }

    /// Whether a password is the one that was hashed. Compares in constant time. `None` if there is
    /// not enough memory to tell.
    pub(super) fn belongs_to(&self, password: &[u8]) -> Option<bool> {
        if password.len() > LONGEST_PASSWORD {
            return Some(false);
        }
        Some(match self {
            PasswordHash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            PasswordHash::ShaCrypt(hash) => {
                let hash: &str = hash;
                ShaCrypt::default().verify_password(password, hash).is_ok()
            }
            PasswordHash::Argon2(hash, function) => {
                return argon2_matches(hash, function, password);
            }
            PasswordHash::Apr1(hash) => apr1::matches(hash, password),
            PasswordHash::Sha1(expected) => {
                let computed = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
                verify_slices_are_equal(computed.as_ref(), expected).is_ok()
            }
        })
    }
}

fn bcrypt(hash: &str) -> Result<PasswordHash, &'static str> {
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| "it is no whole bcrypt hash")?;
    match parts.get_cost() {
        4..=BCRYPT_COST => Ok(PasswordHash::Bcrypt(hash.to_owned())),
        _ => Err("the cost of bcrypt must be from 4 to 14"),
    }
}

/// `$5$[rounds=N$]SALT$DIGEST`
fn sha_crypt(hash: &str) -> Result<PasswordHash, &'static str> {
    let mut fields = hash[3..].split('$').peekable();
    let rounds = fields.next_if(|field| field.starts_with("rounds="));
    if let Some(rounds) = rounds {
        let rounds = rounds["rounds=".len()..].parse().ok();
        if !rounds.is_some_and(|rounds| SHA_CRYPT_ROUNDS.contains(&rounds)) {
            return Err("the rounds of SHA-crypt must be from 1,000 to 1,000,000");
        }
    }
    let is_crypt = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
    let length = match hash.as_bytes()[1] {
        b'5' => 43,
        _ => 86,
    };
    match (fields.next(), fields.next(), fields.next()) {
        (Some(salt), Some(digest), None)
            if salt.len() <= SHA_CRYPT_SALT
                && digest.len() == length
                && digest.bytes().all(is_crypt) =>
        {
            Ok(PasswordHash::ShaCrypt(hash.to_owned()))
        }
        _ => Err("SHA-crypt has a salt of up to 16 bytes and 43 or 86 characters"),
    }
}

fn argon2(hash: &str) -> Result<PasswordHash, &'static str> {
    const NO_PHC: &str = "it is no PHC string of argon2 with salt and hash";
    let hash = argon2::PasswordHash::new(hash).map_err(|_| NO_PHC)?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| NO_PHC)?;
    // Without `v=` it is the version before the field was.
    let version = Version::try_from(hash.version.unwrap_or(0x10)).map_err(|_| NO_PHC)?;
    let params = Params::try_from(&hash).map_err(|_| NO_PHC)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > ARGON2_MEMORY || work > ARGON2_WORK || params.p_cost() > 16 {
        return Err("argon2 may have m=131072, m times t up to 524288, and p=16");
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(NO_PHC);
    }
    let function = Argon2::new(algorithm, version, params);
    Ok(PasswordHash::Argon2(Box::new(hash), function))
}

fn argon2_matches(
    hash: &argon2::PasswordHash,
    function: &Argon2<'_>,
    password: &[u8],
) -> Option<bool> {
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    // Memory that is not there must not end the process.
    let mut memory = Vec::new();
    let blocks = function.params().block_count();
    memory.try_reserve_exact(blocks).ok()?;
    memory.resize(blocks, Block::new());
    let mut computed = vec![0; expected.len()];
    let done =
        function.hash_password_into_with_memory(password, salt, &mut computed, &mut memory[..]);
    Some(done.is_ok() && verify_slices_are_equal(&computed, expected.as_bytes()).is_ok())
}
