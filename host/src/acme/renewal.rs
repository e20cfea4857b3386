//! When a certificate is renewed: once a third of its life is left, a little earlier for some than
//! for others; or when its authority says so (RFC 9773). Moments are seconds since 1970.

use std::time::{Duration, SystemTime};

use crate::tls::CertificateFacts;

/// Between two attempts, after the first failure. A domain may fail five times in an hour at Let's
/// Encrypt.
const FIRST: Duration = Duration::from_secs(60);
const FACTOR: u32 = 4;
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// What an authority may ask for at most.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

pub(super) fn now() -> i64 {
    seconds(SystemTime::now()).unwrap_or_default()
}

/// None before 1970.
pub(super) fn seconds(moment: SystemTime) -> Option<i64> {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// When it is renewed. `suggested`: the moment that was chosen within the authority's window.
pub(super) fn due(facts: &CertificateFacts, suggested: Option<i64>) -> i64 {
    let life = facts.not_after.saturating_sub(facts.not_before).max(0);
    // The same in all processes that share it, and after each start.
    let spread = facts.serial.iter().fold(0_i64, |sum, byte| {
        (sum.wrapping_mul(31) + i64::from(*byte)).rem_euclid(1000)
    });
    let third = facts.not_after - life / 3 - life / 30 * spread / 1000;
    match suggested {
        // A window that is too late is none.
        Some(suggested) => suggested.min(facts.not_after - life / 12),
        None => third,
    }
}

/// A moment of a window, by chance (RFC 9773 section 4.2).
pub(super) fn within(start: i64, end: i64) -> i64 {
    match start < end {
        true => fastrand::i64(start..end),
        false => start,
    }
}

/// How long nothing is asked after so many failures in a row; `asked`: what the authority wants.
pub(super) fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let factor = FACTOR.saturating_pow(failures.saturating_sub(1));
    let pause = FIRST.saturating_mul(factor).min(LONGEST);
    // A tenth more at most: many processes fail at the same moment.
    let pause = pause + pause.mul_f64(fastrand::f64() / 10.0);
    pause.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn facts(days: i64, serial: u8) -> CertificateFacts {
        CertificateFacts {
            key_type: None,
            names: Vec::new(),
            issuer: String::new(),
            not_before: 0,
            not_after: days * DAY,
            serial: vec![serial],
            authority_key: None,
        }
    }

    #[test]
    fn a_third_of_its_life_is_left_and_not_all_are_renewed_at_once() {
        let dues: Vec<i64> = (0..=255)
            .map(|serial| due(&facts(90, serial), None))
            .collect();
        assert!(dues.iter().all(|due| (57 * DAY..=60 * DAY).contains(due)));
        assert!(dues.iter().any(|due| *due != dues[0]));
        // One of six days.
        let short = due(&facts(6, 0), None);
        assert!((3 * DAY..=4 * DAY).contains(&short), "{short}");
    }

    #[test]
    fn the_authority_may_say_when_but_not_too_late() {
        assert_eq!(due(&facts(90, 1), Some(10 * DAY)), 10 * DAY);
        assert_eq!(due(&facts(90, 1), Some(-5)), -5);
        assert!(due(&facts(90, 1), Some(200 * DAY)) < 90 * DAY);
        let chosen = within(5, 10);
        assert!((5..10).contains(&chosen));
        assert_eq!(within(7, 7), 7);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_the_authority_may_ask_for_longer_ones() {
        let minutes = |failures, asked| pause(failures, asked).as_secs() / 60;
        assert_eq!(minutes(1, None), 1);
        assert_eq!(minutes(2, None), 4);
        assert!((16..18).contains(&minutes(3, None)));
        assert!((360..400).contains(&minutes(100, None)));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(minutes(1, hour), 60);
        let year = Some(Duration::from_secs(365 * 86_400));
        assert_eq!(minutes(1, year), 24 * 60);
    }
}
