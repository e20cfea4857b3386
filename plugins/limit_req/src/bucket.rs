//! nginx's leaky bucket (`ngx_http_limit_req_module.c`): whole numbers, thousandths of a request,
//! milliseconds.

/// A request, in the units of an excess.
pub(crate) const REQUEST: i64 = 1000;

/// The largest number in a rate, a burst or a delay: it leaves all sums far below 64 bits.
pub(crate) const MOST: u64 = 1_000_000_000;

/// `last_ms` of a bucket that no request was counted in.
const NEVER: i64 = i64::MIN / 2;

/// A clock that goes back by more is taken for a new one.
const CLOCK_JUMP_MS: i64 = -60_000;

/// A bucket that was left alone for so long, and is empty, may be forgotten by the way.
const STALE_MS: i64 = 60_000;

/// Thousandths of a request per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(i64);

impl Rate {
    /// `10r/s` or `100r/m`; what a division by 60 leaves over is dropped.
    pub(crate) fn parse(text: &str) -> Option<Rate> {
        let (number, seconds) = match text.split_at_checked(text.len().checked_sub(3)?)? {
            (number, "r/s") => (number, 1),
            (number, "r/m") => (number, 60),
            _ => return None,
        };
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None; // `parse` would take a sign
        }
        let number = number.parse().ok().filter(|n| (1..=MOST).contains(n))?;
        Some(Rate(number as i64 * REQUEST / seconds))
    }

    pub(crate) fn per_second(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// What flows out in so many milliseconds.
    fn drained(self, ms: i64) -> i64 {
        self.0.saturating_mul(ms) / 1000
    }

    /// How long an excess beyond the part that is not delayed takes to flow out, in milliseconds.
    pub(crate) fn delay_ms(self, excess: i64, undelayed: i64) -> i64 {
        (excess - undelayed).max(0) * 1000 / self.0
    }
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Requests beyond the rate, in thousandths, at `last_ms`.
    pub(crate) excess: i64,
    pub(crate) last_ms: i64,
}

impl Default for Bucket {
    fn default() -> Self {
        Bucket {
            excess: 0,
            last_ms: NEVER,
        }
    }
}

impl Bucket {
    /// Milliseconds since the last request. A clock that goes back a little stands still.
    fn elapsed(self, now_ms: i64) -> i64 {
        match now_ms - self.last_ms {
            ms if ms < CLOCK_JUMP_MS => 1,
            ms => ms.max(0),
        }
    }

    /// The excess if one more request came now.
    pub(crate) fn with_one_more(self, rate: Rate, now_ms: i64) -> i64 {
        (self.excess - rate.drained(self.elapsed(now_ms)) + REQUEST).max(0)
    }

    /// Counts a request, and answers the excess.
    pub(crate) fn count(&mut self, rate: Rate, now_ms: i64) -> i64 {
        let excess = self.with_one_more(rate, now_ms);
        if self.elapsed(now_ms) != 0 {
            self.last_ms = now_ms;
        }
        self.excess = excess;
        excess
    }

    /// Whether the next request is treated as that of a key which was never seen.
    pub(crate) fn is_forgotten(self, rate: Rate, now_ms: i64) -> bool {
        self.with_one_more(rate, now_ms) == 0
    }

    /// Whether nginx would forget it when a new key comes (`ngx_http_limit_req_expire`).
    pub(crate) fn is_stale(self, rate: Rate, now_ms: i64) -> bool {
        let ms = (now_ms - self.last_ms).abs();
        ms >= STALE_MS && self.excess <= rate.drained(ms)
    }
}
