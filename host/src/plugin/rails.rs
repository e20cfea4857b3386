//! What ends the trial of a canary by itself: figures of two versions, and how far they may lie apart.

use crate::config::model::Rails;

/// What one version came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SideFigures {
    pub exchanges: u64,
    pub errors: u64,
    /// How many times the mean is of.
    pub(super) timed: f64,
    pub mean_us: f64,
    /// Of one time.
    pub(super) deviation_us: f64,
    /// How far the busiest endpoint is above its fair share, of a policy: 1 for evenly spread.
    pub imbalance: Option<f64>,
}

/// The first rail that a candidate has broken.
pub(super) fn broken_rail(
    rails: &Rails,
    before: &SideFigures,
    now: &SideFigures,
    faults: u64,
) -> Option<String> {
    if now.exchanges < u64::from(rails.after) {
        return None;
    }
    let share = |part: u64, of: u64| part as f64 / (of.max(1)) as f64;
    if let Some(limit) = rails.faults
        && share(faults, now.exchanges) > limit.ratio()
    {
        return Some(format!(
            "{faults} faults in {} exchanges, more than {limit}",
            now.exchanges
        ));
    }
    let (erred, err_before) = (
        share(now.errors, now.exchanges),
        share(before.errors, before.exchanges),
    );
    let expected = err_before * now.exchanges as f64;
    if let Some(limit) = rails.errors
        && erred > err_before + limit.ratio()
        && erred > 2.0 * err_before
        && now.errors as f64 > expected + 3.0 * (expected + 1.0).sqrt()
    {
        return Some(format!(
            "errors {:.2}% of {} exchanges, and {:.2}% of {} of the version before",
            100.0 * erred,
            now.exchanges,
            100.0 * err_before,
            before.exchanges
        ));
    }
    let above = now.mean_us - before.mean_us;
    let by_chance = 3.0 * now.deviation_us / now.timed.max(1.0).sqrt();
    if let Some(limit) = rails.latency
        && before.timed > 0.0
        && now.mean_us > limit.ratio() * before.mean_us
        && above > 1000.0
        && above > by_chance
    {
        return Some(format!(
            "latency {:.1} ms on average, and {:.1} ms of the version before",
            now.mean_us / 1000.0,
            before.mean_us / 1000.0
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(exchanges: u64, errors: u64, mean_us: f64, deviation_us: f64) -> SideFigures {
        SideFigures {
            exchanges,
            errors,
            timed: exchanges as f64,
            mean_us,
            deviation_us,
            imbalance: None,
        }
    }

    #[test]
    fn a_rail_breaks_where_a_candidate_does_clearly_worse_and_not_by_chance() {
        let rails = Rails::default();
        let before = side(2000, 10, 5000.0, 2000.0); // half a percent of errors
        let over = |now: SideFigures, faults| broken_rail(&rails, &before, &now, faults);
        assert_eq!(over(side(1000, 5, 5000.0, 2000.0), 0), None);
        assert_eq!(over(side(99, 99, 1e6, 0.0), 99), None, "too few to tell");
        assert!(over(side(100, 0, 5000.0, 0.0), 1).is_some_and(|why| why.contains("faults")));
        assert_eq!(
            over(side(2000, 0, 5000.0, 0.0), 2),
            None,
            "not more than 0.1%"
        );
        let errors = over(side(100, 10, 5000.0, 0.0), 0);
        let words = "errors 10.00% of 100 exchanges, and 0.50% of 2000 of the version before";
        assert_eq!(errors.as_deref(), Some(words));
        assert_eq!(
            over(side(100, 1, 5000.0, 0.0), 0),
            None,
            "half a point above"
        );
        assert_eq!(
            over(side(100, 2, 5000.0, 0.0), 0),
            None,
            "which chance explains"
        );
        let none = side(400, 0, 5000.0, 2000.0);
        let now = side(105, 3, 5000.0, 0.0);
        let one = "one exchange has met three servers that are gone";
        assert_eq!(broken_rail(&rails, &none, &now, 0), None, "{one}");
        let slow = over(side(100, 0, 9000.0, 2000.0), 0);
        assert!(slow.is_some_and(|why| why.starts_with("latency 9.0 ms")));
        assert_eq!(
            over(side(100, 0, 9000.0, 50_000.0), 0),
            None,
            "a few took long"
        );
        assert_eq!(
            over(side(100, 0, 7400.0, 0.0), 0),
            None,
            "not half as much again"
        );
        let brief = side(2000, 0, 200.0, 10.0);
        let now = side(100, 0, 900.0, 10.0);
        assert_eq!(
            broken_rail(&rails, &brief, &now, 0),
            None,
            "less than a millisecond more"
        );
    }

    #[test]
    fn a_rail_that_is_off_holds_nothing() {
        let off = Rails {
            after: 1,
            faults: None,
            errors: None,
            latency: None,
            imbalance: None,
        };
        let (before, now) = (side(10, 0, 1.0, 0.0), side(10, 10, 1e6, 0.0));
        assert_eq!(broken_rail(&off, &before, &now, 10), None);
    }
}
