//! The parts that clients are split into, with nginx's shares
//! (`ngx_http_split_clients_module.c`).

use waypost_sdk::{Settings, SettingsError};

/// 100 %, in the hundredths of a percent that nginx counts in.
const WHOLE: u32 = 10_000;

/// The most parts: one that is large enough for any experiment, and small enough to look through.
const MOST: usize = 256;

/// One part.
pub(crate) struct Part {
    /// What it is called: in the attribute and in cookies.
    pub(crate) value: String,
    pub(crate) target: Target,
    /// Hashes below it, and not below that of a part before, are its share. `None` for a part that
    /// has no share.
    pub(crate) boundary: Option<Boundary>,
    /// The values of the header or cookie that name it.
    when: Vec<String>,
}

/// Where a part's share ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boundary {
    Below(u32),
    /// `*`: all that is left.
    Rest,
}

/// What becomes of a part's requests.
pub(crate) enum Target {
    Route(String),
    Upstream(String),
    /// They only have the value.
    Value,
}

impl Part {
    /// Whether this value of the header or cookie asks for the part.
    pub(crate) fn is_named_by(&self, value: &[u8]) -> bool {
        self.when.iter().any(|when| when.as_bytes() == value)
    }

    /// Whether the client's cookie says that its share had chosen this part. A part without a share
    /// has none of the clients any more.
    pub(crate) fn is_kept_as(&self, cookie: &[u8]) -> bool {
        self.boundary.is_some() && self.value.as_bytes() == cookie
    }
}

/// The part whose share a hash belongs to.
pub(crate) fn by_hash(parts: &[Part], hash: u32) -> Option<&Part> {
    parts.iter().find(|part| match part.boundary {
        Some(Boundary::Below(boundary)) => hash < boundary,
        Some(Boundary::Rest) => true,
        None => false,
    })
}

/// Reads `parts`.
pub(crate) fn configure(settings: &mut Settings) -> Result<Vec<Part>, SettingsError> {
    let tables = settings.tables("parts")?;
    if tables.is_empty() {
        return Err(settings.missing("parts"));
    }
    if tables.len() > MOST {
        let message = format!("there may be {MOST} parts, these are {}", tables.len());
        return Err(settings.error("parts", &message));
    }
    let mut shares = Shares::default();
    let mut parts: Vec<Part> = Vec::with_capacity(tables.len());
    for mut table in tables {
        let boundary = match table.text("share")? {
            Some(share) => match shares.next(&share) {
                Ok(boundary) => Some(boundary),
                Err(message) => return Err(table.error("share", &message)),
            },
            None => None,
        };
        let part = part(table, boundary)?;
        if parts.iter().any(|other| other.value == part.value) {
            let message = format!("two parts are called `{}`: give one a `value`", part.value);
            return Err(settings.error("parts", &message));
        }
        parts.push(part);
    }
    Ok(parts)
}

fn part(mut table: Settings, boundary: Option<Boundary>) -> Result<Part, SettingsError> {
    let (route, upstream) = (table.route("route")?, table.upstream("upstream")?);
    let value = table.text("value")?;
    let target = match (route, upstream) {
        (Some(_), Some(_)) => {
            let message = "a part leads to a `route` or to an `upstream`, not to both";
            return Err(table.error("upstream", message));
        }
        (Some(name), None) => Target::Route(name),
        (None, Some(name)) => Target::Upstream(name),
        (None, None) => Target::Value,
    };
    let value = match (value, &target) {
        (Some(value), _) => value,
        (None, Target::Route(name) | Target::Upstream(name)) => name.clone(),
        (None, Target::Value) => {
            let message = "a part needs a `route`, an `upstream` or a `value`";
            return Err(table.error("", message));
        }
    };
    // RFC 6265, section 4.1.1: what a cookie can have; headers and logs can have that as well.
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    if value.is_empty() || !value.bytes().all(is_allowed) {
        let message = "`value` must be of visible ASCII without `\"`, `,`, `;` and `\\`";
        return Err(table.error("value", message));
    }
    let mut when = table.texts("when")?;
    if when.is_empty() {
        when.push(value.clone());
    }
    table.finish()?;
    Ok(Part {
        value,
        target,
        boundary,
        when,
    })
}

/// Shares add up, in hundredths of a percent, and so do their parts of all hashes, each rounded
/// down: what nginx does.
#[derive(Default)]
struct Shares {
    sum: u32,
    boundary: u32,
    is_complete: bool,
}

impl Shares {
    fn next(&mut self, share: &str) -> Result<Boundary, String> {
        if self.is_complete {
            return Err("nothing is left behind the share `*`: put this part before it".to_owned());
        }
        if share == "*" {
            self.is_complete = true;
            return Ok(Boundary::Rest);
        }
        let hundredths = share.strip_suffix('%').and_then(hundredths);
        let Some(hundredths) = hundredths else {
            return Err(format!(
                "`{share}` must be a share such as `0.5%`, with two decimals at most, or `*` for \
                 the rest"
            ));
        };
        self.sum = self.sum.saturating_add(hundredths);
        if self.sum > WHOLE {
            return Err("the shares are more than 100%".to_owned());
        }
        let length = u64::from(hundredths) * u64::from(u32::MAX) / u64::from(WHOLE);
        // At most `WHOLE`, so at most all hashes.
        self.boundary += length as u32;
        Ok(Boundary::Below(self.boundary))
    }
}

/// A number with up to two decimals, times 100 (`ngx_atofp`).
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = (whole.len() + decimals.len() > 0)
        && decimals.len() <= 2
        && whole
            .bytes()
            .chain(decimals.bytes())
            .all(|byte| byte.is_ascii_digit());
    if !is_number {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Boundary, Shares, hundredths};

    #[test]
    fn percents_are_read_as_nginx_reads_them() {
        for (text, expected) in [
            ("0.5", Some(50)),
            ("50", Some(5000)),
            ("33.33", Some(3333)),
            (".5", Some(50)),
            ("5.", Some(500)),
            ("0", Some(0)),
            ("100.00", Some(10_000)),
            ("007", Some(700)),
            ("", None),
            (".", None),
            ("0.123", None),
            ("1.2.3", None),
            ("-1", None),
            ("+1", None),
            ("1e2", None),
            ("99999999999", None),
            ("1 ", None),
        ] {
            assert_eq!(hundredths(text), expected, "{text}");
        }
    }

    #[test]
    fn boundaries_are_rounded_down_one_by_one() {
        let mut shares = Shares::default();
        let boundaries: Vec<_> = ["0.5%", "2.0%", "33.33%", "*"]
            .into_iter()
            .map(|share| shares.next(share))
            .collect();
        assert_eq!(
            boundaries,
            [
                Ok(Boundary::Below(21_474_836)),
                Ok(Boundary::Below(21_474_836 + 85_899_345)),
                Ok(Boundary::Below(21_474_836 + 85_899_345 + 1_431_512_599)),
                Ok(Boundary::Rest),
            ]
        );
    }
}
