//! `least_time`: the endpoint with the least time to expect, for its weight
//! (`ngx_http_upstream_least_time_module.c`).
//!
//! The time to expect is the mean of the past (see [`times`]) for each attempt in progress and one
//! more. Two passes, as in `least_conn`: the first finds the least; if several share it, the second
//! lets them, from the first of them on, take turns by weight. One instance for the whole process:
//! the turns and the means are those of all workers, as with nginx's `zone`.
//!
//! With `inflight` nginx forgets an attempt once its response header is there, if it balances by
//! `header`. A policy hears of an attempt when it has ended, so that here it counts until then.

use times::Times;
use waypost_sdk::{
    About, Candidates, Describe, Done, Ending, Endpoint, Failures, Keeper, Observer, Outcome, Pick,
    Policy, Schema, Settings, SettingsError, Sharing, SmoothWeighted, StateEntries, StateReader,
    StateWriter,
};

mod times;

/// Up to so many endpoints are asked for one by one: a list costs an allocation.
const FEW: usize = 4;

/// The state's format: the turns, then for each endpoint its address and what is known of its
/// times.
const FORMAT: u8 = 1;

/// Bytes of state after which no further endpoint is added; the others begin anew. The turns take
/// 400 KiB at most, and the host carries 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// The least time to expect, by turns among equals.
pub struct LeastTime {
    by: By,
    /// Whether attempts in progress that take longer than the mean count.
    inflight: bool,
    turns: SmoothWeighted,
    /// The address of each endpoint, to recognise it in a state.
    addresses: Vec<String>,
    weights: Vec<u32>,
    times: Vec<Times>,
    /// The time of the last pick.
    latest_us: u64,
    /// The `fail_timeout` of each, in seconds.
    fail_timeouts: Vec<u64>,
    /// What the first pass of a pick expects of each candidate, for the second. Kept so that no
    /// pick allocates.
    expected: Vec<u64>,
}

/// What counts as the time of an attempt.
#[derive(Clone, Copy)]
enum By {
    /// Until the response header.
    Header,
    /// Until the end of the response.
    LastByte,
}

impl Policy for LeastTime {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let by = match settings.text("by")?.as_deref() {
            Some("header") => By::Header,
            Some("last_byte") => By::LastByte,
            Some(_) => {
                return Err(settings.error("by", "`by` must be \"header\" or \"last_byte\""));
            }
            None => {
                let missing = "`by` is missing: \"header\" or \"last_byte\"";
                return Err(settings.error("by", missing));
            }
        };
        let inflight = settings.flag("inflight")?;
        settings.refuse_streams("use `least_conn`")?;
        settings.finish()?;
        Ok(LeastTime {
            by,
            inflight,
            turns: SmoothWeighted::default(),
            addresses: Vec::new(),
            weights: Vec::new(),
            times: Vec::new(),
            latest_us: 0,
            fail_timeouts: Vec::new(),
            expected: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.weights = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        self.times = vec![Times::default(); endpoints.len()];
        self.expected = vec![0; endpoints.len()];
        self.fail_timeouts = endpoints.iter().map(Endpoint::fail_timeout).collect();
        self.addresses = endpoints.into_iter().map(|e| e.address).collect();
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let (fleet, count) = (pick.fleet(), self.times.len());
        // `done` brings no clock: the time of the pick plus the time that the attempt took is as
        // good.
        pick.set_memo(pick.now_us);
        self.latest_us = pick.now_us;
        let chosen = if count <= 1 {
            self.turns.pick(pick.candidates())
        } else if count <= FEW {
            let mut loads = [0; FEW];
            for (index, load) in loads.iter_mut().enumerate().take(count) {
                *load = fleet.in_flight(index);
            }
            self.choose(pick.candidates(), &loads[..count], pick.now_us)
        } else {
            self.choose(pick.candidates(), &fleet.all_in_flight(), pick.now_us)
        }?;
        let times = &mut self.times[chosen];
        if self.inflight {
            times.begin(pick.now_us / 1000);
        }
        times.check(pick.now_us, self.fail_timeouts[chosen]);
        Some(chosen)
    }
}

impl LeastTime {
    fn choose(&mut self, candidates: &Candidates, loads: &[u32], now_us: u64) -> Option<usize> {
        for index in candidates.iter() {
            self.expected[index] = self.expect(index, loads[index], now_us);
        }
        let expected = |index: usize| self.expected[index];
        let weight = |index: usize| u64::from(self.weights[index]);
        // Times are multiplied by the other's weight rather than divided by their own.
        let mut indexes = candidates.iter();
        let (mut first, mut many) = (indexes.next()?, false);
        for index in indexes {
            let (here, least) = (
                expected(index) * weight(first),
                expected(first) * weight(index),
            );
            if here < least {
                (first, many) = (index, false);
            } else if here == least {
                many = true;
            }
        }
        if !many {
            // nginx moves no account where there is no tie.
            return Some(first);
        }
        let mut round = self.turns.round();
        for index in candidates.iter().skip_while(|&index| index < first) {
            // As in nginx, the time is that of the first, and the weight that of the leader: where
            // weights differ, a tie with the first may be none with a later leader.
            let leader = round.leader().unwrap_or(first);
            if expected(index) * weight(leader) == expected(first) * weight(index) {
                round.join(index);
            }
        }
        round.finish()
    }

