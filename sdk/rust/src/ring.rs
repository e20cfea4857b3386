//! The ring of nginx's `hash ... consistent` (ketama): every server owns 160 points per unit of
//! weight, and a key belongs to the first point at or after its hash.
//!
//! Points are made from the server as the configuration spells it, so that they stay when an
//! address changes. A ring takes 8 bytes a point; see [`MOST_POINTS`].

use crate::{Crc32, Endpoint, log};

/// Points of a ring, before duplicates are dropped. Beyond 6,553 units of weight in all, weights
/// are scaled down to fit, and keys no longer go where nginx would send them: better than to run
/// out of memory.
const MOST_POINTS: u64 = 1 << 20;

/// Points per unit of weight.
const POINTS_PER_WEIGHT: u64 = 160;

/// Servers on a ring, for consistent hashing as nginx and Cache::Memcached::Fast do it: 8 bytes for
/// each point, and at most 2^20 points.
#[derive(Debug, Default)]
pub struct Ring {
    points: Vec<Point>,
    /// The endpoints of each server: several where a name has several addresses.
    servers: Vec<Vec<usize>>,
}

#[derive(Debug)]
struct Point {
    hash: u32,
    server: u32,
}

impl Ring {
    /// The ring of these endpoints, `down` ones included.
    pub fn new(endpoints: &[Endpoint]) -> Self {
        let total: u64 = endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.weight))
            .sum();
        let scale = (total * POINTS_PER_WEIGHT).div_ceil(MOST_POINTS).max(1);
        if scale > 1 {
            log::warn(&format!(
                "consistent hash: weights of {total} in all are divided by {scale}; smaller ones of the same proportions would be exact"
            ));
        }
        let mut names = std::collections::BTreeMap::new();
        let mut ring = Ring::default();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let name = endpoint.name();
            let server = *names.entry(name.clone()).or_insert(ring.servers.len());
            if server == ring.servers.len() {
                ring.servers.push(Vec::new());
            }
            ring.servers[server].push(index);
            let weight = (u64::from(endpoint.weight) / scale).max(1);
            ring.add_points(&name, server as u32, weight * POINTS_PER_WEIGHT);
        }
        // The server breaks ties as the configuration's order would.
        ring.points
            .sort_unstable_by_key(|point| (point.hash, point.server));
        ring.points.dedup_by_key(|point| point.hash);
        ring
    }

    /// Points are `crc32(HOST \0 PORT PREVIOUS)`, PREVIOUS in little-endian bytes and 0 at first.
    fn add_points(&mut self, spelling: &str, server: u32, count: u64) {
        let (host, port) = host_and_port(spelling);
        let mut base = Crc32::default();
        base.add(host.as_bytes());
        base.add(b"\0");
        base.add(port.as_bytes());
        let mut hash = 0_u32;
        for _ in 0..count {
            let mut crc = base;
            crc.add(&hash.to_le_bytes());
            hash = crc.value();
            self.points.push(Point { hash, server });
        }
    }

    /// The place of the first point at or after this hash, the [`Crc32`] of a key; past the end
    /// where there is none, which is the ring's beginning. The places behind it are those of the
    /// servers to go on with.
    pub fn find(&self, hash: u32) -> u32 {
        self.points.partition_point(|point| point.hash < hash) as u32
    }

    /// The endpoints of the server that owns a point, by index; several where a name has several
    /// addresses. Places go round.
    pub fn endpoints_at(&self, place: u32) -> &[usize] {
        let Some(place) = (place as usize).checked_rem(self.points.len()) else {
            return &[];
        };
        &self.servers[self.points[place].server as usize]
    }
}

/// The spelling without `unix:`, and split at the last `:` if only digits follow it. A port that
/// was not written stays empty.
fn host_and_port(spelling: &str) -> (&str, &str) {
    if spelling
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("unix:"))
    {
        return (&spelling[5..], "");
    }
    match spelling.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (spelling, ""),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Ring, host_and_port};
    use crate::testing::endpoint;
    use serde_json::Value;

    #[test]
    fn the_ring_is_nginxs_point_for_point() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../../tests/nginx/vectors.json")).unwrap();
        let servers = [
            "127.0.0.1:39101",
            "127.0.0.1:39102",
            "127.0.0.1:39104",
            "127.0.0.1:39105",
        ];
        let endpoints: Vec<_> = servers
            .into_iter()
            .zip([3, 1, 2, 1])
            .map(|(s, w)| endpoint(s).weight(w).build())
            .collect();
        let ring = Ring::new(&endpoints);
        assert_eq!(
            ring.points.len() as u64,
            vectors["chash_ring_len"].as_u64().unwrap()
        );
        let first = vectors["chash_first5"].as_array().unwrap();
        assert!(!first.is_empty());
        for (place, point) in first.iter().enumerate() {
            assert_eq!(
                u64::from(ring.points[place].hash),
                point[0].as_u64().unwrap()
            );
            assert_eq!(
                servers[ring.endpoints_at(place as u32)[0]],
                point[1].as_str().unwrap()
            );
        }
    }

    #[test]
    fn a_key_past_the_last_point_belongs_to_the_first() {
        let ring = Ring::new(&[endpoint("a:1").build(), endpoint("b:1").build()]);
        assert_eq!(ring.endpoints_at(ring.find(u32::MAX)), ring.endpoints_at(0));
        assert_eq!(ring.find(ring.points[7].hash), 7);
        assert_eq!(ring.find(ring.points[7].hash + 1), 8);
    }

    #[test]
    fn the_port_is_what_follows_the_last_colon_if_it_is_digits() {
        assert_eq!(host_and_port("app.example:8080"), ("app.example", "8080"));
        assert_eq!(host_and_port("app.example"), ("app.example", ""));
        assert_eq!(host_and_port("[2001:db8::1]:80"), ("[2001:db8::1]", "80"));
        assert_eq!(host_and_port("[2001:db8::a]"), ("[2001:db8::a]", ""));
        assert_eq!(
            host_and_port("UNIX:/run/app.sock:1"),
            ("/run/app.sock:1", "")
        );
    }

    #[test]
    fn weights_too_large_for_memory_are_scaled_down() {
        let ring = Ring::new(&[
            endpoint("a:1").weight(1_000_000).build(),
            endpoint("b:1").weight(500_000).build(),
        ]);
        assert!(ring.points.len() as u64 <= super::MOST_POINTS);
        let of_a = ring.points.iter().filter(|point| point.server == 0).count();
        assert!((1.9..2.1).contains(&(of_a as f64 / (ring.points.len() - of_a) as f64)));
    }
}
