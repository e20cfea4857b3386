//! Which codings of a file a client takes (`Accept-Encoding`, RFC 9110 section 12.5.3).

use crate::config::model::FileCoding;
use crate::data_plane::open_files::Accepted;
use crate::http::head::{Fields, list_members};

/// Those of `offered` that the client takes, the ones it likes best first; of those that it likes
/// alike, in the order in which they are offered.
pub(super) fn accepted(fields: &Fields, offered: &[FileCoding]) -> Accepted {
    if offered.is_empty() {
        return Accepted::new();
    }
    let weighed = offered
        .iter()
        .map(|coding| (*coding, weight(fields, coding.name())));
    let mut weighed: smallvec::SmallVec<[(FileCoding, u16); 3]> =
        weighed.filter(|(_, weight)| *weight > 0).collect();
    weighed.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    weighed.into_iter().map(|(coding, _)| coding).collect()
}

/// In thousandths; zero for a coding that is not taken. What is named counts before `*`.
fn weight(fields: &Fields, coding: &str) -> u16 {
    let mut by_star = 0;
    for value in fields.named(b"accept-encoding") {
        for member in list_members(value) {
            let mut parts = member.split(|byte| *byte == b';');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let weight = parts.find_map(quality).unwrap_or(1000);
            let is_gzip = name.eq_ignore_ascii_case(b"x-gzip") && coding == "gzip";
            if name.eq_ignore_ascii_case(coding.as_bytes()) || is_gzip {
                return weight;
            }
            if name == b"*" {
                by_star = weight;
            }
        }
    }
    by_star
}

/// `q=0.5` in thousandths; zero for one that cannot be read.
fn quality(parameter: &[u8]) -> Option<u16> {
    let parameter = parameter.trim_ascii();
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => value.trim_ascii(),
        _ => return None,
    };
    let text = std::str::from_utf8(value).ok();
    let quality = text.and_then(|text| text.parse::<f32>().ok());
    let within = quality.filter(|quality| (0.0..=1.0).contains(quality));
    Some((within.unwrap_or(0.0) * 1000.0) as u16)
}
