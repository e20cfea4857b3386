//! What is known of one name: the last good answer, and when it is asked for again.
//!
//! An answer that cannot be had changes nothing. One that says that there are no addresses is
//! believed when it has been said for a while: name servers say so of a name that is about to come
//! back as well, and an address that is gone costs a connection attempt, not a request.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::resolution::Located;
use crate::config::model::{Address, Resolver};

/// A name without addresses keeps those that it had for so long (HAProxy: `hold nx`, 30 s).
const HOLD: Duration = Duration::from_secs(30);

/// Between two questions about one name, whatever is the reason.
pub(super) const BREATH: Duration = Duration::from_secs(1);

/// Addresses of one name that are used.
const MOST: usize = 1024;

/// What came of a question.
#[derive(Debug)]
pub(super) enum Outcome {
    /// `ttl`: for how long it holds, as it says itself.
    Found {
        located: Vec<Located>,
        ttl: Duration,
        /// A part of the question had no answer.
        missing: Option<Missing>,
        /// Of the names that it may stand for, that which has them.
        meant: String,
    },
    /// There are none.
    Absent(String),
    /// No answer could be had, or none that can be used.
    Failed(String),
}

/// The part of an answer that could not be had: what was known of it before stays.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) part: Part,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) enum Part {
    Ipv4,
    Ipv6,
    /// Servers of a service, by the hosts that it names.
    Targets(Vec<Box<str>>),
}

impl Part {
    fn has(&self, known: &Located) -> bool {
        match (self, &known.address) {
            (Part::Ipv4, Address::Tcp(address)) => address.is_ipv4(),
            (Part::Ipv6, Address::Tcp(address)) => address.is_ipv6(),
            (Part::Targets(targets), _) => {
                let target = known.service.as_ref().map(|service| &service.target);
                target.is_some_and(|target| targets.contains(target))
            }
            (_, Address::Unix(_)) => false,
        }
    }
}

/// What is known of one name.
#[derive(Debug)]
pub(super) struct Known {
    located: Arc<[Located]>,
    /// Of the names that it may stand for, that which has them.
    meant: Option<String>,
    /// Since when there are said to be no addresses.
    absent_since: Option<Instant>,
    failures: u32,
    why: Option<String>,
    /// Since when there are none, whatever was said.
    without_address: Option<Instant>,
    asked: Instant,
    next: Instant,
}

/// What is to be seen of one name.
#[derive(Debug, Clone)]
pub(crate) struct NameState {
    /// Why the last question had no answer; none if it had one.
    pub(crate) why: Option<String>,
    /// Since when it has no address; none if it has one.
    pub(crate) without_address: Option<Instant>,
    pub(crate) asked: Instant,
    pub(crate) next: Instant,
}

/// What an outcome has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) addresses: bool,
    /// There is no answer any more, or only a part of one: why. Said once, whatever the reasons are
    /// that follow.
    pub(super) trouble: Option<String>,
    /// There is an answer again.
    pub(super) recovered: bool,
}

impl Known {
    /// Before the first question: what was known before its task began, most often nothing.
    pub(super) fn before(located: Arc<[Located]>, now: Instant) -> Known {
        Known {
            without_address: located.is_empty().then_some(now),
            located,
            meant: None,
            absent_since: None,
            failures: 0,
            why: None,
            asked: now,
            next: now,
        }
    }

    /// Which of the names that it may stand for had the last answer.
    pub(super) fn meant(&self) -> Option<&str> {
        self.meant.as_deref()
    }

    pub(super) fn located(&self) -> &Arc<[Located]> {
        &self.located
    }

    /// When it is asked for again if nobody doubts the answer.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// When it may be asked for again if somebody does.
    pub(super) fn earliest(&self) -> Instant {
        self.next.min(self.asked + BREATH)
    }

    pub(super) fn state(&self) -> NameState {
        NameState {
            why: self.why.clone(),
            without_address: self.without_address,
            asked: self.asked,
            next: self.next,
        }
    }

    /// Takes in what came of a question that was asked at `asked`, and is over now.
    pub(super) fn note(
        &mut self,
        outcome: Outcome,
        resolver: &Resolver,
        asked: Instant,
        now: Instant,
    ) -> Change {
        self.asked = asked;
        let before = self.why.take();
        let mut change = Change::default();
        match outcome {
            Outcome::Found {
                located,
                ttl,
                missing,
                meant,
            } => {
                self.meant = Some(meant);
                (self.absent_since, self.failures) = (None, 0);
                let bounded = ttl.clamp(resolver.min_ttl, resolver.max_ttl);
                self.next = now + resolver.valid.unwrap_or(bounded);
                let too_many = located.len() > MOST;
                let found = self.merged(located, missing.as_ref().map(|missing| &missing.part));
                self.why = missing.map(|missing| missing.why);
                if too_many && self.why.is_none() {
                    self.why = Some(format!("only {MOST} addresses of it are used"));
                }
                if *found != *self.located {
                    self.located = found.into();
                    change.addresses = true;
                }
            }
            Outcome::Absent(why) => {
                self.failures = 0;
                self.next = now + BREATH;
                let since = *self.absent_since.get_or_insert(now);
                self.why = Some(why);
                if now.saturating_duration_since(since) >= HOLD {
                    self.meant = None;
                    change.addresses = !self.located.is_empty();
                    self.located = Arc::default();
                }
            }
            Outcome::Failed(why) => {
                self.failures = self.failures.saturating_add(1);
                // Nothing is known: whoever waits for it is to wait no longer than it has to.
                let pause = match self.located.is_empty() {
                    true => BREATH,
                    false => BREATH.saturating_mul(1 << self.failures.min(16)),
                };
                self.next = now + pause.min(resolver.max_ttl).max(BREATH);
                self.why = Some(why);
            }
        }
        self.without_address = match self.located.is_empty() {
            true => self.without_address.or(Some(now)),
            false => None,
        };
        match &self.why {
            Some(why) if before.is_none() => change.trouble = Some(why.clone()),
            None => change.recovered = before.is_some(),
            Some(_) => {}
        }
        change
    }

