//! nginx's notation for durations (`"10s"`, `"1h 30m"`) and sizes (`"8k"`), read and written.
//!
//! As `ngx_parse_time` and `ngx_parse_size`, except that a duration always names its unit: a bare
//! number is the usual way to mistake seconds for milliseconds. Months and years are left out;
//! nothing here waits that long.

use std::time::Duration;

/// Largest first, as they follow each other in `1h 30m`; in milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZE_UNITS: [(&str, u64); 4] = [("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10), ("", 1)];

/// Reads `"500ms"`, `"10s"`, `"1h 30m"`, and `"0"`. The error is a message for the user.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut milliseconds, mut smallest, mut rest) = (0_u64, u64::MAX, text.trim());
    loop {
        let (number, after) = number(rest, text)?;
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("`{text}` does not say its unit"));
        }
        let Some(&(_, factor)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit `{unit}` in `{text}`"));
        };
        if factor >= smallest {
            return Err(format!(
                "units of `{text}` must go from the largest to the smallest"
            ));
        }
        smallest = factor;
        milliseconds = number
            .checked_mul(factor)
            .and_then(|part| milliseconds.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too large"))?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_millis(milliseconds));
        }
    }
}

/// Reads `"512"`, `"8k"`, `"1m"`, `"2g"` (either case) as bytes. The error is a message for the
/// user.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number(text, text)?;
    let unit_in_lower_case = unit.to_ascii_lowercase();
    let Some(&(_, factor)) = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit_in_lower_case)
    else {
        return Err(format!("unknown unit `{}` in `{text}`", unit.trim()));
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("`{text}` is too large"))
}

/// The digits that `rest` begins with, and what follows them.
fn number<'a>(rest: &'a str, whole: &str) -> Result<(u64, &'a str), String> {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    if digits.is_empty() {
        return Err(format!("`{whole}` is not a number with a unit"));
    }
    let number = digits
        .parse()
        .map_err(|_| format!("`{whole}` is too large"))?;
    Ok((number, after))
}

/// As [`duration`] reads it, in the largest unit that divides it.
pub(crate) fn duration_text(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    in_largest_unit(milliseconds, &TIME_UNITS)
}

/// As [`size`] reads it, in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    in_largest_unit(bytes, &SIZE_UNITS)
}

fn in_largest_unit(value: u64, units: &[(&str, u64)]) -> String {
    let &(unit, factor) = units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
        .unwrap_or(&("", 1));
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_nginx_reads_them() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
            ("1s 500ms", 1_500),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_duration_says_what_is_wrong_with_it() {
        let cases = [
            ("10", "`10` does not say its unit"),
            ("10sec", "unknown unit `sec` in `10sec`"),
            ("10S", "unknown unit `S` in `10S`"),
            ("", "`` is not a number with a unit"),
            ("-1s", "`-1s` is not a number with a unit"),
            ("1.5s", "`1.5s` does not say its unit"),
            (
                "1s 1m",
                "units of `1s 1m` must go from the largest to the smallest",
            ),
            (
                "1s 1s",
                "units of `1s 1s` must go from the largest to the smallest",
            ),
            (
                "99999999999999999999s",
                "`99999999999999999999s` is too large",
            ),
            (
                "9999999999999999999s",
                "`9999999999999999999s` is too large",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(duration(text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_nginx_reads_them() {
        let cases = [
            ("0", 0),
            ("512", 512),
            ("8k", 8192),
            ("8K", 8192),
            ("1m", 1 << 20),
            ("2G", 2 << 30),
        ];
        for (text, bytes) in cases {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("8kb").unwrap_err(), "unknown unit `kb` in `8kb`");
        assert_eq!(size("8 k").unwrap_err(), "unknown unit `k` in `8 k`");
        assert_eq!(size("k").unwrap_err(), "`k` is not a number with a unit");
        assert_eq!(
            size("99999999999g").unwrap_err(),
            "`99999999999g` is too large"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in 0_u64..1 << 50) {
            prop_assert_eq!(size(&size_text(value)), Ok(value));
            let time = Duration::from_millis(value);
            prop_assert_eq!(duration(&duration_text(time)), Ok(time));
        }
    }
}
