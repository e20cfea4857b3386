//! Clients that keep a proxy busy while a spec does something to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::Client;
use crate::in_time;
use crate::wire::Wire;

/// Clients that send one request after the other, each on a connection that it keeps until the
/// proxy announces its end.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: JoinSet<Report>,
}

/// What the clients met.
#[derive(Debug, Default)]
pub struct Report {
    /// Latencies of all requests that got a 200 with a whole body.
    pub answered: Vec<Duration>,
    /// Everything else, in words.
    pub errors: Vec<String>,
    /// Bodies, in the order of the answers.
    pub bodies: Vec<String>,
    /// Connections that the clients opened.
    pub connections: usize,
}

impl Report {
    /// The latency that so many of a hundred requests did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.answered.clone();
        sorted.sort();
        sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
    }
}

impl Load {
    /// Starts so many clients, each with a request at a time.
    pub fn start(address: &str, clients: usize) -> Load {
        Load::start_at(address, clients, "/")
    }

    /// As [`Load::start`], for a target.
    pub fn start_at(address: &str, clients: usize, target: &'static str) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            set.spawn(requests(address.to_owned(), target, stop.clone()));
        }
        Load { stop, clients: set }
    }

    /// Lets every client finish its request, and returns what they met.
    pub async fn stop(mut self) -> Report {
        self.stop.store(true, Relaxed);
        let mut all = Report::default();
        while let Some(one) = in_time("the clients to finish", self.clients.join_next()).await {
            let one = one.expect("a client does not panic");
            all.answered.extend(one.answered);
            all.errors.extend(one.errors);
            all.bodies.extend(one.bodies);
            all.connections += one.connections;
        }
        all
    }
}

async fn requests(address: String, target: &str, stop: Arc<AtomicBool>) -> Report {
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut report = Report::default();
    let mut client = None;
    while !stop.load(Relaxed) {
        let mut connected = match client.take() {
            Some(client) => client,
            None => match Wire::connect(&address).await {
                Ok(wire) => {
                    report.connections += 1;
                    Client { wire }
                }
                Err(error) => {
                    report.errors.push(format!("cannot connect: {error}"));
                    continue;
                }
            },
        };
        let began = Instant::now();
        if let Err(error) = connected.wire.try_send(&request).await {
            report.errors.push(format!("cannot send: {error}"));
            continue;
        }
        match connected.response_or_end().await {
            Some(response) if response.status == 200 && response.complete => {
                report.answered.push(began.elapsed());
                report.bodies.push(response.text());
                if !response.header("Connection").eq_ignore_ascii_case("close") {
                    client = Some(connected);
                }
            }
            Some(response) => report.errors.push(format!("{response:?}")),
            None => report.errors.push("closed without an answer".to_owned()),
        }
    }
    report
}
