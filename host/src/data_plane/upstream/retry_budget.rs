//! How many requests may be sent to another endpoint: a part of all of them, counted over the last
//! ten seconds (linkerd's and Envoy's retry budgets).
//!
//! Where all endpoints fail, each of them would otherwise get what the others were spared of as
//! well. Each worker counts for itself, so that nothing shared is written for a request.

use std::cell::RefCell;

use super::endpoint::Seconds;
use crate::config::model::RetryBudgetConfig;

/// Seconds that are looked at, the current one included.
const WINDOW: usize = 10;

/// What one worker has counted for an upstream.
#[derive(Default)]
pub(crate) struct RetryBudget {
    seconds: RefCell<[Second; WINDOW]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: Seconds,
    requests: u32,
    retries: u32,
}

impl RetryBudget {
    /// A request has begun.
    pub(crate) fn request(&self, now: Seconds) {
        let mut seconds = self.seconds.borrow_mut();
        let current = Self::current(&mut seconds, now);
        current.requests = current.requests.saturating_add(1);
    }

    /// Takes one retry out of what there is; false where there is none.
    pub(crate) fn retry(&self, config: &RetryBudgetConfig, now: Seconds) -> bool {
        let mut seconds = self.seconds.borrow_mut();
        let (mut requests, mut retries) = (0u64, 0u64);
        for second in seconds.iter() {
            if now.saturating_sub(second.number) < WINDOW as Seconds {
                requests += u64::from(second.requests);
                retries += u64::from(second.retries);
            }
        }
        let part = requests * u64::from(config.ratio) / 100;
        let least = u64::from(config.min_per_second) * WINDOW as u64;
        let there_is = retries < part.max(least);
        if there_is {
            Self::current(&mut seconds, now).retries += 1;
        }
        there_is
    }

    fn current(seconds: &mut [Second; WINDOW], now: Seconds) -> &mut Second {
        let second = &mut seconds[(now % WINDOW as Seconds) as usize];
        if second.number != now {
            *second = Second {
                number: now,
                ..Second::default()
            };
        }
        second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIFTH: RetryBudgetConfig = RetryBudgetConfig {
        ratio: 20,
        min_per_second: 0,
    };

    fn retries(budget: &RetryBudget, config: &RetryBudgetConfig, now: Seconds) -> usize {
        (0..1000).take_while(|_| budget.retry(config, now)).count()
    }

    #[test]
    fn retries_are_a_part_of_the_requests_of_ten_seconds() {
        let budget = RetryBudget::default();
        assert_eq!(retries(&budget, &FIFTH, 100), 0);
        (0..50).for_each(|_| budget.request(100));
        assert_eq!(retries(&budget, &FIFTH, 104), 10);
        (0..50).for_each(|_| budget.request(109));
        assert_eq!(retries(&budget, &FIFTH, 109), 10);
        // The requests of second 100 are forgotten, the retries of 104 are not yet.
        assert_eq!(retries(&budget, &FIFTH, 110), 0);
        // Of 109, requests and retries are left: ten of each ten.
        assert_eq!(retries(&budget, &FIFTH, 114), 0);
        assert_eq!(retries(&budget, &FIFTH, 119), 0);
        (0..50).for_each(|_| budget.request(119));
        assert_eq!(retries(&budget, &FIFTH, 119), 10);
    }

    #[test]
    fn there_are_as_many_as_the_least_in_any_case() {
        let budget = RetryBudget::default();
        let config = RetryBudgetConfig {
            ratio: 20,
            min_per_second: 3,
        };
        assert_eq!(retries(&budget, &config, 100), 30);
        (0..200).for_each(|_| budget.request(101));
        assert_eq!(retries(&budget, &config, 101), 10, "40 less 30");
    }
}