    /// The addresses found, and those known before of what had no answer.
    fn merged(&self, mut found: Vec<Located>, missing: Option<&Part>) -> Vec<Located> {
        if let Some(missing) = missing {
            let known = self.located.iter();
            found.extend(known.filter(|known| missing.has(known)).cloned());
        }
        in_order(found)
    }
}

/// Each address once, in the order of the addresses: name servers turn that of an answer every time,
/// and what is a server's place is to be the same on every machine and after every start.
pub(super) fn in_order(mut found: Vec<Located>) -> Vec<Located> {
    found.sort();
    found.dedup();
    found.truncate(MOST);
    found
}

/// Addresses as the log lists them: the first few.
pub(super) fn listed(located: &[Located]) -> String {
    const FEW: usize = 8;
    let mut text = String::new();
    for (number, located) in located.iter().take(FEW).enumerate() {
        let between = if number > 0 { ", " } else { "" };
        let _ = write!(text, "{between}{}", located.address);
    }
    match located.len().saturating_sub(FEW) {
        0 => text,
        more => text + &format!(" and {more} more"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::super::resolution::OfService;
    use super::*;
    use crate::config::model::tests_resolver;

    const TTL: Duration = Duration::from_secs(5);

    fn at(last: u8) -> Located {
        Located::at(Address::Tcp(([10, 0, 0, last], 80).into()))
    }

    fn found(last: &[u8], ttl: Duration) -> Outcome {
        Outcome::Found {
            located: last.iter().copied().map(at).collect(),
            ttl,
            missing: None,
            meant: "a.".to_owned(),
        }
    }

    /// A name, and a clock that begins at zero.
    struct Name(Known, Instant, Resolver);

    impl Name {
        fn new() -> Name {
            let now = Instant::now();
            Name(Known::before(Arc::default(), now), now, tests_resolver())
        }

        fn note(&mut self, seconds: u64, outcome: Outcome) -> Change {
            let now = self.1 + Duration::from_secs(seconds);
            self.0.note(outcome, &self.2, now, now)
        }

        fn addresses(&self) -> Vec<String> {
            let located = self.0.located().iter();
            located.map(|located| located.address.to_string()).collect()
        }

        fn next(&self) -> Duration {
            self.0.next() - self.1
        }
    }

    #[test]
    fn addresses_are_in_order_whatever_that_of_the_answer_is() {
        let mut name = Name::new();
        assert!(name.note(0, found(&[3, 1, 3], TTL)).addresses);
        assert_eq!(name.addresses(), ["10.0.0.1:80", "10.0.0.3:80"]);
        assert_eq!(name.note(5, found(&[1, 3], TTL)), Change::default());
        assert!(name.note(10, found(&[2, 1], TTL)).addresses);
        assert_eq!(name.addresses(), ["10.0.0.1:80", "10.0.0.2:80"]);
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says_within_bounds() {
        let mut name = Name::new();
        for (ttl, holds) in [(0, 1), (1, 1), (5, 5), (10, 10), (86_400, 10)] {
            name.note(0, found(&[1], Duration::from_secs(ttl)));
            assert_eq!(name.next(), Duration::from_secs(holds), "{ttl}");
        }
        name.2.valid = Some(Duration::from_secs(60));
        name.note(0, found(&[1], Duration::ZERO));
        assert_eq!(name.next(), Duration::from_secs(60));
    }

    #[test]
    fn the_last_good_answer_stays_while_no_other_can_be_had() {
        let mut name = Name::new();
        let failed = || Outcome::Failed("110: Operation timed out".to_owned());
        let change = name.note(0, failed());
        assert_eq!(change.trouble.as_deref(), Some("110: Operation timed out"));
        assert_eq!(name.next(), BREATH, "nothing is known yet");
        assert!(name.note(1, found(&[1], TTL)).addresses);
        assert!(name.0.state().why.is_none());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            name.note(0, failed());
            pauses.push(name.next().as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 10, 10, 10]);
        assert_eq!(name.note(99, failed()), Change::default(), "said already");
        let other = Outcome::Failed("5: Operation refused".to_owned());
        assert_eq!(name.note(99, other), Change::default(), "as well");
        assert!(name.note(99, found(&[1], TTL)).recovered);
        assert_eq!(name.addresses(), ["10.0.0.1:80"]);
    }

    #[test]
    fn that_a_name_has_no_addresses_is_believed_after_a_while() {
        let mut name = Name::new();
        let absent = || Outcome::Absent("3: Host not found".to_owned());
        name.note(0, found(&[1], TTL));
        assert!(name.note(5, absent()).trouble.is_some());
        assert_eq!(name.note(34, absent()), Change::default());
        assert_eq!(name.addresses(), ["10.0.0.1:80"]);
        // A server that fails meanwhile says nothing about that.
        name.note(34, Outcome::Failed("2: Server failure".to_owned()));
        assert!(name.note(35, absent()).addresses);
        assert!(name.addresses().is_empty());
        assert_eq!(name.next(), Duration::from_secs(36));
        let without_address = name.0.state().without_address;
        assert_eq!(
            without_address,
            Some(name.1 + Duration::from_secs(35)),
            "since it is believed"
        );
        name.note(36, absent());
        assert_eq!(name.0.state().without_address, without_address);
        // One that is back meanwhile begins anew.
        name.note(40, found(&[1], TTL));
        assert!(name.0.state().without_address.is_none());
        name.note(45, absent());
        name.note(50, found(&[1], TTL));
        name.note(80, absent());
        assert_eq!(name.addresses(), ["10.0.0.1:80"]);
    }

    #[test]
    fn what_had_no_answer_keeps_what_was_known_of_it() {
        let v6 = |last: u16| {
            let ip = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
            Located::at(Address::Tcp((ip, 80).into()))
        };
        let half = |located, part| Outcome::Found {
            located,
            ttl: TTL,
            missing: Some(Missing {
                part,
                why: "2: Server failure".to_owned(),
            }),
            meant: "a.".to_owned(),
        };
        let mut name = Name::new();
        let both = Outcome::Found {
            located: vec![at(1), v6(1)],
            ttl: TTL,
            missing: None,
            meant: "a.".to_owned(),
        };
        name.note(0, both);
        let change = name.note(5, half(vec![at(2)], Part::Ipv6));
        assert!(change.addresses && change.trouble.is_some());
        assert_eq!(name.addresses(), ["10.0.0.2:80", "[fd00::1]:80"]);
        assert_eq!(name.0.state().why.as_deref(), Some("2: Server failure"));
        name.note(10, half(vec![v6(2)], Part::Ipv4));
        assert_eq!(name.addresses(), ["10.0.0.2:80", "[fd00::2]:80"]);
        let of_service = |last, target: &str| Located {
            service: Some(OfService {
                target: target.into(),
                weight: 1,
                backup: false,
            }),
            ..at(last)
        };
        let mut name = Name::new();
        let all = Outcome::Found {
            located: vec![of_service(1, "a"), of_service(2, "b"), of_service(3, "c")],
            ttl: TTL,
            missing: None,
            meant: "a.".to_owned(),
        };
        name.note(0, all);
        let part = Part::Targets(vec!["b".into()]);
        name.note(5, half(vec![of_service(4, "a")], part));
        assert_eq!(name.addresses(), ["10.0.0.2:80", "10.0.0.4:80"]);
    }

    #[test]
    fn a_doubted_answer_is_asked_for_once_a_second_at_most() {
        let mut name = Name::new();
        name.note(0, found(&[1], TTL));
        assert_eq!(name.0.earliest() - name.1, BREATH);
        name.2.valid = Some(Duration::from_millis(100));
        name.note(0, found(&[1], TTL));
        assert_eq!(name.0.earliest() - name.1, Duration::from_millis(100));
    }

    #[test]
    fn another_weight_is_a_change_and_the_number_of_addresses_is_bounded() {
        let mut name = Name::new();
        let weighted = |weight| Outcome::Found {
            located: vec![Located {
                service: Some(OfService {
                    target: "a.example".into(),
                    weight,
                    backup: false,
                }),
                ..at(1)
            }],
            ttl: TTL,
            missing: None,
            meant: "a.".to_owned(),
        };
        name.note(0, weighted(1));
        assert!(name.note(5, weighted(2)).addresses);
        assert_eq!(name.addresses().len(), 1);
        let many = (0..2000u16).map(|port| Located::at(Address::Tcp(([10, 0, 0, 1], port).into())));
        let outcome = Outcome::Found {
            located: many.collect(),
            ttl: TTL,
            missing: None,
            meant: "a.".to_owned(),
        };
        name.note(10, outcome);
        assert_eq!(name.addresses().len(), MOST);
        let why = name.0.state().why.unwrap_or_default();
        assert_eq!(why, "only 1024 addresses of it are used");
    }

    #[test]
    fn a_long_list_is_cut() {
        let many: Vec<Located> = (0..10).map(at).collect();
        let text = listed(&many);
        assert!(text.ends_with("10.0.0.7:80 and 2 more"), "{text}");
        assert_eq!(listed(&many[..2]), "10.0.0.0:80, 10.0.0.1:80");
    }
}
