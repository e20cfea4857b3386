//! Servers that are made up, for a policy to choose from.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::plugin::{EndpointView, FleetView, ServerView};

/// A fleet. What is under way at each server is what the trial says.
pub(super) struct Servers(Vec<Server>);

struct Server {
    name: String,
    weight: u32,
    labels: Vec<(String, String)>,
    down: bool,
    in_flight: AtomicU32,
}

impl Servers {
    /// One server for each weight, in two zones by turns.
    pub(super) fn weighing(weights: &[u32]) -> Servers {
        let server = |(number, weight): (usize, &u32)| Server {
            name: format!("s{number}.test:80"),
            weight: *weight,
            labels: vec![("zone".to_owned(), ["a", "b"][number % 2].to_owned())],
            down: false,
            in_flight: AtomicU32::new(0),
        };
        Servers(weights.iter().enumerate().map(server).collect())
    }

    /// So many of weight 1.
    pub(super) fn alike(number: usize) -> Servers {
        Servers::weighing(&vec![1; number])
    }

    /// So many, of which the second one is down where there are three or more.
    pub(super) fn one_down(number: usize) -> Servers {
        let mut servers = Servers::alike(number);
        if let [_, second, _, ..] = &mut servers.0[..] {
            second.down = true;
        }
        servers
    }

    /// All but the last one.
    pub(super) fn without_last(mut self) -> Servers {
        self.0.pop();
        self
    }

    /// Bits of all that are not down.
    pub(super) fn all(&self) -> Vec<u64> {
        let mut words = vec![0; self.0.len().div_ceil(64)];
        for (index, server) in self.0.iter().enumerate() {
            words[index / 64] |= u64::from(!server.down) << (index % 64);
        }
        words
    }

    pub(super) fn begin(&self, index: u32) {
        if let Some(server) = self.0.get(index as usize) {
            server.in_flight.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn end(&self, index: u32) {
        if let Some(server) = self.0.get(index as usize) {
            server.in_flight.fetch_sub(1, Relaxed);
        }
    }
}

impl FleetView for Servers {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |(number, server): (usize, &Server)| EndpointView {
            id: 1 + number as u64,
            address: format!("192.0.2.{}:{}", number % 250, 80 + number / 250),
            weight: server.weight,
        };
        self.0.iter().enumerate().map(endpoint).collect()
    }

    fn server(&self, index: u32) -> Option<ServerView<'_>> {
        let server = self.0.get(index as usize)?;
        Some(ServerView {
            name: &server.name,
            down: server.down,
            labels: &server.labels,
            max_fails: 1,
            fail_timeout: 10,
            route: &server.name[..server.name.len() - ".test:80".len()],
        })
    }

    fn in_flight(&self, index: u32) -> u32 {
        let server = self.0.get(index as usize);
        server.map_or(0, |server| server.in_flight.load(Relaxed))
    }

    /// Each one is a little slower than the one before.
    fn latency_us(&self, index: u32) -> u32 {
        match (index as usize) < self.0.len() {
            true => 1000 + 10 * index,
            false => 0,
        }
    }

    fn health(&self, index: u32) -> u32 {
        match (index as usize) < self.0.len() {
            true => 100,
            false => 0,
        }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}
