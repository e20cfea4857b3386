//! The rules of nginx 1.22 in the steps of its C code (`ngx_http_limit_req_handler`, `_lookup`,
//! `_account`, `_expire`), with its types: numbers without a sign that wrap, a queue, one node for
//! each key. Not shared with the plugin in any part.

use std::collections::{BTreeMap, VecDeque};

/// A zone and how it is used.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) name: String,
    pub(super) rate: u64,
    pub(super) burst: u64,
    pub(super) delay: u64,
    /// How many nodes its memory holds.
    pub(super) most: usize,
    nodes: BTreeMap<String, Node>,
    /// The one used last in front.
    queue: VecDeque<String>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    excess: u64,
    last: u64,
}

/// What nginx does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: Option<&'static str>,
    pub(super) delay_ms: u64,
    pub(super) line: Option<String>,
}

enum Lookup {
    Busy,
    Again,
}

fn passed_since(now: u64, last: u64) -> u64 {
    let ms = now.wrapping_sub(last) as i64;
    if ms < -60000 {
        1
    } else if ms < 0 {
        0
    } else {
        ms as u64
    }
}

impl Limit {
    pub(super) fn new(name: &str, rate: u64, burst: u64, delay: Option<u64>, most: usize) -> Self {
        Limit {
            name: name.to_owned(),
            rate,
            burst: burst * 1000,
            delay: delay.map_or(i64::MAX as u64, |delay| delay * 1000),
            most,
            nodes: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    fn excess(&self, node: Node, ms: u64) -> u64 {
        let drained = self.rate.wrapping_mul(ms) / 1000;
        let excess = node.excess.wrapping_sub(drained).wrapping_add(1000) as i64;
        if excess < 0 { 0 } else { excess as u64 }
    }

    fn lookup(&mut self, key: &str, now: u64, excess: &mut u64) -> Lookup {
        if let Some(&node) = self.nodes.get(key) {
            self.queue.retain(|each| each != key);
            self.queue.push_front(key.to_owned());
            *excess = self.excess(node, passed_since(now, node.last));
            return if *excess > self.burst {
                Lookup::Busy
            } else {
                Lookup::Again
            };
        }
        *excess = 0;
        self.expire(1, now);
        if self.nodes.len() == self.most {
            self.expire(0, now);
        }
        assert!(self.nodes.len() < self.most);
        self.nodes
            .insert(key.to_owned(), Node { excess: 0, last: 0 });
        self.queue.push_front(key.to_owned());
        Lookup::Again
    }

    fn expire(&mut self, mut n: u32, now: u64) {
        while n < 3 {
            let Some(last) = self.queue.back() else {
                return;
            };
            let node = self.nodes[last];
            if n != 0 {
                let ms = (now.wrapping_sub(node.last) as i64).unsigned_abs();
                if ms < 60000 {
                    return;
                }
                let left = node.excess.wrapping_sub(self.rate.wrapping_mul(ms) / 1000) as i64;
                if left > 0 {
                    return;
                }
            }
            n += 1;
            let last = self.queue.pop_back().expect("it was there");
            self.nodes.remove(&last);
        }
    }

    fn account(&mut self, key: &str, now: u64) -> u64 {
        let node = self.nodes[key];
        let ms = passed_since(now, node.last);
        let excess = self.excess(node, ms);
        let node = self.nodes.get_mut(key).expect("it was looked up");
        node.excess = excess;
        if ms != 0 {
            node.last = now;
        }
        excess
    }

    fn delay(&self, excess: u64) -> u64 {
        if excess <= self.delay {
            0
        } else {
            (excess - self.delay) * 1000 / self.rate
        }
    }
}

/// Decides over all limits; each has its key for this request.
pub(super) fn handle(limits: &mut [Limit], keys: &[String], now: u64, dry_run: bool) -> Outcome {
    let dry = if dry_run { ", dry run" } else { "" };
    let mut counted = false;
    for (limit, key) in limits.iter_mut().zip(keys) {
        if key.is_empty() {
            continue;
        }
        counted = true;
        let mut excess = 0;
        if let Lookup::Busy = limit.lookup(key, now, &mut excess) {
            let line = format!(
                "limiting requests{dry}, excess: {}.{:03} by zone \"{}\"",
                excess / 1000,
                excess % 1000,
                limit.name
            );
            return Outcome {
                status: Some(if dry_run {
                    "REJECTED_DRY_RUN"
                } else {
                    "REJECTED"
                }),
                delay_ms: 0,
                line: Some(line),
            };
        }
    }
    if !counted {
        return Outcome {
            status: None,
            delay_ms: 0,
            line: None,
        };
    }
    let (mut max_delay, mut line) = (0, None);
    for n in (0..limits.len()).rev() {
        let limit = &mut limits[n];
        if keys[n].is_empty() {
            continue;
        }
        let excess = limit.account(&keys[n], now);
        let delay = limit.delay(excess);
        if delay > max_delay {
            max_delay = delay;
            line = Some(format!(
                "delaying request{dry}, excess: {}.{:03}, by zone \"{}\"",
                excess / 1000,
                excess % 1000,
                limit.name
            ));
        }
    }
    let status = match (max_delay, dry_run) {
        (0, _) => "PASSED",
        (_, true) => "DELAYED_DRY_RUN",
        (_, false) => "DELAYED",
    };
    Outcome {
        status: Some(status),
        delay_ms: if dry_run { 0 } else { max_delay },
        line,
    }
}
