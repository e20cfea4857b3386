//! Servers, times and happenings as the command line has them.

use std::str::FromStr;
use std::time::Duration;

use crate::testbed::SimulatedServer;

/// Servers of one simulation.
const MOST: usize = 10_000;

/// `4`, or `s1*5,s2,s3`.
#[derive(Debug, Clone)]
pub(super) struct ServerList(pub(super) Vec<SimulatedServer>);

impl FromStr for ServerList {
    type Err = String;

    fn from_str(text: &str) -> Result<ServerList, String> {
        let named: Vec<(String, u32)> = match text.parse::<usize>() {
            Ok(number) => (1..=number.min(MOST + 1))
                .map(|number| (format!("s{number}"), 1))
                .collect(),
            Err(_) => text.split(',').map(weighted).collect::<Result<_, _>>()?,
        };
        if named.is_empty() || named.len() > MOST {
            return Err(format!("there have to be 1 to {MOST} servers"));
        }
        let server = |(number, (name, weight)): (usize, (String, u32))| SimulatedServer {
            name,
            weight,
            labels: vec![("zone".to_owned(), ["a", "b"][number % 2].to_owned())],
        };
        Ok(ServerList(
            named.into_iter().enumerate().map(server).collect(),
        ))
    }
}

fn weighted(text: &str) -> Result<(String, u32), String> {
    let (name, weight) = text.trim().split_once('*').unwrap_or((text.trim(), "1"));
    match weight.parse() {
        Ok(weight) if weight > 0 && !name.is_empty() => Ok((name.to_owned(), weight)),
        _ => Err(format!(
            "`{text}` is no server: write a name, or `s1*5` for a weight"
        )),
    }
}

/// `s2@30s`, or `s2=3x@30s`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HappensTo {
    pub(super) server: String,
    pub(super) factor: Option<f64>,
    pub(super) at: Duration,
}

impl FromStr for HappensTo {
    type Err = String;

    fn from_str(text: &str) -> Result<HappensTo, String> {
        let way_out = || "write a server and a time, like `s2@30s` or `s1=3x@60s`".to_owned();
        let (server, at) = text.rsplit_once('@').ok_or_else(way_out)?;
        let (server, factor) = match server.split_once('=') {
            None => (server, None),
            Some((server, factor)) => {
                let factor = factor.strip_suffix('x').ok_or_else(way_out)?;
                (server, Some(positive(factor)?))
            }
        };
        Ok(HappensTo {
            server: server.to_owned(),
            factor,
            at: duration(at)?,
        })
    }
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1e9 => Ok(number),
        _ => Err(format!("`{text}` is no number above 0")),
    }
}

/// `20ms`, `1.5s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let units = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let of_unit = |(unit, seconds): &(&str, f64)| {
        let number = text.strip_suffix(unit)?.parse::<f64>().ok()?;
        (0.0..1e9).contains(&number).then_some(number * seconds)
    };
    match units.iter().find_map(of_unit) {
        Some(seconds) if seconds > 0.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "`{text}` is no time: write it like `20ms`, `30s` or `2m`"
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn servers_are_a_number_or_names_with_weights() {
        let names = |text: &str| -> Vec<(String, u32)> {
            let servers = text.parse::<ServerList>().unwrap().0.into_iter();
            servers.map(|server| (server.name, server.weight)).collect()
        };
        assert_eq!(names("2"), [("s1".to_owned(), 1), ("s2".to_owned(), 1)]);
        assert_eq!(names("a*5,b"), [("a".to_owned(), 5), ("b".to_owned(), 1)]);
        for wrong in ["0", "10001", "a*0", "a,,b", ""] {
            assert!(wrong.parse::<ServerList>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_happens_has_a_server_a_time_and_perhaps_a_factor() {
        let happens: HappensTo = "s1=2.5x@1.5s".parse().unwrap();
        let expected = HappensTo {
            server: "s1".to_owned(),
            factor: Some(2.5),
            at: Duration::from_millis(1500),
        };
        assert_eq!(happens, expected);
        assert_eq!("s2@2m".parse::<HappensTo>().unwrap().at.as_secs(), 120);
        for wrong in ["s2", "s2@", "s2@5", "s2=3@5s", "s2=x@5s", "s2@-1s"] {
            assert!(wrong.parse::<HappensTo>().is_err(), "{wrong}");
        }
    }
}
