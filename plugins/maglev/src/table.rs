//! The lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4): as many slots as a prime number says, each owned by an endpoint.
//!
//! Every endpoint has an order of its own over all slots, by an offset and a skip. Endpoints take
//! turns to claim the next free slot of their order, until none is free: so all own the same share
//! to a slot, and most keep theirs when another endpoint comes or goes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use waypost_sdk::{Endpoint, hash64};

/// A slot that no endpoint has claimed yet.
const FREE: u32 = u32::MAX;

/// What the second hash of an endpoint begins with, so that it is independent of the first.
const SKIP_SEED: u64 = 1;

/// The owners of all slots: 4 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Table {
    slots: Vec<u32>,
}

/// Where an endpoint stands in its order over the slots, which visits all of them: their number is
/// prime, and the skip is neither 0 nor that number.
struct Order {
    owner: u32,
    weight: u64,
    next: u32,
    skip: u32,
    turns: u64,
}

impl Table {
    /// The table of these endpoints, `down` ones included, so that they find their slots when they
    /// come back. `hashes` are theirs, in order; `size` is a prime number.
    pub(crate) fn new(endpoints: &[Endpoint], hashes: &[u64], size: u32) -> Self {
        let mut slots = vec![FREE; size as usize];
        // Of those whose turn it is, the one with the lowest hash claims first, so that the order
        // in which the configuration lists them does not matter.
        let mut sorted: Vec<usize> = (0..endpoints.len()).collect();
        sorted.sort_unstable_by_key(|&index| hashes[index]);
        let order = |index: usize| Order::new(index, endpoints[index].weight, hashes[index], size);
        let mut orders: Vec<Order> = sorted.into_iter().map(order).collect();
        let heaviest = orders.iter().map(|order| order.weight).max().unwrap_or(0);
        // The rounds in which they have their next turns, above their places in the list. The
        // heaviest have one in every round, one of half their weight in every other round.
        let mut due: BinaryHeap<_> = (0..orders.len() as u64).map(Reverse).collect();
        for _ in 0..size {
            let Some(mut turn) = due.peek_mut() else {
                return Table::default();
            };
            let place = turn.0 as u32;
            let order = &mut orders[place as usize];
            order.claim(&mut slots);
            // There are no more rounds than slots: what comes later never comes.
            let round = (order.turns * heaviest / order.weight).min(u64::from(u32::MAX));
            *turn = Reverse(round << 32 | u64::from(place));
        }
        Table { slots }
    }

    /// The slot of a key, by its hash.
    pub(crate) fn slot(&self, hash: u64) -> usize {
        (hash % self.slots.len().max(1) as u64) as usize
    }

    /// The owners of so many slots from this one on; slots go round.
    pub(crate) fn owners(&self, slot: usize, count: usize) -> impl Iterator<Item = usize> {
        let (before, from) = self.slots.split_at(slot.min(self.slots.len()));
        let round = from.iter().chain(before);
        round.take(count).map(|&owner| owner as usize)
    }
}

impl Order {
    fn new(index: usize, weight: u32, hash: u64, size: u32) -> Self {
        let (size, second) = (u64::from(size), hash64(&hash.to_le_bytes(), SKIP_SEED));
        Order {
            owner: index as u32,
            weight: u64::from(weight).max(1),
            next: (hash % size) as u32,
            skip: (second % (size - 1)) as u32 + 1,
            turns: 0,
        }
    }

    /// Takes the next slot of this order that is free. There is one.
    fn claim(&mut self, slots: &mut [u32]) {
        let size = slots.len() as u32;
        let slot = loop {
            let slot = self.next as usize;
            self.next += self.skip;
            if self.next >= size {
                self.next -= size;
            }
            if slots[slot] == FREE {
                break slot;
            }
        };
        slots[slot] = self.owner;
        self.turns += 1;
    }
}

/// Whether a number is prime.
pub(crate) fn is_prime(number: u32) -> bool {
    number > 1
        && (2..)
            .take_while(|divisor| divisor * divisor <= number)
            .all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::{Table, is_prime};
    use waypost_sdk::testing::endpoint;
    use waypost_sdk::{Endpoint, endpoint_hashes};

    const SIZE: u32 = 65_537;

    fn table(endpoints: &[Endpoint], size: u32) -> Table {
        Table::new(endpoints, &endpoint_hashes(endpoints), size)
    }

    fn servers(count: usize, weight: impl Fn(usize) -> u32) -> Vec<Endpoint> {
        (0..count)
            .map(|i| endpoint(&format!("s{i}:80")).weight(weight(i)).build())
            .collect()
    }

    fn slots_of(table: &Table, count: usize) -> Vec<u32> {
        let mut owned = vec![0; count];
        for &owner in &table.slots {
            owned[owner as usize] += 1;
        }
        owned
    }

    #[test]
    fn equal_servers_own_the_same_number_of_slots_to_one() {
        for count in [1, 3, 100, 999] {
            let owned = slots_of(&table(&servers(count, |_| 1), SIZE), count);
            let (least, most) = (owned.iter().min(), owned.iter().max());
            assert!(
                least
                    .zip(most)
                    .is_some_and(|(least, most)| most - least <= 1),
                "{count} servers own {least:?} to {most:?}"
            );
        }
    }

    #[test]
    fn a_server_of_twice_the_weight_owns_twice_the_slots() {
        let owned = slots_of(&table(&servers(3, |i| [100, 200, 50][i]), SIZE), 3);
        let share = |slots: u32| f64::from(slots) / f64::from(SIZE);
        for (slots, weight) in owned.iter().zip([100.0, 200.0, 50.0]) {
            assert!((share(*slots) - weight / 350.0).abs() < 0.0001, "{owned:?}");
        }
    }

    #[test]
    fn the_lightest_server_owns_a_slot_beside_the_heaviest() {
        let owned = slots_of(&table(&servers(2, |i| [u32::MAX, 1][i]), SIZE), 2);
        assert_eq!(owned, [SIZE - 1, 1]);
    }

    /// Offsets and skips as in the paper's table 1; what comes out is, too.
    #[test]
    fn the_papers_example_comes_out_as_in_the_paper() {
        use super::{FREE, Order};
        let mut orders = [(0, 3, 4), (1, 0, 2), (2, 3, 1)].map(|(owner, next, skip)| Order {
            owner,
            next,
            skip,
            weight: 1,
            turns: 0,
        });
        let mut slots = [FREE; 7];
        for turn in 0..7 {
            orders[turn % 3].claim(&mut slots);
        }
        assert_eq!(slots, [1, 0, 1, 0, 2, 2, 0]);
    }

    #[test]
    fn a_table_smaller_than_the_servers_has_no_slot_left_over() {
        let table = table(&servers(50, |_| 1), 7);
        assert!(table.slots.iter().all(|&owner| owner < 50));
        assert!(table.owners(3, 20).count() == 7);
    }

    #[test]
    fn primes_are_told_from_other_numbers() {
        let primes: Vec<u32> = (0..30).filter(|&number| is_prime(number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65_537) && !is_prime(65_536) && is_prime(super::super::MOST_SLOTS));
    }
}
