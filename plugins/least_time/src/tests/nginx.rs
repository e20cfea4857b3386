//! `ngx_http_upstream_least_time_module.c` peer by peer, as it is written, against the policy: the
//! same traffic, and never another choice.

use std::cell::RefCell;

use waypost_sdk::testing::{Service, Traffic, Upstream, endpoint};
use waypost_sdk::{Done, Draws, Ending, Failures, Observer};

use super::LeastTime;

/// As the tests' endpoints have it, in seconds.
const FAIL_TIMEOUT: u64 = 10;

/// A peer as nginx keeps it. `checked` begins at 0, and its clock is far from that.
#[derive(Clone, Default)]
struct Peer {
    weight: u64,
    effective_weight: i64,
    current_weight: i64,
    conns: u64,
    checked: u64,
    header_time: u64,
    response_time: u64,
    inflight_time: u64,
    inflight_last: u64,
    inflight_reqs: u64,
    inflight_reqs_changed: u64,
}

struct Upstreams {
    peers: Vec<Peer>,
    by_header: bool,
    use_inflight: bool,
}

fn response_time_avg(avg: &mut u64, v: u64) {
    *avg = if *avg != 0 {
        (0.5 + (v as f64 * 0.05 + *avg as f64 * 0.95)) as u64
    } else {
        v
    };
}

impl Upstreams {
    /// `ngx_http_upstream_least_time_eta`
    fn eta(&self, peer: &Peer, now: u64) -> u64 {
        let mut rt = if self.by_header {
            peer.header_time
        } else {
            peer.response_time
        };
        if now - peer.checked > FAIL_TIMEOUT {
            let shift = (now - peer.checked) / (FAIL_TIMEOUT + 1);
            rt = if shift < 64 { rt >> shift } else { 0 };
        }
        if peer.inflight_reqs > 0 {
            rt = rt.max(peer.inflight_time);
        }
        if rt > 5000 {
            rt = 5000;
        } else {
            rt += 20 - rt % 20;
        }
        rt * (1 + peer.conns)
    }

    /// `ngx_http_upstream_get_least_time_peer`
    fn get(&mut self, msec: u64) -> usize {
        let now = msec / 1000;
        let (mut best, mut best_eta, mut many) = (None, 0, false);
        for index in 0..self.peers.len() {
            let peer = &mut self.peers[index];
            if let Some(ift) = peer.inflight_last.checked_div(peer.inflight_reqs) {
                let ift = ift + (msec - peer.inflight_reqs_changed);
                response_time_avg(&mut peer.inflight_time, ift);
            }
            let eta = self.eta(&self.peers[index], now);
            let weight = self.peers[index].weight;
            match best.map(|best: usize| self.peers[best].weight) {
                Some(best_weight) if eta * best_weight == best_eta * weight => many = true,
                Some(best_weight) if eta * best_weight > best_eta * weight => {}
                _ => (best, best_eta, many) = (Some(index), eta, false),
            }
        }
        let first = best.unwrap();
        let (mut best, mut total) = (first, 0);
        if many {
            for index in first..self.peers.len() {
                let eta = self.eta(&self.peers[index], now);
                if eta * self.peers[best].weight != best_eta * self.peers[index].weight {
                    continue;
                }
                let peer = &mut self.peers[index];
                peer.current_weight += peer.effective_weight;
                total += peer.effective_weight;
                peer.effective_weight += i64::from(peer.effective_weight < peer.weight as i64);
                if self.peers[index].current_weight > self.peers[best].current_weight {
                    best = index;
                }
            }
        }
        let peer = &mut self.peers[best];
        peer.current_weight -= total;
        if self.use_inflight {
            if peer.inflight_reqs > 0 {
                peer.inflight_last += (msec - peer.inflight_reqs_changed) * peer.inflight_reqs;
            }
            peer.inflight_reqs_changed = msec;
            peer.inflight_reqs += 1;
        }
        if now - peer.checked > FAIL_TIMEOUT {
            peer.checked = now;
        }
        peer.conns += 1;
        best
    }

    /// `ngx_http_upstream_free_least_time_peer`, and what it calls.
    fn free(&mut self, index: usize, msec: u64, time: u64, failed: bool) {
        let peer = &mut self.peers[index];
        if self.use_inflight {
            if peer.inflight_reqs == 1 {
                peer.inflight_last = 0;
            } else {
                peer.inflight_last += (msec - peer.inflight_reqs_changed) * peer.inflight_reqs;
                peer.inflight_last -= time;
                peer.inflight_reqs_changed = msec;
            }
            peer.inflight_reqs -= 1;
        }
        if failed {
            peer.checked = msec / 1000;
            // max_fails is 1: a failure takes all of the weight.
            peer.effective_weight = 0;
        } else {
            response_time_avg(&mut peer.response_time, time);
            response_time_avg(&mut peer.header_time, time);
        }
        peer.conns -= 1;
    }
}

#[test]
fn every_choice_is_the_one_of_nginxs_two_passes() {
    let mut draws = Draws::from_seed(11);
    let settings = [(true, false), (false, false), (true, true), (false, true)];
    for count in [2, 3, 5, 64, 65, 130] {
        for (by_header, use_inflight) in settings {
            let weights: Vec<u32> = (0..count).map(|_| 1 + draws.below(4) as u32).collect();
            let peers = weights.iter().map(|&weight| Peer {
                weight: weight.into(),
                effective_weight: weight.into(),
                ..Peer::default()
            });
            let nginx = RefCell::new(Upstreams {
                peers: peers.collect(),
                by_header,
                use_inflight,
            });
            let servers = weights
                .iter()
                .enumerate()
                .map(|(index, &weight)| endpoint(&format!("a{index}:1")).weight(weight));
            let by = if by_header { "header" } else { "last_byte" };
            let settings = format!(r#"{{"by": "{by}", "inflight": {use_inflight}}}"#);
            let mut upstream = Upstream::<LeastTime>::new(&settings, servers).unwrap();
            // As far from nginx's 0 as the time of day is. Whole milliseconds, which is what nginx
            // counts: it knows no others.
            upstream.now_us = 1_700_000_000_000_000;
            let began_ms = upstream.now_us / 1000;
            let traffic = Traffic {
                requests: 3000,
                per_second: 20,
                parallel: 1000,
                seed: draws.draw(),
            };
            let serve = |index: usize, now_us: u64, draws: &mut Draws| {
                let expected = nginx.borrow_mut().get(began_ms + now_us / 1000);
                assert_eq!(
                    index, expected,
                    "{settings}, {count} servers, at {now_us} us"
                );
                let slow = [1, 1, 1, 10, 100][draws.below(5) as usize];
                Service {
                    takes_us: 1000 * (1 + draws.below(90) * slow),
                    fails: draws.below(20) == 0,
                }
            };
            let hear = |policy: &mut LeastTime, done: &Done| {
                let failed = done.outcome.ending == Ending::Failed;
                let ended_ms = (done.memo() + u64::from(done.outcome.total_us)) / 1000;
                let time = u64::from(done.outcome.total_us / 1000);
                nginx.borrow_mut().free(done.index, ended_ms, time, failed);
                policy.done(done);
                if failed {
                    policy.failed(done.index);
                }
            };
            upstream.simulate(&traffic, serve, hear);
        }
    }
}
