//! How senders sign, as their documentation has it.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waypost_sdk::Call;

/// Signatures in one header that are looked at.
const MOST: usize = 16;

/// Whose form it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `X-Hub-Signature-256: sha256=HEX`, over the body.
    GitHub,
    /// `Stripe-Signature: t=SECONDS,v1=HEX,...`, over `SECONDS.BODY`.
    Stripe,
    /// `X-Slack-Request-Timestamp: SECONDS` and `X-Slack-Signature: v0=HEX`, over
    /// `v0:SECONDS:BODY`.
    Slack,
}

/// What a request says of its signature.
pub(crate) struct Signed {
    /// What is signed before the body.
    before: Vec<u8>,
    codes: Vec<[u8; 32]>,
}

impl Form {
    pub(crate) fn has_time(self) -> bool {
        self != Form::GitHub
    }

    /// What a request says. `now_ms`: the time of day, from which its own may differ so much.
    pub(crate) fn signed(
        self,
        call: &Call,
        tolerance: Duration,
        now_ms: u64,
    ) -> Result<Signed, &'static str> {
        let header = |name: &str| {
            let mut values = call.request().header_all(name).into_iter();
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                (None, _) => Err("there is none"),
                // Another reader might take the other one.
                _ => Err("its header is there twice"),
            }
        };
        let signed = match self {
            Form::GitHub => Signed {
                before: Vec::new(),
                codes: codes(&[header("x-hub-signature-256")?], b"sha256="),
            },
            Form::Stripe => {
                let header = header("stripe-signature")?;
                let parts: Vec<&[u8]> = header.split(|byte| *byte == b',').collect();
                let mut times = parts
                    .iter()
                    .filter_map(|part| part.trim_ascii().strip_prefix(b"t="));
                let (Some(time), None) = (times.next(), times.next()) else {
                    return Err("it does not tell its time once");
                };
                check_time(time, tolerance, now_ms)?;
                Signed {
                    before: [time, b"."].concat(),
                    codes: codes(&parts, b"v1="),
                }
            }
            Form::Slack => {
                let time = header("x-slack-request-timestamp")?;
                check_time(&time, tolerance, now_ms)?;
                Signed {
                    before: [b"v0:", time.as_slice(), b":"].concat(),
                    codes: codes(&[header("x-slack-signature")?], b"v0="),
                }
            }
        };
        match signed.codes.is_empty() {
            true => Err("it is malformed"),
            false => Ok(signed),
        }
    }
}

/// The codes of those parts that begin like this, the first few of them.
fn codes(parts: &[impl AsRef<[u8]>], prefix: &[u8]) -> Vec<[u8; 32]> {
    let codes = parts.iter().filter_map(|part| {
        let digits = part.as_ref().trim_ascii().strip_prefix(prefix)?;
        code(digits)
    });
    codes.take(MOST).collect()
}

/// A code of 64 hexadecimal digits.
fn code(digits: &[u8]) -> Option<[u8; 32]> {
    let mut code = [0; 32];
    if digits.len() != 2 * code.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    for (byte, pair) in code.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = u8::try_from(value(*high)? * 16 + value(*low)?).ok()?;
    }
    Some(code)
}

/// Whether a time in seconds is near enough: also if it is ahead, as clocks differ.
fn check_time(text: &[u8], tolerance: Duration, now_ms: u64) -> Result<(), &'static str> {
    let text = std::str::from_utf8(text).ok();
    let is_number =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text
        .filter(is_number)
        .and_then(|text| text.parse::<u64>().ok());
    let seconds = seconds.ok_or("its time is no number")?;
    let apart = (now_ms / 1000).abs_diff(seconds);
    match apart <= tolerance.as_secs() {
        true => Ok(()),
        false => Err("its time is too far from now"),
    }
}

impl Signed {
    /// Whether one of these secrets has signed this body.
    pub(crate) fn is_by(&self, secrets: &[Vec<u8>], body: &[u8]) -> bool {
        secrets.iter().any(|secret| {
            let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret) else {
                return false;
            };
            let mac = mac.chain_update(&self.before).chain_update(body);
            let is_it = |code: &[u8; 32]| mac.clone().verify_slice(code).is_ok();
            self.codes.iter().any(is_it)
        })
    }
}
