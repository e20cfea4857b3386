//! Servers with queues. What a policy sees of them is what it would see of real ones.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::plugin::{EndpointView, FleetView, ServerView};

/// A server as the command describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedServer {
    pub name: String,
    pub weight: u32,
    pub labels: Vec<(String, String)>,
}

pub(super) struct Fleet(Vec<Server>);

struct Server {
    described: SimulatedServer,
    is_up: AtomicBool,
    in_flight: AtomicU32,
    latency_us: AtomicU32,
    /// Of one thread: a fleet has to be shareable.
    work: Mutex<Work>,
}

/// When each slot is free, and how slow it is.
struct Work {
    free_us: BinaryHeap<Reverse<u64>>,
    slots: usize,
    factor: f64,
}

impl Fleet {
    pub(super) fn new(servers: &[SimulatedServer], slots: usize) -> Fleet {
        let server = |described: &SimulatedServer| Server {
            described: described.clone(),
            is_up: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            latency_us: AtomicU32::new(0),
            work: Mutex::new(Work {
                free_us: (0..slots).map(|_| Reverse(0)).collect(),
                slots,
                factor: 1.0,
            }),
        };
        Fleet(servers.iter().map(server).collect())
    }

    pub(super) fn servers(&self) -> impl Iterator<Item = &SimulatedServer> {
        self.0.iter().map(|server| &server.described)
    }

    /// Bits of those that are up.
    pub(super) fn candidates(&self) -> impl Iterator<Item = u64> {
        self.0.chunks(64).map(|word| {
            let bits = word.iter().enumerate();
            bits.fold(0, |bits, (bit, server)| {
                bits | u64::from(server.is_up.load(Relaxed)) << bit
            })
        })
    }

    pub(super) fn is_any_up(&self) -> bool {
        self.0.iter().any(|server| server.is_up.load(Relaxed))
    }

    /// A request comes; when it will have been answered.
    pub(super) fn begin(&self, index: usize, now_us: u64, takes_us: f64) -> u64 {
        let server = &self.0[index];
        server.in_flight.fetch_add(1, Relaxed);
        let mut work = server.work.lock();
        let free_us = work.free_us.pop().map_or(0, |Reverse(free_us)| free_us);
        let ends_us = free_us.max(now_us) + (takes_us * work.factor).max(1.0) as u64;
        work.free_us.push(Reverse(ends_us));
        ends_us
    }

    /// A request has ended: after this time, if well.
    pub(super) fn end(&self, index: usize, total_us: Option<u32>) {
        let server = &self.0[index];
        server.in_flight.fetch_sub(1, Relaxed);
        if let Some(total_us) = total_us {
            // As in the proxy: 5 % for the newest.
            let mean = match server.latency_us.load(Relaxed) {
                0 => total_us,
                mean => (0.95 * f64::from(mean) + 0.05 * f64::from(total_us)) as u32,
            };
            server.latency_us.store(mean.max(1), Relaxed);
        }
    }

    pub(super) fn kill(&self, index: usize) {
        self.0[index].is_up.store(false, Relaxed);
    }

    /// With empty hands.
    pub(super) fn back(&self, index: usize, now_us: u64) {
        let server = &self.0[index];
        server.is_up.store(true, Relaxed);
        let mut work = server.work.lock();
        work.free_us = (0..work.slots).map(|_| Reverse(now_us)).collect();
    }

    pub(super) fn slow(&self, index: usize, factor: f64) {
        self.0[index].work.lock().factor = factor;
    }
}

impl FleetView for Fleet {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |(number, server): (usize, &Server)| EndpointView {
            id: 1 + number as u64,
            address: format!("192.0.2.{}:{}", number % 250, 80 + number / 250),
            weight: server.described.weight,
        };
        self.0.iter().enumerate().map(endpoint).collect()
    }

    fn server(&self, index: u32) -> Option<ServerView<'_>> {
        let server = self.0.get(index as usize)?;
        Some(ServerView {
            name: &server.described.name,
            down: false,
            labels: &server.described.labels,
            max_fails: 1,
            fail_timeout: 10,
            route: &server.described.name,
        })
    }

    fn in_flight(&self, index: u32) -> u32 {
        let server = self.0.get(index as usize);
        server.map_or(0, |server| server.in_flight.load(Relaxed))
    }

    fn latency_us(&self, index: u32) -> u32 {
        let server = self.0.get(index as usize);
        server.map_or(0, |server| server.latency_us.load(Relaxed))
    }

    fn health(&self, index: u32) -> u32 {
        let server = self.0.get(index as usize);
        server.map_or(0, |server| 100 * u32::from(server.is_up.load(Relaxed)))
    }

    fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}
