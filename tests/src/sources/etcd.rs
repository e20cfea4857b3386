//! A real etcd, asked by its JSON gateway.

use std::net::Ipv4Addr;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::Child;
use crate::names::loopback;
use crate::wire::Wire;
use crate::{client, eventually, installed};

/// Whether etcd is installed.
pub fn installed() -> bool {
    installed::program("etcd", "--version", "etcd-server")
}

/// A running etcd. Dropping it ends it.
pub struct Etcd {
    process: Child,
    host: Ipv4Addr,
    directory: TempDir,
}

impl Etcd {
    pub async fn start() -> Etcd {
        let directory = TempDir::new().expect("there is room for a directory");
        let host = loopback();
        let etcd = Etcd {
            process: run(host, &directory),
            host,
            directory,
        };
        etcd.answers().await;
        etcd
    }

    pub fn address(&self) -> String {
        format!("{}:2379", self.host)
    }

    /// Gives a key a value; the revision.
    pub async fn put(&self, key: &str, value: &str) -> u64 {
        let pair = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        revision(&self.ask("/v3/kv/put", &pair).await)
    }

    pub async fn delete(&self, key: &str) -> u64 {
        let key = json!({ "key": STANDARD.encode(key) });
        revision(&self.ask("/v3/kv/deleterange", &key).await)
    }

    /// Forgets all that was before a revision.
    pub async fn compact(&self, revision: u64) {
        let compaction = json!({ "revision": revision.to_string(), "physical": true });
        self.ask("/v3/kv/compaction", &compaction).await;
    }

    async fn ask(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let response = client::exchange(&self.address(), request).await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()
    }

    /// Ends it at once, as a machine that fails does.
    pub async fn dies(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended().await;
    }

    /// Starts it again with what it knew.
    pub async fn comes_back(&mut self) {
        self.process = run(self.host, &self.directory);
        self.answers().await;
    }

    /// Answers nothing, and does not refuse either, until [`Etcd::goes_on`].
    pub fn hangs(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn goes_on(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn answers(&self) {
        let address = self.address();
        eventually("etcd to answer", async || {
            let Ok(mut wire) = Wire::connect(&address).await else {
                return false;
            };
            let request = "GET /health HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n";
            if wire.try_send(request).await.is_err() {
                return false;
            }
            let answer = wire.rest().await.got;
            String::from_utf8_lossy(&answer).contains("\"health\":\"true\"")
        })
        .await;
    }
}

fn revision(answer: &Value) -> u64 {
    let revision = answer["header"]["revision"].as_str();
    revision
        .and_then(|revision| revision.parse().ok())
        .expect("a revision")
}

fn run(host: Ipv4Addr, directory: &TempDir) -> Child {
    let (clients, peers) = (format!("http://{host}:2379"), format!("http://{host}:2380"));
    let mut command = Command::new("etcd");
    command
        .arg("--data-dir")
        .arg(directory.path())
        .args(["--name", "one"])
        .args([
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
        ])
        .args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ])
        .args(["--initial-cluster", &format!("one={peers}")]);
    Child::start(command)
}