    /// The time to expect of an endpoint that has so many attempts in progress, in milliseconds.
    fn expect(&mut self, index: usize, load: u32, now_us: u64) -> u64 {
        let times = &mut self.times[index];
        if self.inflight {
            times.look(now_us / 1000);
        }
        let mean_ms = match self.by {
            By::Header => times.header_ms,
            By::LastByte => times.response_ms,
        };
        let recent_ms = times.recent(mean_ms, now_us, self.fail_timeouts[index]);
        times::bucket(recent_ms) * (1 + u64::from(load))
    }
}

impl Failures for LeastTime {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Observer for LeastTime {
    fn done(&mut self, done: &Done) {
        let Some(times) = self.times.get_mut(done.index) else {
            return;
        };
        let Outcome {
            ending,
            header_us,
            total_us,
            ..
        } = done.outcome;
        // The end may be told late, when another policy has picked for the exchange meanwhile and
        // left a memo of its own: no attempt began later than the last pick.
        let began_us = done.memo().min(self.latest_us);
        let ended_us = began_us + u64::from(total_us);
        if self.inflight {
            times.end(began_us / 1000, ended_us / 1000);
        }
        match ending {
            Ending::Failed => times.failed(ended_us),
            // A client that leaves a response says nothing about its header.
            Ending::Completed | Ending::Abandoned if header_us > 0 => {
                times::average(&mut times.header_ms, header_us.into());
                times::average(&mut times.response_ms, total_us.into());
            }
            Ending::Completed | Ending::Abandoned | Ending::PassedOver | Ending::Unused => {}
        }
    }
}

/// The turns and the times; attempts in progress end at the instance that picked them.
impl Keeper for LeastTime {
    fn export_state(&self) -> Vec<u8> {
        let mut state = StateWriter::new(FORMAT);
        state.bytes(&self.turns.export_state());
        for (address, times) in self.addresses.iter().zip(&self.times) {
            if state.len() > MOST_STATE {
                break;
            }
            state.text(address);
            times.export(&mut state);
        }
        state.finish()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut read = StateReader::new(state);
        read.format(&[FORMAT])?;
        let turns = read.bytes()?;
        let before = StateEntries::read(&mut read, Times::import)?;
        self.turns.import_state(turns)?;
        before.restore(&self.addresses, &mut self.times);
        Ok(())
    }
}

impl Describe for LeastTime {
    fn describe() -> About {
        About::new("the server with the least time to expect, for its weight")
            .no_streams()
            .settings(
                Schema::new()
                    .choice(
                        "by",
                        "what is measured: the time until the response header or until the end",
                        &["header", "last_byte"],
                    )
                    .required()
                    .flag(
                        "inflight",
                        "requests in progress count with the time that they have taken so far",
                    ),
            )
    }
}

waypost_sdk::export!(LeastTime, failures, observer, keeper, describe);

#[cfg(test)]
mod tests;
