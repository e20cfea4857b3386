//! Which index each endpoint of a set has.
//!
//! A compact layout follows the configuration. Where a policy takes other endpoints in place
//! (`member-changes` in the WIT), each layout goes on from the one before: an index that has had a
//! meaning never gets another one.

use std::collections::HashMap;

use super::endpoint::Endpoint;
use crate::config::model::Address;

/// Fewer indexes than these are never too many, however many of them are holes.
const FEW: usize = 64;

/// Endpoints by index.
#[derive(Debug)]
pub(super) struct Layout {
    /// Holes included: see [`Endpoint::gone`].
    pub(super) endpoints: Vec<Endpoint>,
    /// The indexes of those that are there, in configuration order.
    pub(super) order: Vec<u32>,
}

impl Layout {
    /// Of endpoints in configuration order, which are their indexes. Where there are none, as no
    /// name is known yet, there is a hole: a policy is never shown an empty list, which most could do
    /// nothing with.
    pub(super) fn compact(endpoints: Vec<Endpoint>) -> Layout {
        let order = (0..endpoints.len() as u32).collect();
        let endpoints = match endpoints.is_empty() {
            true => vec![Endpoint::vacant()],
            false => endpoints,
        };
        Layout { order, endpoints }
    }

    /// Of endpoints in configuration order, which keep the indexes that they have in `before`; new
    /// ones are behind all others. Gives the endpoints back where that would leave more holes than
    /// endpoints.
    pub(super) fn after(
        before: &Layout,
        endpoints: Vec<Endpoint>,
    ) -> Result<Layout, Vec<Endpoint>> {
        let mut end = before.endpoints.len() as u32;
        let mut order = Vec::with_capacity(endpoints.len());
        let mut known = before.by_name();
        for endpoint in &endpoints {
            let of_endpoint = known.get_mut(&(&*endpoint.server, &endpoint.address));
            order.push(of_endpoint.and_then(Vec::pop).unwrap_or_else(|| {
                end += 1;
                end - 1
            }));
        }
        drop(known);
        let places = end as usize;
        if places >= FEW && places - order.len() > order.len() {
            return Err(endpoints);
        }
        let mut there: Vec<Option<Endpoint>> = Vec::new();
        there.resize_with(places, || None);
        for (&index, endpoint) in order.iter().zip(endpoints) {
            there[index as usize] = Some(endpoint);
        }
        // New indexes all have an endpoint: one without had a meaning before.
        let places = there.into_iter().enumerate();
        let places = places
            .map(|(index, endpoint)| endpoint.unwrap_or_else(|| before.endpoints[index].gone()));
        Ok(Layout {
            endpoints: places.collect(),
            order,
        })
    }

    /// The indexes of each endpoint; several where it is listed several times, the last one first.
    fn by_name(&self) -> HashMap<(&str, &Address), Vec<u32>> {
        let mut indexes = HashMap::<_, Vec<u32>>::new();
        for &index in self.order.iter().rev() {
            let endpoint = &self.endpoints[index as usize];
            let of_endpoint = indexes.entry((&*endpoint.server, &endpoint.address));
            of_endpoint.or_default().push(index);
        }
        indexes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::super::endpoint::tests_endpoint;
    use super::*;

    fn named(name: &str) -> Endpoint {
        let mut endpoint = tests_endpoint(1, 10, 5);
        endpoint.server = name.into();
        endpoint
    }

    fn all(names: &[&str]) -> Vec<Endpoint> {
        names.iter().copied().map(named).collect()
    }

    /// The server at each index, none for a hole.
    fn servers(layout: &Layout) -> Vec<&str> {
        layout.endpoints.iter().map(|each| &*each.server).collect()
    }

    #[test]
    fn endpoints_that_stay_keep_their_indexes_and_no_index_is_used_twice() {
        let before = Layout::compact(all(&["a", "b", "c"]));
        let after = Layout::after(&before, all(&["d", "c", "a"])).unwrap();
        assert_eq!(servers(&after), ["a", "", "c", "d"]);
        assert_eq!(after.order, [3, 2, 0]);
        let again = Layout::after(&after, all(&["a", "b"])).unwrap();
        assert_eq!(servers(&again), ["a", "", "", "", "b"]);
        assert_eq!(again.order, [0, 4]);
    }

    #[test]
    fn one_that_is_listed_several_times_keeps_as_many_indexes() {
        let before = Layout::compact(all(&["a", "b", "a"]));
        let after = Layout::after(&before, all(&["a", "a", "a", "b"])).unwrap();
        assert_eq!(after.order, [0, 2, 3, 1]);
    }

    #[test]
    fn a_hole_is_down_and_shows_the_attempts_that_are_left() {
        let before = Layout::compact(all(&["a", "b"]));
        before.endpoints[0].acquire(1).unwrap();
        let after = Layout::after(&before, all(&["b"])).unwrap();
        let hole = &after.endpoints[0];
        assert!(hole.down && hole.name.is_empty() && hole.labels.is_empty());
        assert_eq!(hole.in_flight(), 1);
        before.endpoints[0].released();
        assert_eq!(hole.in_flight(), 0);
    }

    #[test]
    fn where_there_are_no_endpoints_there_is_a_hole() {
        let none = Layout::compact(Vec::new());
        assert_eq!(servers(&none), [""]);
        assert!(none.order.is_empty() && none.endpoints[0].down);
        let some = Layout::after(&none, all(&["a"])).unwrap();
        assert_eq!(servers(&some), ["", "a"]);
        assert_eq!(some.order, [1]);
    }

    #[test]
    fn more_holes_than_endpoints_are_too_many_from_64_indexes_on() {
        let mut layout = Layout::compact(all(&["stays", "goes"]));
        for places in 3..FEW {
            layout = Layout::after(&layout, all(&["stays", &places.to_string()])).unwrap();
            assert_eq!(layout.endpoints.len(), places);
        }
        let given_back = Layout::after(&layout, all(&["stays", "too many"])).unwrap_err();
        assert_eq!(given_back.len(), 2);
        // As many as there are endpoints are borne.
        let many: Vec<String> = (0..FEW).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let half = &many[FEW / 2..];
        assert!(Layout::after(&Layout::compact(all(&many)), all(half)).is_ok());
        assert!(Layout::after(&Layout::compact(all(&many)), all(&half[1..])).is_err());
    }
}
