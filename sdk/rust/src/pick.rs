//! One decision: what it is about, and which endpoints may be chosen.

use std::cell::Cell;
use std::iter::repeat;
use std::marker::PhantomData;

use crate::exchange::AtHand;
use crate::host::{attempt, fleet};
use crate::{Connection, Draws, Exchange, Fleet, Request};

/// `pick`'s answer that refuses the attempt: see the WIT. No list of endpoints is so long.
pub(crate) const REFUSED: usize = u32::MAX as usize - 1;

/// One attempt that needs an endpoint.
pub struct Pick<'a> {
    /// Names this attempt; comes back in [`Done::lease`](crate::Done::lease).
    pub lease: u64,
    /// 0 for the first attempt of an exchange, then 1, 2...
    pub attempt: u32,
    /// A monotonic clock in microseconds.
    pub now_us: u64,
    /// A fresh random number, uniform over all 64 bits. For more of them see [`Pick::draws`].
    pub random: u64,
    candidates: Candidates<'a>,
    at_hand: AtHand<'a>,
}

impl<'a> Pick<'a> {
    pub(crate) fn new(
        (lease, attempt, now_us, random): (u64, u32, u64, u64),
        first_word: u64,
        words: &'a mut Words,
    ) -> Self {
        words.stamp += 1;
        words.asked.set(0);
        let at_hand = PhantomData;
        let candidates = Candidates {
            first: first_word,
            words,
            at_hand,
        };
        Pick {
            lease,
            attempt,
            now_us,
            random,
            candidates,
            at_hand,
        }
    }

    /// The endpoints that may be chosen now.
    pub fn candidates(&self) -> &Candidates<'a> {
        &self.candidates
    }

    /// Live figures of the endpoints.
    pub fn fleet(&self) -> Fleet<'a> {
        Fleet(self.at_hand)
    }

    /// The request that needs an endpoint.
    pub fn request(&self) -> Request<'a> {
        Request(self.at_hand)
    }

    /// The client's connection.
    pub fn connection(&self) -> Connection<'a> {
        Connection(self.at_hand)
    }

    /// What belongs to the exchange: attributes, notes.
    pub fn exchange(&self) -> Exchange<'a> {
        Exchange(self.at_hand)
    }

    /// The value last kept during this exchange; 0 in the first attempt.
    pub fn memo(&self) -> u64 {
        attempt::memo()
    }

    /// Keeps a value for the further attempts of this exchange.
    pub fn set_memo(&self, value: u64) {
        attempt::set_memo(value);
    }

    /// Adds a header to the response, should the answer of this attempt reach the client.
    pub fn add_response_header(&self, name: &str, value: &[u8]) {
        attempt::add_response_header(name, value);
    }

    /// The answer that refuses the attempt: `return pick.refuse();`. None of the candidates may be
    /// asked, although there are some; the exchange ends with 503, without the fallback policy and
    /// without `backup` servers. For policies that keep requests apart; where
    /// it does not matter which endpoint is asked, `None` leaves the choice to the fallback policy.
    pub fn refuse(&self) -> Option<usize> {
        Some(REFUSED)
    }

    /// As [`refuse`](Pick::refuse), with a status from 400 to 599 in place of 503.
    pub fn refuse_with(&self, status: u16) -> Option<usize> {
        attempt::set_refusal_status(status);
        self.refuse()
    }

    /// As many random numbers as needed, all derived from [`Pick::random`], so that a run can be
    /// replayed.
    pub fn draws(&self) -> Draws {
        Draws::from_seed(self.random)
    }
}

/// One attempt that endpoints are narrowed or ranked for, before a policy picks.
pub struct Choice<'a> {
    /// 0 for the first attempt of an exchange, then 1, 2...
    pub attempt: u32,
    /// A monotonic clock in microseconds.
    pub now_us: u64,
    /// A fresh random number, uniform over all 64 bits.
    pub random: u64,
    at_hand: AtHand<'a>,
}

impl<'a> Choice<'a> {
    pub(crate) fn new(attempt: u32, now_us: u64, random: u64) -> Self {
        Choice {
            attempt,
            now_us,
            random,
            at_hand: PhantomData,
        }
    }

    /// Live figures of the endpoints.
    pub fn fleet(&self) -> Fleet<'a> {
        Fleet(self.at_hand)
    }

    /// The request that needs an endpoint.
    pub fn request(&self) -> Request<'a> {
        Request(self.at_hand)
    }

    /// The client's connection.
    pub fn connection(&self) -> Connection<'a> {
        Connection(self.at_hand)
    }

    /// What belongs to the exchange: attributes, notes.
    pub fn exchange(&self) -> Exchange<'a> {
        Exchange(self.at_hand)
    }
}

/// The endpoints that may be picked: in rotation, not `down`, below their `max_conns` and not yet
/// tried in this exchange.
///
/// Up to 64 endpoints come with the call; of a larger fleet, further 64 are fetched from the host
/// when first asked for, and all that is left once that is more than a few of them.
pub struct Candidates<'a> {
    first: u64,
    words: &'a Words,
    at_hand: AtHand<'a>,
}

