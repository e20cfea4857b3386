//! A value by the hash of a text, as nginx's `split_clients` chooses it
//! (`ngx_http_split_clients_module.c`): the same text has the same value as in nginx.

use std::fmt;

use crate::http::template::Template;
use crate::http::variable::VariableSource;

/// 100 %, in the hundredths of a percent that nginx counts in.
const WHOLE: u32 = 10_000;

const MULTIPLIER: u32 = 0x5bd1_e995;

/// Values by share of all hashes.
#[derive(Debug)]
pub struct Split {
    pub from: Template,
    /// In file order.
    pub shares: Vec<(Share, Template)>,
    /// For what no share has.
    pub default: Template,
}

/// A share of all hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Of a percent.
    hundredths: u32,
    /// Hashes below it, and not below that of a share before, are its own.
    below: u32,
}

/// Adds shares up as nginx does: in hundredths of a percent, and likewise their parts of all
/// hashes, each rounded down.
#[derive(Debug, Default)]
pub struct Shares {
    sum: u32,
    below: u32,
}

/// What is wrong with a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareError {
    /// It is no percentage with two decimals at most, or nothing.
    NotAShare,
    /// With those before it is more than all.
    TooMuch,
}

impl Share {
    /// Whether a hash, or a number drawn, is among those of it, where it is the first.
    pub fn has(&self, hash: u32) -> bool {
        hash < self.below
    }

    /// Whether it is 100 %.
    pub fn is_whole(&self) -> bool {
        self.hundredths == WHOLE
    }
}

impl Shares {
    /// The next share, as `0.5%`.
    ///
    /// # Errors
    /// [`ShareError`]
    pub fn next(&mut self, text: &str) -> Result<Share, ShareError> {
        let hundredths = text.strip_suffix('%').and_then(hundredths);
        let hundredths = hundredths
            .filter(|share| *share > 0)
            .ok_or(ShareError::NotAShare)?;
        let sum = self.sum.saturating_add(hundredths);
        if sum > WHOLE {
            return Err(ShareError::TooMuch);
        }
        self.sum = sum;
        // The sum is at most `WHOLE`, so this is at most all hashes.
        self.below += (u64::from(hundredths) * u64::from(u32::MAX) / u64::from(WHOLE)) as u32;
        Ok(Share {
            hundredths,
            below: self.below,
        })
    }
}

/// A number with up to two decimals, times 100 (`ngx_atofp`).
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.bytes().chain(decimals.bytes());
    let is_number = digits.clone().count() > 0
        && decimals.len() <= 2
        && digits.clone().all(|byte| byte.is_ascii_digit());
    is_number
        .then(|| format!("{whole}{decimals:0<2}").parse().ok())
        .flatten()
}

/// As the configuration writes it: `0.5%`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.hundredths / 100, self.hundredths % 100);
        match rest {
            0 => write!(f, "{whole}%"),
            _ => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

impl Split {
    pub(super) fn from(&self) -> &Template {
        &self.from
    }

    /// Those of which one is the value.
    pub(super) fn values(&self) -> impl Iterator<Item = &Template> {
        let values = self.shares.iter().map(|(_, value)| value);
        std::iter::once(&self.default).chain(values)
    }

    pub(super) fn append(&self, source: &dyn VariableSource, out: &mut Vec<u8>) {
        let start = out.len();
        self.from.render(source, out);
        let hash = murmur(&out[start..]);
        out.truncate(start);
        let mut shares = self.shares.iter();
        let found = shares.find(|(share, _)| share.has(hash));
        let value = found.map_or(&self.default, |(_, value)| value);
        value.render(source, out);
    }
}

/// MurmurHash2 with a seed of 0 (`src/core/ngx_murmurhash.c`). The length counts modulo 2^32.
pub(super) fn murmur(text: &[u8]) -> u32 {
    let (words, rest) = text.as_chunks::<4>();
    let mut hash = text.len() as u32;
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}
