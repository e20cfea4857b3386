//! A real Redis.

use std::net::Ipv4Addr;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::child::Child;
use crate::names::loopback;
use crate::wire::Wire;
use crate::{eventually, installed};

/// Whether it is installed.
pub fn installed() -> bool {
    installed::program("redis-server", "--version", "redis-server")
}

/// A running `redis-server`. Dropping it ends it.
pub struct Redis {
    process: Child,
    host: Ipv4Addr,
    directory: TempDir,
}

impl Redis {
    pub async fn start() -> Redis {
        let directory = TempDir::new().expect("there is room for a directory");
        let host = loopback();
        let redis = Redis {
            process: run(host, &directory),
            host,
            directory,
        };
        redis.answers().await;
        redis
    }

    /// As `[store] url` has it.
    pub fn url(&self) -> String {
        format!("redis://{}:6379", self.host)
    }

    /// What it says to a command in its plainest form.
    pub async fn told(&self, command: &str) -> String {
        self.try_told(command).await.expect("redis answers")
    }

    async fn try_told(&self, command: &str) -> Option<String> {
        let address = format!("{}:6379", self.host);
        let mut wire = Wire::connect(&address).await.ok()?;
        let request = format!("{command}\r\nQUIT\r\n");
        wire.try_send(request).await.ok()?;
        let answer = wire.rest().await.got;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Ends it at once, as a machine that fails does.
    pub async fn dies(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended().await;
    }

    /// Starts it again, empty.
    pub async fn comes_back(&mut self) {
        self.process = run(self.host, &self.directory);
        self.answers().await;
    }

    /// Answers nothing, and does not refuse either, until [`Redis::goes_on`].
    pub fn hangs(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn goes_on(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn answers(&self) {
        eventually("redis to answer", async || {
            let answer = self.try_told("PING").await;
            answer.is_some_and(|answer| answer.contains("PONG"))
        })
        .await;
    }
}

fn run(host: Ipv4Addr, directory: &TempDir) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--bind", &host.to_string(), "--port", "6379"])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .arg("--dir")
        .arg(directory.path());
    Child::start(command)
}