impl Candidates<'_> {
    /// Whether the endpoint may be picked. False for an index that does not exist.
    #[inline]
    pub fn contains(&self, index: usize) -> bool {
        self.word(index / 64) >> (index % 64) & 1 == 1
    }

    /// All candidates, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.words.slots.len()).flat_map(|word| {
            let mut left = self.word(word);
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(64 * word + bit)
            })
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        (0..self.words.slots.len())
            .map(|word| self.word(word).count_ones() as usize)
            .sum()
    }

    /// 64 of them at once: bit `i` stands for endpoint `64 * word + i`. For loops that cannot
    /// afford a question per endpoint.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        if word == 0 {
            self.first
        } else {
            self.further(word)
        }
    }

    #[inline(never)]
    fn further(&self, word: usize) -> u64 {
        let Some(slot) = self.words.slots.get(word) else {
            return 0;
        };
        let (stamp, bits) = slot.get();
        if stamp == self.words.stamp {
            return bits;
        }
        let asked = self.words.asked.get();
        if asked == FEW {
            self.fetch_all();
            return slot.get().1;
        }
        self.words.asked.set(asked + 1);
        let bits = Fleet(self.at_hand).candidates(word);
        slot.set((self.words.stamp, bits));
        bits
    }

    fn fetch_all(&self) {
        // Indexes may have come or gone since there was room made for them: none is a candidate.
        let all = fleet::all_candidates().into_iter().chain(repeat(0));
        for (slot, bits) in self.words.slots.iter().zip(all) {
            slot.set((self.words.stamp, bits));
        }
    }
}

/// Words that are asked for one by one: enough for a policy that looks at a few endpoints. One that
/// looks at all of them has the others in one crossing, which costs as much as three.
const FEW: u32 = 2;

/// The candidate words of a large fleet that this pick already asked for. Kept between picks so
/// that none of them allocates; a word counts only if it carries the stamp of the current pick.
#[derive(Default)]
pub(crate) struct Words {
    stamp: u64,
    /// How many of them the current pick has asked for one by one.
    asked: Cell<u32>,
    slots: Vec<Cell<(u64, u64)>>,
}

impl Words {
    pub(crate) fn resize(&mut self, endpoints: usize) {
        self.slots = vec![Cell::default(); endpoints.div_ceil(64)];
    }

    /// Makes room for so many indexes. There is never less: a request that began under more of them
    /// may still be tried again with those.
    pub(crate) fn grow(&mut self, endpoints: usize) {
        if self.slots.len() < endpoints.div_ceil(64) {
            self.resize(endpoints);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Words;
    use crate::testing::Upstream;
    use crate::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

    /// Reports the candidates it saw, by every way there is to ask.
    struct Census;

    impl Policy for Census {
        fn configure(_: Settings) -> Result<Self, SettingsError> {
            Ok(Census)
        }
        fn sharing(&self) -> Sharing {
            Sharing::PerWorker
        }
        fn update(&mut self, _: Vec<Endpoint>) {}
        fn pick(&mut self, pick: &Pick) -> Option<usize> {
            let candidates = pick.candidates();
            let listed: Vec<usize> = candidates.iter().collect();
            let asked: Vec<usize> = (0..1000)
                .filter(|&index| candidates.contains(index))
                .collect();
            assert_eq!(listed, asked);
            assert_eq!(listed.len(), candidates.count());
            listed.last().copied()
        }
    }

    #[test]
    fn candidates_past_the_first_64_come_from_the_host() {
        let mut upstream = Upstream::<Census>::of("{}", 130);
        assert_eq!(upstream.pick(), Some(129));
        upstream.rotate_out(129);
        upstream.rotate_out(127);
        assert_eq!(upstream.pick(), Some(128));
    }

    /// Compares each word with the host's own answer for it.
    struct WordByWord;

    impl Policy for WordByWord {
        fn configure(_: Settings) -> Result<Self, SettingsError> {
            Ok(WordByWord)
        }
        fn sharing(&self) -> Sharing {
            Sharing::PerWorker
        }
        fn update(&mut self, _: Vec<Endpoint>) {}
        fn pick(&mut self, pick: &Pick) -> Option<usize> {
            let from_behind = (0..12).rev();
            for word in from_behind {
                let bits = pick.fleet().candidates(word);
                assert_eq!(pick.candidates().word(word), bits, "word {word}");
            }
            pick.candidates().iter().next()
        }
    }

    #[test]
    fn words_that_come_together_are_those_that_come_one_by_one_and_of_this_pick() {
        let mut upstream = Upstream::<WordByWord>::of("{}", 600);
        for index in (0..600).step_by(7) {
            upstream.rotate_out(index);
            assert_eq!(upstream.pick(), Some(1));
        }
    }

    #[test]
    fn where_endpoints_go_candidates_of_before_can_still_be_asked_for() {
        let mut words = Words::default();
        words.resize(130);
        words.grow(3);
        assert_eq!(words.slots.len(), 3);
        words.grow(200);
        assert_eq!(words.slots.len(), 4);
    }
}
