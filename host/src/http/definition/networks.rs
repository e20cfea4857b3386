//! A value by the network that an address is in, as nginx's `geo` finds it: the smallest of those
//! that it is in.
//!
//! Networks are laid out as ranges that do not overlap, each with the value of the smallest network
//! that covers it: an address is found by one binary search, however many there are.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::Values;
use crate::http::template::Template;
use crate::http::variable::{Variable, VariableSource};

/// Values by network.
pub struct Networks {
    /// None: the client's address.
    pub from: Option<Template>,
    entries: Vec<(IpNet, u32)>,
    values: Values,
    pub default: Template,
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

/// Up to the beginning of the next one.
#[derive(Debug, Clone, Copy)]
struct Range<A> {
    start: A,
    /// None: it is in no network.
    value: Option<u32>,
}

impl Networks {
    /// `entries`: networks, no two the same, and which of the values each stands for.
    pub fn new(
        from: Option<Template>,
        entries: Vec<(IpNet, u32)>,
        values: Values,
        default: Template,
    ) -> Networks {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (network, value) in &entries {
            match network {
                IpNet::V4(network) => v4.push((
                    network.network().to_bits(),
                    network.broadcast().to_bits(),
                    *value,
                )),
                IpNet::V6(network) => v6.push((
                    network.network().to_bits(),
                    network.broadcast().to_bits(),
                    *value,
                )),
            }
        }
        Networks {
            from,
            entries,
            values,
            default,
            v4: ranges(v4, |end| end.checked_add(1)),
            v6: ranges(v6, |end| end.checked_add(1)),
        }
    }

    /// Each network with the text of its value, in file order.
    pub fn entries(&self) -> impl Iterator<Item = (&IpNet, &Template)> {
        let entries = self.entries.iter();
        entries.filter_map(|(network, value)| Some((network, self.values.get(*value)?)))
    }

    pub(super) fn from(&self) -> Option<&Template> {
        self.from.as_ref()
    }

    /// Those of which one is the value.
    pub(super) fn values(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.default).chain(self.values.iter())
    }

    pub(super) fn append(&self, source: &dyn VariableSource, out: &mut Vec<u8>) {
        let start = out.len();
        let address = match &self.from {
            None => {
                source.append(&Variable::BinaryRemoteAddr, out);
                binary(&out[start..])
            }
            Some(from) => {
                from.render(source, out);
                std::str::from_utf8(&out[start..])
                    .ok()
                    .and_then(|text| text.parse().ok())
            }
        };
        out.truncate(start);
        let value = address.and_then(|address| self.find(address));
        let template = value.and_then(|value| self.values.get(value));
        template.unwrap_or(&self.default).render(source, out);
    }

    fn find(&self, address: IpAddr) -> Option<u32> {
        match address.to_canonical() {
            IpAddr::V4(address) => value_at(&self.v4, address.to_bits()),
            IpAddr::V6(address) => value_at(&self.v6, address.to_bits()),
        }
    }
}

/// What it says, always in the same order.
impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entry(&"from", &self.from)
            .entry(&"default", &self.default)
            .entries(self.entries())
            .finish()
    }
}

/// An address in 4 or 16 bytes.
fn binary(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(|_| v6()).ok()
}

fn value_at<A: Ord + Copy>(ranges: &[Range<A>], address: A) -> Option<u32> {
    let behind = ranges.partition_point(|range| range.start <= address);
    ranges.get(behind.checked_sub(1)?)?.value
}

/// The ranges of networks, given by their first and last address. Of two networks, one is within
/// the other or they have nothing in common.
fn ranges<A: Ord + Copy>(
    mut networks: Vec<(A, A, u32)>,
    next: impl Fn(A) -> Option<A>,
) -> Vec<Range<A>> {
    networks.sort_unstable_by(|one, other| one.0.cmp(&other.0).then(other.1.cmp(&one.1)));
    let mut ranges: Vec<Range<A>> = Vec::with_capacity(networks.len() * 2);
    let mut push = |start, value| match ranges.last_mut() {
        Some(last) if last.start == start => last.value = value,
        _ => ranges.push(Range { start, value }),
    };
    // The networks that the address at hand is in, each within the one before.
    let mut open: Vec<(A, u32)> = Vec::new();
    for (first, last, value) in networks {
        close(&mut open, |end| end < first, &next, &mut push);
        push(first, Some(value));
        open.push((last, value));
    }
    close(&mut open, |_| true, &next, &mut push);
    ranges
}

/// Ends the networks whose last address `is_over`: behind each, the one around it goes on.
fn close<A: Copy>(
    open: &mut Vec<(A, u32)>,
    is_over: impl Fn(A) -> bool,
    next: &impl Fn(A) -> Option<A>,
    push: &mut impl FnMut(A, Option<u32>),
) {
    while let Some((end, _)) = open.pop_if(|(end, _)| is_over(*end)) {
        if let Some(behind) = next(end) {
            push(behind, open.last().map(|(_, value)| *value));
        }
    }
}
