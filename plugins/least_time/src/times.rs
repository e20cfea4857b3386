//! What is known of an endpoint's times, and nginx's defences against starvation: a server that
//! was slow once must get another chance, and small differences must not leave an equal server
//! without requests.
//!
//! - A mean halves for every `fail_timeout` and one second without a pick ([`Times::recent`]).
//! - Times count in steps of 20 ms, and what is above 5 s counts as 5 s ([`bucket`]).
//! - Only attempts that went well count: a server must not become popular by failing quickly.
//!
//! Clocks and roundings are nginx's: milliseconds, and whole seconds where it counts those.

use waypost_sdk::{StateReader, StateWriter};

/// Long before any clock began, as nginx's 0 is: far enough for every mean to be forgotten, and
/// subtractions do not overflow.
const NEVER: i64 = -(1 << 40);

/// Above every time that is measured, in milliseconds: the host's times have 32 bits.
const MOST_MS: u64 = 1 << 32;

/// What is known of an endpoint's times.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    /// The mean time to the response header; 0 before the first.
    pub(crate) header_ms: u64,
    /// The mean time to the end of the response; 0 before the first.
    pub(crate) response_ms: u64,
    /// The second in which it last failed, or was picked after a `fail_timeout` without that.
    checked: i64,
    /// The mean of how long its attempts had been in progress at the picks that compared it.
    inflight_ms: u64,
    /// Attempts in progress, of those that this instance has picked.
    inflight: u64,
    /// When that number last changed, and how long they had been in progress then, all together.
    changed_ms: u64,
    spent_ms: u64,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            header_ms: 0,
            response_ms: 0,
            checked: NEVER,
            inflight_ms: 0,
            inflight: 0,
            changed_ms: 0,
            spent_ms: 0,
        }
    }
}

impl Times {
    /// A pick is about to compare it: takes into the mean how long its attempts have been in
    /// progress.
    pub(crate) fn look(&mut self, now_ms: u64) {
        if let Some(mean) = self.spent_ms.checked_div(self.inflight) {
            let mean = mean + now_ms.saturating_sub(self.changed_ms);
            average_ms(&mut self.inflight_ms, mean);
        }
    }

    /// What this mean says of it now: half of it for every `fail_timeout` without a pick, so that
    /// slow endpoints are tried again; and not less than its attempts in progress have taken, if
    /// those are counted.
    pub(crate) fn recent(&self, mean_ms: u64, now_us: u64, fail_timeout: u64) -> u64 {
        let quiet = seconds(now_us) - self.checked;
        let fail_timeout = i64::try_from(fail_timeout).unwrap_or(i64::MAX - 1);
        let mut mean_ms = mean_ms;
        if quiet > fail_timeout {
            let halvings = quiet / (fail_timeout + 1);
            mean_ms = u32::try_from(halvings)
                .ok()
                .and_then(|halvings| mean_ms.checked_shr(halvings))
                .unwrap_or(0);
        }
        match self.inflight {
            0 => mean_ms,
            _ => mean_ms.max(self.inflight_ms),
        }
    }

    /// It was picked.
    pub(crate) fn check(&mut self, now_us: u64, fail_timeout: u64) {
        let now = seconds(now_us);
        let fail_timeout = i64::try_from(fail_timeout).unwrap_or(i64::MAX);
        if now - self.checked > fail_timeout {
            self.checked = now;
        }
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, ended_us: u64) {
        self.checked = self.checked.max(seconds(ended_us));
    }

    /// An attempt begins, and counts as in progress.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.advance(now_ms);
        self.inflight += 1;
    }

    /// An attempt that counted as in progress has ended.
    pub(crate) fn end(&mut self, began_ms: u64, ended_ms: u64) {
        self.advance(ended_ms);
        // It may be told late, when others have moved the time on.
        let own_ms = self.changed_ms.saturating_sub(began_ms);
        self.inflight = self.inflight.saturating_sub(1);
        self.spent_ms = match self.inflight {
            0 => 0,
            _ => self.spent_ms.saturating_sub(own_ms),
        };
    }

    fn advance(&mut self, now_ms: u64) {
        let now_ms = now_ms.max(self.changed_ms);
        self.spent_ms += (now_ms - self.changed_ms) * self.inflight;
        self.changed_ms = now_ms;
    }

    /// Adds it to a state, without the attempts in progress.
    pub(crate) fn export(&self, state: &mut StateWriter) {
        state.number(self.header_ms);
        state.number(self.response_ms);
        state.number(self.inflight_ms);
        state.signed(self.checked);
    }

    /// Reads it from a state.
    ///
    /// # Errors
    /// The end of the state, or figures that no version writes.
    pub(crate) fn import(read: &mut StateReader) -> Result<Times, String> {
        let (header_ms, response_ms) = (read.number()?, read.number()?);
        let (inflight_ms, checked) = (read.number()?, read.signed()?);
        let most = header_ms.max(response_ms).max(inflight_ms);
        if most > MOST_MS || !(NEVER..-NEVER).contains(&checked) {
            return Err("the state holds times that cannot be".to_owned());
        }
        Ok(Times {
            header_ms,
            response_ms,
            inflight_ms,
            checked,
            ..Times::default()
        })
    }
}

/// Takes a time in microseconds into a mean in milliseconds
/// (`ngx_http_upstream_response_time_avg`).
pub(crate) fn average(mean_ms: &mut u64, time_us: u64) {
    average_ms(mean_ms, time_us / 1000);
}

fn average_ms(mean_ms: &mut u64, time_ms: u64) {
    *mean_ms = match *mean_ms {
        0 => time_ms,
        mean => (0.5 + (time_ms as f64 * 0.05 + mean as f64 * 0.95)) as u64,
    };
}

/// A mean in steps of 20 ms, so that those close to each other are equal; all above 5 s are, so
/// that the attempts in progress decide between slow ones.
pub(crate) fn bucket(mean_ms: u64) -> u64 {
    if mean_ms > 5000 {
        5000
    } else {
        mean_ms + 20 - mean_ms % 20
    }
}

fn seconds(time_us: u64) -> i64 {
    (time_us / 1_000_000) as i64
}
