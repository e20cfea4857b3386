//! nginx's values: times and sizes (`ngx_parse.c`).

use std::time::Duration;

/// `30`, `30s`, `1h 30m`, `500ms`, `2w`: a number alone is seconds.
pub(super) fn time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let (mut milliseconds, mut some) = (0_u64, false);
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let number: u64 = digits.parse().ok()?;
        let unit_end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        const DAY: u64 = 86_400_000;
        let factor = match unit {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY,
            "w" => 7 * DAY,
            "M" => 30 * DAY,
            "y" => 365 * DAY,
            _ => return None,
        };
        milliseconds = number
            .checked_mul(factor)
            .and_then(|part| milliseconds.checked_add(part))?;
        some = true;
        rest = after.trim_start();
    }
    some.then(|| Duration::from_millis(milliseconds))
}

/// `8k`, `1m`, `2g`, `512`: bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => (text.get(..text.len() - 1)?, 1 << 10),
        b'm' => (text.get(..text.len() - 1)?, 1 << 20),
        b'g' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_nginxs() {
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(time("90"), seconds(90));
        assert_eq!(time("1h30m"), seconds(5400));
        assert_eq!(time("1h 30m"), seconds(5400));
        assert_eq!(time("2w"), seconds(1_209_600));
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        for bad in ["", "x", "1x", "99999999999999999999s", "-1"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(size("8k"), Some(8192));
        assert_eq!(size("1M"), Some(1 << 20));
        for bad in ["", "k", "1x", "+1"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
