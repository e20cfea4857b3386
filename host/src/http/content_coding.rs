//! Content codings: which of them a client takes (RFC 9110 section 12.5.3).

use super::head::list_members;

/// How a body is compressed (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
    /// RFC 8878, with a window of 8 MiB at most (RFC 9659).
    Zstd,
}

impl ContentCoding {
    /// As `Content-Encoding` has it.
    pub fn name(self) -> &'static str {
        match self {
            ContentCoding::Brotli => "br",
            ContentCoding::Gzip => "gzip",
            ContentCoding::Zstd => "zstd",
        }
    }

    /// Whether a name means it, in any case.
    pub fn is_named(self, name: &[u8]) -> bool {
        // RFC 9110 section 8.4.1.3.
        let older = self == ContentCoding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
        older || name.eq_ignore_ascii_case(self.name().as_bytes())
    }

    /// Whether a client with these lines of `Accept-Encoding` takes it. One without any is asked
    /// for nothing: it may not know of compression, and nginx takes it so as well.
    pub fn is_accepted<'a>(self, lines: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
        self.weight(lines) > 0
    }

    /// What the client would like best of what is offered, the first of those that it likes as
    /// much. `None`: the body as it is, which the client prefers or the only one that it takes.
    pub fn chosen<'a>(
        offered: &[ContentCoding],
        lines: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<ContentCoding> {
        let (mut best, mut chosen) = (0, None);
        for coding in offered {
            let weight = coding.weight(lines.clone());
            if weight > best {
                (best, chosen) = (weight, Some(*coding));
            }
        }
        let plain = weight_of(lines, |name| name.eq_ignore_ascii_case(b"identity"));
        chosen.filter(|_| plain.is_none_or(|plain| plain <= best))
    }

    fn weight<'a>(self, lines: impl Iterator<Item = &'a [u8]> + Clone) -> u16 {
        weight_of(lines.clone(), |name| self.is_named(name))
            .or_else(|| weight_of(lines, |name| name == b"*"))
            .unwrap_or(0)
    }
}

/// The weight of the first member of that name, in thousandths.
fn weight_of<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    is_meant: impl Fn(&[u8]) -> bool,
) -> Option<u16> {
    let mut members = lines.flat_map(list_members);
    members.find_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_meant = parts.next().is_some_and(&is_meant);
        is_meant.then(|| match parts.next() {
            None => 1000,
            Some(weight) => thousandths(weight).unwrap_or(0),
        })
    })
}

/// `q=0.5` (RFC 9110 section 12.4.2).
fn thousandths(weight: &[u8]) -> Option<u16> {
    let value = match weight {
        [b'q' | b'Q', value @ ..] => value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii(),
        _ => return None,
    };
    let (whole, digits) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] => (whole, digits),
        _ => return None,
    };
    if digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| digits.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    let part = digit(0) * 100 + digit(1) * 10 + digit(2);
    match (whole, part) {
        (b'0', part) => Some(part),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ContentCoding::{Brotli, Gzip, Zstd};
    use super::*;

    fn chosen(lines: &[&str]) -> Option<ContentCoding> {
        let lines = lines.iter().map(|line| line.as_bytes());
        ContentCoding::chosen(&[Brotli, Gzip], lines)
    }

    #[test]
    fn the_client_chooses_and_where_it_does_not_care_the_order_of_the_offer_counts() {
        for (line, expected) in [
            ("gzip", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("GZIP, deflate, BR", Some(Brotli)),
            ("gzip;q=1, br;q=0.9", Some(Gzip)),
            ("gzip; q=0.8 , br ; Q=0.801", Some(Brotli)),
            ("*", Some(Brotli)),
            ("br;q=0, *", Some(Gzip)),
            ("*;q=0, gzip", Some(Gzip)),
            ("gzip, identity", Some(Gzip)),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0", Some(Gzip)),
            ("identity", None),
            ("gzip;q=0", None),
            ("*;q=0", None),
            ("deflate", None),
            ("gzipped", None),
            ("", None),
        ] {
            assert_eq!(chosen(&[line]), expected, "{line}");
        }
        assert_eq!(chosen(&[]), None);
        assert_eq!(chosen(&["deflate", "gzip"]), Some(Gzip));
    }

    #[test]
    fn zstd_is_chosen_as_any_other() {
        for (line, expected) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("ZSTD", Some(Zstd)),
            ("zstd;q=0.1, br;q=0.2", Some(Brotli)),
            ("zstd;q=0, *", Some(Brotli)),
            ("zstandard", None),
        ] {
            let lines = std::iter::once(line.as_bytes());
            let chosen = ContentCoding::chosen(&[Zstd, Brotli, Gzip], lines);
            assert_eq!(chosen, expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_weight_makes_a_coding_one_that_is_not_taken() {
        for weight in [
            "q=", "q", "q=2", "q=1.001", "q=0.0001", "q=-1", "q=0,5", "x=1", "q=.5", "q=1.0a",
        ] {
            assert_eq!(chosen(&[&format!("gzip;{weight}")]), None, "{weight}");
        }
        for weight in ["q=1", "q=1.", "q=1.000", "q=0.001"] {
            assert_eq!(chosen(&[&format!("gzip;{weight}")]), Some(Gzip), "{weight}");
        }
    }
}
