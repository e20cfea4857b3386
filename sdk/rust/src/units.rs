//! nginx's spellings of time and size: `1h 30m`, `500ms`, `10`, `8k`, `1m`.

use std::time::Duration;

/// A duration as nginx writes it (`ngx_parse_time`): numbers with `ms`, `s`, `m`, `h`, `d`, `w`,
/// `M` (30 days) or `y` (365 days), larger units first; a bare number is seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("y", 365 * 86_400_000),
        ("M", 30 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut smallest, mut total) = (text.trim(), 0, 0_u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..]
            .find(|c: char| !c.is_ascii_alphabetic())
            .map_or(rest.len(), |n| digits + n);
        let unit = if letters == digits {
            "s"
        } else {
            &rest[digits..letters]
        };
        let rank = UNITS
            .iter()
            .position(|&(name, _)| name == unit)
            .filter(|&rank| rank >= smallest)?;
        total = total.checked_add(number.checked_mul(UNITS[rank].1)?)?;
        (rest, smallest) = (rest[letters..].trim_start(), rank + 1);
    }
    Some(Duration::from_millis(total))
}

/// A size in bytes as nginx writes it (`ngx_parse_size`): a number, perhaps with `k` or `m`.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None; // `parse` would take a sign
    }
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, parse_size};
    use std::time::Duration;

    #[test]
    fn durations_are_spelled_as_in_nginx() {
        let millis = |text| parse_duration(text).map(|duration: Duration| duration.as_millis());
        assert_eq!(millis("10"), Some(10_000));
        assert_eq!(millis("1h 30m"), Some(5_400_000));
        assert_eq!(millis("1m30s"), Some(90_000));
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("1M"), Some(2_592_000_000));
        for wrong in [
            "",
            "m",
            "-1",
            "1x",
            "30m 1h",
            "1s 1s",
            "1.5s",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_spelled_as_in_nginx() {
        assert_eq!(
            ["10", "8k", "1m", "2M"].map(parse_size),
            [Some(10), Some(8192), Some(1 << 20), Some(2 << 20)]
        );
        assert_eq!(
            ["", "k", "1g", "+1", "1 k"].map(parse_size),
            [None; 5].map(|none: Option<u64>| none)
        );
    }
}
