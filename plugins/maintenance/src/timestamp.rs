//! Times as RFC 3339 writes them, section 5.6: `2026-12-24T22:00:00Z`, `2026-12-24 23:00:00.5+01:00`.

/// Milliseconds since 1970-01-01 UTC; fractions beyond are cut off. `None` for what is no such
/// time, or is before 1970. A leap second counts as the second behind it, as in POSIX.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let mut rest = text.as_bytes();
    let year = number(&mut rest, 4)?;
    literal(&mut rest, b"-")?;
    let month = number(&mut rest, 2)?;
    literal(&mut rest, b"-")?;
    let day = number(&mut rest, 2)?;
    literal(&mut rest, b"Tt ")?;
    let hour = number(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let minute = number(&mut rest, 2)?;
    literal(&mut rest, b":")?;
    let second = number(&mut rest, 2)?;
    let millis = fraction(&mut rest)?;
    let offset = offset_minutes(&mut rest)?;
    let is_date = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let is_time = hour < 24 && minute < 60 && second <= 60;
    if !is_date || !is_time || !rest.is_empty() {
        return None;
    }
    let minutes = (days_from_1970(year, month, day) * 24 + hour) * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1000 + millis).ok()
}

/// A number of exactly so many digits.
fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (text, behind) = rest.split_at_checked(digits)?;
    *rest = behind;
    text.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// One of these bytes.
fn literal(rest: &mut &[u8], allowed: &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    allowed.contains(first).then_some(*first)
}

/// The milliseconds of `.123456`, 0 where there is none.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(behind) = rest.strip_prefix(b".") else {
        return Some(0);
    };
    let length = behind
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, behind) = behind.split_at(length);
    *rest = behind;
    let mut padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    let millis = padded
        .by_ref()
        .take(3)
        .fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (length > 0).then_some(millis)
}

/// `Z`, `+01:00`, `-08:30`.
fn offset_minutes(rest: &mut &[u8]) -> Option<i64> {
    let sign = match literal(rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = number(rest, 2)?;
    literal(rest, b":")?;
    let minutes = number(rest, 2)?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// By 400-year eras that begin on 1 March, after H. Hinnant's `days_from_civil`.
fn days_from_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_are_read_as_rfc_3339_writes_them() {
        for (text, wall_ms) in [
            ("1970-01-01T00:00:00Z", 0),
            // The RFC's own examples, section 5.8, without the one before 1970.
            ("1985-04-12T23:20:50.52Z", 482_196_050_520),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1996-12-20T00:39:57Z", 851_042_397_000),
            ("1990-12-31T23:59:60Z", 662_688_000_000),
            ("1990-12-31T15:59:60-08:00", 662_688_000_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2024-02-29t12:00:00z", 1_709_208_000_000),
            ("2026-12-24 23:00:00+01:00", 1_798_149_600_000),
            ("2026-12-24T22:00:00.1239999Z", 1_798_149_600_123),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
            ("1970-01-01T00:30:00+00:30", 0),
        ] {
            assert_eq!(parse(text), Some(wall_ms), "{text}");
        }
    }

    #[test]
    fn every_day_of_400_years_follows_the_one_before() {
        let day = |year, month, day| super::days_from_1970(year, month, day);
        let mut expected = day(1970, 1, 1);
        assert_eq!(expected, 0);
        for year in 1970..2370 {
            for month in 1..=12 {
                for of_month in 1..=super::days_in(year, month) {
                    assert_eq!(day(year, month, of_month), expected);
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, 146_097);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for wrong in [
            "",
            "2026",
            "2026-12-24",
            "22:00:00Z",
            "2026-12-24T22:00Z",
            "2026-12-24T22:00:00",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00Z ",
            "+026-01-01T00:00:00Z",
            "2026-1-1T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2026-01-01T00:00:00é",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
