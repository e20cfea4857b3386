//! What an endpoint costs: its latency, as a moving average that rises at once and falls slowly.
//!
//! Rising to every peak makes an endpoint that turns slow lose its requests with its first slow
//! answer. Falling takes `decay`, whatever the number of requests: an average by requests would
//! keep an endpoint that gets none at its peak for ever.
//!
//! Two things differ from Finagle and Linkerd, where the average also falls while requests wait for
//! an answer, so that a server that hangs, or is slow and tried again, gets more and more of them:
//! here it falls only while nothing is in progress. One attempt shows what the endpoint is like by
//! now; until it has ended, the last measurement counts.

use waypost_sdk::{StateReader, StateWriter};

/// Costs more than every endpoint that was measured: one that was not, and has been asked.
const UNKNOWN_US: f64 = 1e15;

/// Above every latency that is measured: the host's times have 32 bits.
const MOST_US: f64 = 1e12;

/// What is known of an endpoint's latency.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latency {
    /// The average, in microseconds, as of the last measurement; 0 before the first.
    average_us: f64,
    measured_at_us: u64,
}

impl Latency {
    /// What an endpoint with so many attempts in progress costs: its latency for each of them and
    /// one more. One without a measurement costs nothing until it is asked, and then more than all
    /// others: it is tried at once, and gets no second request before it has answered the first.
    pub(crate) fn cost(&self, load: u32, now_us: u64, decay_us: f64) -> f64 {
        let load = f64::from(load);
        if load == 0.0 {
            self.average_us * self.faded(now_us, decay_us)
        } else if self.average_us == 0.0 {
            UNKNOWN_US + load
        } else {
            self.average_us * (load + 1.0)
        }
    }

    /// An attempt took so long.
    pub(crate) fn measured(&mut self, latency_us: f64, now_us: u64, decay_us: f64) {
        let faded = self.faded(now_us, decay_us);
        self.average_us = if latency_us < self.average_us {
            self.average_us * faded + latency_us * (1.0 - faded)
        } else {
            latency_us.min(MOST_US)
        };
        self.measured_at_us = now_us;
    }

    /// An attempt failed, which counts as so long; the average does not fall.
    pub(crate) fn failed(&mut self, latency_us: f64, now_us: u64) {
        self.average_us = self.average_us.max(latency_us).min(MOST_US);
        self.measured_at_us = now_us;
    }

    /// An attempt was given up after so long: that says something if others took less.
    pub(crate) fn given_up(&mut self, latency_us: f64, now_us: u64) {
        if latency_us > self.average_us {
            self.average_us = latency_us.min(MOST_US);
            self.measured_at_us = now_us;
        }
    }

    /// What is left of a measurement by now: 1 to 0.
    fn faded(&self, now_us: u64, decay_us: f64) -> f64 {
        let passed_us = now_us.saturating_sub(self.measured_at_us) as f64;
        (-passed_us / decay_us).exp()
    }

    /// Adds it to a state.
    pub(crate) fn export(&self, state: &mut StateWriter) {
        state.number(self.average_us.to_bits());
        state.number(self.measured_at_us);
    }

    /// Reads it from a state.
    ///
    /// # Errors
    /// The end of the state, or a latency that no version writes.
    pub(crate) fn import(read: &mut StateReader) -> Result<Latency, String> {
        let (average_us, measured_at_us) = (f64::from_bits(read.number()?), read.number()?);
        if !(0.0..=MOST_US).contains(&average_us) {
            return Err("the state holds a latency that cannot be".to_owned());
        }
        Ok(Latency {
            average_us,
            measured_at_us,
        })
    }
}
