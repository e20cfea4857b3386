//! What plugins are tried with, as data: another host, and other tools, can hold plugins to the same.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// `battery.json`: its numbers mean what their names say; `docs/test-a-plugin.md` has them in words.
#[derive(Debug, Deserialize)]
pub(super) struct Battery {
    pub(super) requests: u64,
    pub(super) interval_us: u64,
    hostile: Vec<String>,
    pub(super) settings: WrongSettings,
    pub(super) policy: OfPolicies,
    pub(super) hook: OfHooks,
    pub(super) growth: Growth,
}

#[derive(Debug, Deserialize)]
pub(super) struct WrongSettings {
    pub(super) unknown_key: String,
    wrong_values: Vec<Value>,
    long_text_bytes: usize,
}

impl WrongSettings {
    /// Values of all kinds, for any key.
    pub(super) fn wrong_values(&self) -> Vec<Value> {
        let long = Value::from("x".repeat(self.long_text_bytes));
        self.wrong_values.iter().cloned().chain([long]).collect()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OfPolicies {
    pub(super) fleets: Vec<usize>,
    pub(super) hostile_servers: usize,
    pub(super) repeated_servers: usize,
    pub(super) spread: Spread,
    pub(super) weights: Weights,
    pub(super) server_goes: ServerGoes,
    pub(super) take_over: TakeOver,
}

#[derive(Debug, Deserialize)]
pub(super) struct Spread {
    pub(super) servers: usize,
    pub(super) least_percent: f64,
    pub(super) most_percent: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Weights {
    pub(super) weights: Vec<u32>,
    pub(super) off_by_percent: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerGoes {
    pub(super) servers: usize,
    pub(super) moved_percent: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct TakeOver {
    pub(super) servers: usize,
    pub(super) every: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct OfHooks {
    pub(super) clients: u64,
    pub(super) pieces: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Growth {
    pub(super) early: u64,
    pub(super) late: u64,
    pub(super) more_percent: u64,
}

/// A test parses it.
pub(super) static BATTERY: LazyLock<Battery> = LazyLock::new(|| {
    serde_json::from_str(include_str!("battery.json"))
        .unwrap_or_else(|error| unreachable!("`battery.json` is a part of this program: {error}"))
});

/// What hostile clients send in the place of a name.
pub(super) static HOSTILE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let hostile = BATTERY.hostile.iter();
    hostile.map(|text| bytes(text.as_bytes())).collect()
});

/// The bytes that `%` and two digits stand for, and all others as they are.
fn bytes(mut text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                text = &rest[2..];
            }
            _ => {
                bytes.push(*first);
                text = rest;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_are_the_bytes_that_they_are_written_as() {
        assert_eq!(HOSTILE[1], b"\xff\xfe\x00");
        assert_eq!(HOSTILE[2], b"%00%2e%2e%2f");
        assert_eq!(HOSTILE[5], b"' OR 1=1 --");
    }
}
