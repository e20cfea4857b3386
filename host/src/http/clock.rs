//! The time of day as text, formatted at most once a second and thread.
//!
//! `Date` headers and log lines want it for every exchange, and calendar and time zone cost more
//! than the rest of a log line together. Asking what time it is stays: it is a read of memory that
//! the kernel keeps up to date.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

thread_local! {
    static CLOCK: RefCell<DateClock> = RefCell::new(DateClock::new(TimeZone::system()));
}

/// Appends the time as `Date` has it (RFC 9110, 5.6.7): `Tue, 01 Sep 2026 10:00:00 GMT`.
pub fn append_http_date(out: &mut Vec<u8>) {
    append(out, |clock| &clock.http_date);
}

/// Appends the local time as nginx's `$time_local` has it: `01/Sep/2026:12:00:00 +0200`.
pub fn append_time_local(out: &mut Vec<u8>) {
    append(out, |clock| &clock.time_local);
}

/// Appends the local time as nginx's `$time_iso8601` has it: `2026-09-01T12:00:00+02:00`.
pub fn append_time_iso8601(out: &mut Vec<u8>) {
    append(out, |clock| &clock.time_iso8601);
}

/// Appends the seconds since 1970 with three decimals, as nginx's `$msec` has it.
pub fn append_msec(out: &mut Vec<u8>) {
    append_seconds(since_1970(), out);
}

/// Appends a duration in seconds with three decimals, cut off, as nginx's `$request_time` and
/// `$upstream_*_time` have it.
pub fn append_seconds(duration: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(duration.as_secs()).as_bytes());
    out.push(b'.');
    let thousands = duration.subsec_millis() + 1000;
    out.extend_from_slice(&itoa::Buffer::new().format(thousands).as_bytes()[1..]);
}

fn append(out: &mut Vec<u8>, text: impl FnOnce(&DateClock) -> &String) {
    CLOCK.with_borrow_mut(|clock| {
        clock.set(since_1970());
        out.extend_from_slice(text(clock).as_bytes());
    });
}

/// Zero for a clock that is set before 1970.
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The texts of one second.
struct DateClock {
    zone: TimeZone,
    /// Since 1970; none before the first use.
    second: Option<u64>,
    http_date: String,
    time_local: String,
    time_iso8601: String,
}

impl DateClock {
    fn new(zone: TimeZone) -> DateClock {
        let (http_date, time_local, time_iso8601) = Default::default();
        DateClock {
            zone,
            second: None,
            http_date,
            time_local,
            time_iso8601,
        }
    }

    /// Formats anew if `now`, since 1970, is in another second than the last time.
    fn set(&mut self, now: Duration) {
        let second = now.as_secs();
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        for text in [
            &mut self.http_date,
            &mut self.time_local,
            &mut self.time_iso8601,
        ] {
            text.clear();
        }
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(second));
        let stamp = i64::try_from(second)
            .ok()
            .and_then(|second| Timestamp::from_second(second).ok());
        let local = stamp.unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone());
        // Writing to a `String` fails only for a date that cannot be formatted; the formats below
        // suit every date.
        let _ = write!(self.http_date, "{date}");
        let _ = write!(
            self.time_local,
            "{}",
            local.strftime("%d/%b/%Y:%H:%M:%S %z")
        );
        let _ = write!(
            self.time_iso8601,
            "{}",
            local.strftime("%Y-%m-%dT%H:%M:%S%:z")
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn clock_at(now: u64, offset_hours: i8) -> DateClock {
        let mut clock = DateClock::new(TimeZone::fixed(jiff::tz::offset(offset_hours)));
        clock.set(Duration::from_secs(now));
        clock
    }

    #[test]
    fn the_formats_are_those_of_nginx() {
        let clock = clock_at(1_788_256_800, 2);
        assert_eq!(clock.http_date, "Tue, 01 Sep 2026 10:00:00 GMT");
        assert_eq!(clock.time_local, "01/Sep/2026:12:00:00 +0200");
        assert_eq!(clock.time_iso8601, "2026-09-01T12:00:00+02:00");
    }

    #[test]
    fn zones_west_of_greenwich_and_universal_time_have_their_sign() {
        let clock = clock_at(1_788_256_800, -3);
        assert_eq!(clock.time_local, "01/Sep/2026:07:00:00 -0300");
        assert_eq!(clock.time_iso8601, "2026-09-01T07:00:00-03:00");
        let clock = clock_at(1_788_256_800, 0);
        assert_eq!(clock.time_local, "01/Sep/2026:10:00:00 +0000");
        assert_eq!(clock.time_iso8601, "2026-09-01T10:00:00+00:00");
    }

    #[test]
    fn the_texts_change_with_the_second_and_not_before() {
        let mut clock = clock_at(1_788_256_800, 0);
        clock.set(Duration::from_millis(1_788_256_800_999));
        assert_eq!(clock.time_local, "01/Sep/2026:10:00:00 +0000");
        clock.set(Duration::from_secs(1_788_256_801));
        assert_eq!(clock.time_local, "01/Sep/2026:10:00:01 +0000");
        assert_eq!(clock.http_date, "Tue, 01 Sep 2026 10:00:01 GMT");
    }

    #[test]
    fn seconds_have_three_decimals_and_are_cut_off() {
        let text = |micros| {
            let mut out = Vec::new();
            append_seconds(Duration::from_micros(micros), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0), "0.000");
        assert_eq!(text(999), "0.000");
        assert_eq!(text(12_005_999), "12.005");
        assert_eq!(text(60_000_000), "60.000");
    }

    #[test]
    fn the_thread_s_clock_shows_the_present() {
        let before = since_1970().as_secs();
        let mut out = Vec::new();
        append_http_date(&mut out);
        let shown = httpdate::parse_http_date(std::str::from_utf8(&out).unwrap()).unwrap();
        let shown = shown.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!((before..=since_1970().as_secs()).contains(&shown));
    }
}
