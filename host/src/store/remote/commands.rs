//! What is sent, and what the answers mean.

use std::str::FromStr;

use redis::{Cmd, RedisError, ServerErrorKind, Value, cmd};

use super::super::StoreError;
use super::super::bucket::Pour;

/// What takes more than one step of the server is one by a script.
#[derive(Debug, Clone, Copy)]
pub(super) enum Script {
    Add,
    Swap,
    Fill,
}

/// In the order of their numbers.
pub(super) const SCRIPTS: [&str; 3] = [
    include_str!("add.lua"),
    include_str!("swap.lua"),
    include_str!("fill.lua"),
];

/// A command; of a script what follows its name.
pub(super) struct Command {
    script: Option<Script>,
    arguments: Vec<Vec<u8>>,
}

impl Command {
    fn plain(arguments: &[&[u8]]) -> Command {
        Command {
            script: None,
            arguments: arguments.iter().map(|each| each.to_vec()).collect(),
        }
    }

    fn script(script: Script, name: &[u8], arguments: &[&[u8]]) -> Command {
        let all = [&[b"1", name], arguments].concat();
        Command {
            script: Some(script),
            ..Command::plain(&all)
        }
    }

    pub(super) fn get(name: &[u8]) -> Command {
        Command::plain(&[b"GET", name])
    }

    pub(super) fn set(name: &[u8], value: &[u8], ttl_ms: u64) -> Command {
        match ttl_ms {
            0 => Command::plain(&[b"SET", name, value]),
            _ => Command::plain(&[b"SET", name, value, b"PX", ttl(ttl_ms).as_bytes()]),
        }
    }

    pub(super) fn add(name: &[u8], amount: i64, ttl_ms: u64) -> Command {
        let (amount, ttl_ms) = (amount.to_string(), ttl(ttl_ms));
        Command::script(Script::Add, name, &[amount.as_bytes(), ttl_ms.as_bytes()])
    }

    pub(super) fn swap(name: &[u8], expected: Option<&[u8]>, value: &[u8], ttl_ms: u64) -> Command {
        let is_expected: &[u8] = if expected.is_some() { b"1" } else { b"0" };
        let ttl_ms = ttl(ttl_ms);
        let arguments = [
            is_expected,
            expected.unwrap_or_default(),
            value,
            ttl_ms.as_bytes(),
        ];
        Command::script(Script::Swap, name, &arguments)
    }

    pub(super) fn delete(name: &[u8]) -> Command {
        Command::plain(&[b"DEL", name])
    }

    pub(super) fn fill(name: &[u8], pour: Pour) -> Command {
        let Pour {
            amount,
            leak,
            capacity,
        } = pour;
        let numbers = [amount, leak, capacity].map(|number| number.to_string());
        let [amount, leak, capacity] = &numbers;
        let arguments = [amount.as_bytes(), leak.as_bytes(), capacity.as_bytes()];
        Command::script(Script::Fill, name, &arguments)
    }

    /// As it is sent to a server that has the scripts under these hashes.
    pub(super) fn by_hash(&self, hashes: &[String; 3]) -> Cmd {
        match self.script {
            None => self.after(Cmd::new()),
            Some(script) => self.after(cmd("EVALSHA").arg(&hashes[script as usize]).clone()),
        }
    }

    /// As it is sent to one that does not have them any more.
    pub(super) fn by_text(&self) -> Option<Cmd> {
        let script = self.script?;
        Some(self.after(cmd("EVAL").arg(SCRIPTS[script as usize]).clone()))
    }

    fn after(&self, mut command: Cmd) -> Cmd {
        for argument in &self.arguments {
            command.arg(argument);
        }
        command
    }
}

/// Redis takes no time to live that leaves its clock.
fn ttl(ttl_ms: u64) -> String {
    const LONGEST: u64 = 1 << 53;
    ttl_ms.min(LONGEST).to_string()
}

/// A number in decimal digits.
pub(super) fn number<T: FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// What a failure means.
pub(super) enum Failure {
    /// To whom has asked; the server goes on.
    Refused(StoreError),
    /// The script is not there any more.
    NoScript,
    /// It is no answer of Redis, or there is no connection any more.
    Broken,
}

impl Failure {
    pub(super) fn of(error: &RedisError) -> Failure {
        if error.kind() == ServerErrorKind::NoScript.into() {
            return Failure::NoScript;
        }
        let Some(code) = error.code() else {
            return Failure::Broken;
        };
        let detail = error.detail().unwrap_or_default();
        Failure::Refused(match code {
            "OOM" => StoreError::Full,
            "WRONGTYPE" => StoreError::WrongKind,
            _ if detail.contains("not an integer") || detail.contains("would overflow") => {
                StoreError::WrongKind
            }
            _ => StoreError::Unavailable,
        })
    }
}
