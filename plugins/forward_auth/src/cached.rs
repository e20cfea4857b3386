//! Verdicts that are kept for a while, in the store: other workers and machines that share one know
//! them too.
//!
//! What a verdict depends on is the operator's to say. It is kept under a hash, so that no password and
//! no session is in the store; and nothing is kept for a request that shows none of it, or a misspelt
//! name would let all in whom one was let in.

use std::time::Duration;

use sha2::{Digest, Sha256};
use waypost_sdk::{Request, Settings, SettingsError, Template, store};

/// Bytes of a verdict with what it says of the user.
const LARGEST: usize = 16 << 10;
/// How long one is kept without a word.
const TIME: Duration = Duration::from_secs(10);

/// Where verdicts are kept.
pub(crate) struct Cache {
    key: Vec<Template>,
    time: Duration,
    /// Those that are kept; all of 2xx where none are named.
    statuses: Vec<u16>,
    /// Tells it from those of hooks that ask otherwise.
    hook: Sha256,
}

/// A verdict, and the values of headers that go with it: in the order in which the hook names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    pub(crate) values: Vec<Vec<Vec<u8>>>,
}

impl Cache {
    /// Reads `cache`.
    ///
    /// `passes_refusals`: the client gets answers that turn it away, which are not kept.
    pub(crate) fn read(
        settings: &mut Settings,
        passes_refusals: bool,
    ) -> Result<Option<Cache>, SettingsError> {
        let Some(mut table) = settings.table("cache")? else {
            return Ok(None);
        };
        let texts = table.texts("key")?;
        if texts.is_empty() {
            return Err(table.missing("key"));
        }
        let template =
            |(number, text): (usize, &String)| table.as_template(&format!("key[{number}]"), text);
        let key = texts.iter().enumerate().map(template);
        let key: Vec<Template> = key.collect::<Result<_, _>>()?;
        if key.iter().all(|part| part.variables().next().is_none()) {
            let message = "no variable is in it, so that one verdict would be everybody's: write \
                           `$http_authorization`, or whatever the verdict depends on";
            return Err(table.error("key", message));
        }
        let time = table.duration("time")?.unwrap_or(TIME);
        if time.is_zero() {
            return Err(table.error("time", "a verdict is kept for some time: leave `cache` out"));
        }
        let mut statuses = Vec::new();
        for text in table.texts("statuses")? {
            match text.parse() {
                Ok(401 | 403) if passes_refusals => {
                    let message =
                        "with `refusal = \"answer\"`, verdicts that let in are kept alone";
                    return Err(table.error("statuses", message));
                }
                Ok(status @ (200..=299 | 401 | 403)) => statuses.push(status),
                _ => {
                    let message = format!("`{text}` is no verdict: those are 2xx, 401 and 403");
                    return Err(table.error("statuses", &message));
                }
            }
        }
        table.finish()?;
        Ok(Some(Cache {
            key,
            time,
            statuses,
            hook: Sha256::new(),
        }))
    }

    /// Verdicts are those of a hook that asks so.
    pub(crate) fn of_hook(&mut self, asks: &str) {
        self.hook.update(asks.len().to_le_bytes());
        self.hook.update(asks);
    }

    /// Under what the verdict about a request is kept; none where the request shows nothing of what it
    /// depends on.
    pub(crate) fn key(&self, request: &Request) -> Option<Vec<u8>> {
        let mut hash = self.hook.clone();
        let mut is_empty = true;
        for part in &self.key {
            let value = part.render(*request);
            is_empty &= value.is_empty();
            hash.update(value.len().to_le_bytes());
            hash.update(&value);
        }
        (!is_empty).then(|| hash.finalize().to_vec())
    }

    /// The verdict that is kept. What the store does not tell is asked.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Kept> {
        Kept::decoded(&store::get(key).ok()??)
    }

    /// Keeps a verdict, if it may be: `Cache-Control` of the answer has the last word.
    pub(crate) fn keep(&self, key: &[u8], kept: &Kept, cache_control: &[&[u8]]) {
        let is_kept = match self.statuses.as_slice() {
            [] => (200..300).contains(&kept.status),
            statuses => statuses.contains(&kept.status),
        };
        let Some(time) = self.time_for(cache_control).filter(|_| is_kept) else {
            return;
        };
        let value = kept.encoded();
        if value.len() <= LARGEST {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            // One that is not kept is asked for again.
            let _ = store::set(key, &value, millis);
        }
    }

    /// How long an answer with these lines may be kept; none where it may not.
    fn time_for(&self, cache_control: &[&[u8]]) -> Option<Duration> {
        let mut time = self.time;
        for line in cache_control {
            let line = String::from_utf8_lossy(line).to_ascii_lowercase();
            for word in line.split(',').map(str::trim) {
                match word.split_once('=') {
                    None if matches!(word, "no-store" | "no-cache") => return None,
                    Some(("max-age", seconds)) => {
                        let seconds = seconds.trim_matches('"').parse().unwrap_or(0);
                        time = time.min(Duration::from_secs(seconds));
                    }
                    _ => {}
                }
            }
        }
        (!time.is_zero()).then_some(time)
    }
}

impl Kept {
    /// The status; then, of each header, how many values there are, and each with its length.
    fn encoded(&self) -> Vec<u8> {
        let mut out = self.status.to_le_bytes().to_vec();
        let number = |number: usize, out: &mut Vec<u8>| {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            out.extend(number.to_le_bytes());
        };
        for values in &self.values {
            number(values.len(), &mut out);
            for value in values {
                number(value.len(), &mut out);
                out.extend(value);
            }
        }
        out
    }

    /// None of what nobody here has encoded.
    fn decoded(mut bytes: &[u8]) -> Option<Kept> {
        let status = u16::from_le_bytes(take(&mut bytes, 2)?.try_into().ok()?);
        let mut values = Vec::new();
        while !bytes.is_empty() {
            let count = number(&mut bytes)?;
            let mut of_header = Vec::new();
            for _ in 0..count {
                let length = number(&mut bytes)?;
                of_header.push(take(&mut bytes, length)?.to_vec());
            }
            values.push(of_header);
        }
        Some(Kept { status, values })
    }
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let number = u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?);
    usize::try_from(number).ok()
}
