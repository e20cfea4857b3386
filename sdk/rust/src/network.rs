//! Networks that clients are compared with, in nginx's spelling: `10.0.0.0/8`, `2001:db8::1`,
//! `unix:`, `all`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// A set of client addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    Unix,
    V4 { bits: u32, mask: u32 },
    V6 { bits: u128, mask: u128 },
}

impl Network {
    /// Reads an address, a network in CIDR notation, `unix:` (clients of unix sockets) or `all`
    /// (every client). Bits behind the prefix do not count, as in nginx (`ngx_ptocidr`). IPv4
    /// addresses that are mapped into IPv6 are IPv4 addresses, as those of clients are.
    ///
    /// # Errors
    /// What is wrong and what would be right, for a [`Settings::error`](crate::Settings::error).
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Network(Kind::All)),
            "unix:" => return Ok(Network(Kind::Unix)),
            _ => {}
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| {
            format!(
                "`{text}` is no address or network such as `192.0.2.1`, `10.0.0.0/8` or \
                 `2001:db8::/32`"
            )
        })?;
        let longest: u32 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) => Some(digits)
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|prefix| *prefix <= longest)
                .ok_or_else(|| format!("the prefix of `{text}` must be from 0 to {longest}"))?,
        };
        let (address, prefix) = match address {
            IpAddr::V6(mapped) if prefix >= 96 => match mapped.to_ipv4_mapped() {
                Some(address) => (IpAddr::V4(address), prefix - 96),
                None => (address, prefix),
            },
            address => (address, prefix),
        };
        // A shift by all bits is none: a prefix of 0 has a mask of 0.
        Ok(Network(match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                let bits = u32::from(address) & mask;
                Kind::V4 { bits, mask }
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                let bits = u128::from(address) & mask;
                Kind::V6 { bits, mask }
            }
        }))
    }

    /// Its IPv4 addresses, for tables that are searched.
    pub fn ipv4(&self) -> Option<RangeInclusive<u32>> {
        match self.0 {
            Kind::All => Some(0..=u32::MAX),
            Kind::V4 { bits, mask } => Some(bits..=bits | !mask),
            Kind::V6 { .. } | Kind::Unix => None,
        }
    }

    /// Its IPv6 addresses.
    pub fn ipv6(&self) -> Option<RangeInclusive<u128>> {
        match self.0 {
            Kind::All => Some(0..=u128::MAX),
            Kind::V6 { bits, mask } => Some(bits..=bits | !mask),
            Kind::V4 { .. } | Kind::Unix => None,
        }
    }

    /// Whether a client is in it, by
    /// [`Connection::client_address`](crate::Connection::client_address): `None` is a client of a
    /// unix socket.
    pub fn contains(&self, client: Option<IpAddr>) -> bool {
        match (self.0, client) {
            (Kind::All, _) | (Kind::Unix, None) => true,
            (Kind::V4 { bits, mask }, Some(IpAddr::V4(address))) => {
                u32::from(address) & mask == bits
            }
            (Kind::V6 { bits, mask }, Some(IpAddr::V6(address))) => {
                u128::from(address) & mask == bits
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Network;

    fn contains(network: &str, client: &str) -> bool {
        let client = (client != "unix:").then(|| client.parse().unwrap());
        Network::parse(network).unwrap().contains(client)
    }

    #[test]
    fn clients_are_in_their_networks_and_in_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("::1", "::1", "::2"),
            ("unix:", "unix:", "127.0.0.1"),
            ("0.0.0.0/0", "127.0.0.1", "unix:"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:10.0.0.0/104", "10.255.0.1", "11.0.0.1"),
            ("::/64", "::1", "10.0.0.1"),
        ] {
            assert!(contains(network, inside), "{inside} in {network}");
            assert!(!contains(network, outside), "{outside} in {network}");
        }
        assert!(contains("all", "unix:") && contains("all", "::1") && contains("all", "192.0.2.1"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "10",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "/8",
            "example.com",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "ALL",
            "10.0.0.0/4294967304",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }
}
