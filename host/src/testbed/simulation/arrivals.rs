//! Who asks when.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use crate::testbed::request::MadeUp;

/// Requests in the order of time, each of one of so many clients.
pub struct Arrivals {
    clients: Vec<Rc<MadeUp>>,
    /// Microseconds since the first one, and the client.
    all: Vec<(u64, u32)>,
}

/// Why a log gives no load.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("no line of it has a client, a time and a request, as the format `combined` has them")]
    Nothing,
    #[error("it has more than {0} requests: give a part of it")]
    TooMany(usize),
}

/// Requests of one load: 16 bytes each.
const MOST: usize = 10_000_000;

impl Arrivals {
    /// So many requests, so many in a second on average, at random. Few of the clients ask for most
    /// of them: the second one half as often as the first, the third a third as often (Zipf's law).
    pub fn made_up(requests: usize, per_second: f64, clients: usize, seed: u64) -> Arrivals {
        let mut random = fastrand::Rng::with_seed(seed ^ 0xa441_7a15);
        let mut sum = 0.0;
        let sums: Vec<f64> = (1..=clients)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        let mut now_us = 0.0;
        let all = (0..requests.min(MOST)).map(|_| {
            now_us += -(1.0 - random.f64()).ln() / per_second * 1e6;
            let drawn = random.f64() * sum;
            let client = sums.partition_point(|&sum| sum <= drawn).min(clients - 1);
            (now_us as u64, client as u32)
        });
        Arrivals {
            all: all.collect(),
            clients: (0..clients as u64)
                .map(|number| MadeUp::numbered(number, Vec::new()))
                .collect(),
        }
    }

    /// Those of an access log in the format `combined`, or one that begins like it, as `upstream`
    /// does. What came within a second is spread over it evenly. Lines of any other kind are left
    /// out; how many these were.
    ///
    /// # Errors
    /// There is none, or there are too many.
    pub fn of_log(text: &str) -> Result<(Arrivals, usize), TraceError> {
        let mut numbers: HashMap<(&str, &str), u32> = HashMap::new();
        let (mut clients, mut seconds, mut left_out) = (Vec::new(), Vec::new(), 0);
        for line in text.lines() {
            let Some(seen) = Seen::of(line) else {
                left_out += 1;
                continue;
            };
            if seconds.len() == MOST {
                return Err(TraceError::TooMany(MOST));
            }
            let next = u32::try_from(clients.len()).unwrap_or(u32::MAX);
            let client = *numbers
                .entry((seen.client, seen.target))
                .or_insert_with(|| {
                    clients.push(MadeUp::seen(seen.address, seen.target));
                    next
                });
            seconds.push((seen.second, client));
        }
        // A log is written in the order of ends.
        seconds.sort_by_key(|(second, _)| *second);
        let first = seconds.first().ok_or(TraceError::Nothing)?.0;
        let mut all = Vec::with_capacity(seconds.len());
        for within in seconds.chunk_by(|(one, _), (other, _)| one == other) {
            let count = within.len() as u64;
            for (number, (second, client)) in (0..).zip(within) {
                let since = u64::try_from(second - first).unwrap_or(0);
                all.push((since * 1_000_000 + number * 1_000_000 / count, *client));
            }
        }
        Ok((Arrivals { clients, all }, left_out))
    }

    /// Times, and clients by number.
    pub(super) fn all(&self) -> impl Iterator<Item = (u64, usize)> {
        self.all
            .iter()
            .map(|(at_us, client)| (*at_us, *client as usize))
    }

    pub(super) fn request(&self, client: usize) -> Rc<MadeUp> {
        self.clients[client].clone()
    }

    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When the last one comes.
    pub fn duration_us(&self) -> u64 {
        self.all.last().map_or(0, |(at_us, _)| *at_us)
    }
}

/// A line: `192.0.2.1 - - [29/Nov/2026:16:10:46 +0000] "GET /path HTTP/1.1" 200 ...`.
struct Seen<'a> {
    client: &'a str,
    address: IpAddr,
    /// Since 1970.
    second: i64,
    target: &'a str,
}

impl Seen<'_> {
    fn of(line: &str) -> Option<Seen<'_>> {
        let (client, rest) = line.split_once(' ')?;
        let (_, rest) = rest.split_once('[')?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, _) = rest.split_once('"')?;
        let target = request.split(' ').nth(1)?;
        let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).ok()?;
        Some(Seen {
            client,
            address: client.parse().ok()?,
            second: time.to_timestamp().ok()?.as_second(),
            target,
        })
    }
}
