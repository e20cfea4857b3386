//! What came of checks, for a while: by fingerprints, not by passwords.
//!
//! A fingerprint is a hash with a key of the instance's own over user, password and stored hash.
//! When the stored hash changes, the fingerprint does, so that what was remembered is about nobody
//! any more. It is as many as there are places: the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sha2::{Digest, Sha256};
use waypost_sdk::Call;

use crate::credentials::Credentials;
use crate::users::Stored;

/// Right passwords that are remembered: users who are there at once, in one worker.
const RIGHT: usize = 16_384;
/// Wrong ones: programs that go on trying with an old password. Guesses are all different, and
/// remembering them is of no use.
const WRONG: usize = 512;

/// Stands for a user, a password and a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 16]);

/// The verdicts of an instance.
pub(crate) struct Remembered {
    for_us: u64,
    /// Drawn with the first request.
    key: Option<Sha256>,
    right: Verdicts,
    wrong: Verdicts,
}

impl Remembered {
    pub(crate) fn new(remember: Duration) -> Remembered {
        Remembered {
            for_us: u64::try_from(remember.as_micros()).unwrap_or(u64::MAX),
            key: None,
            right: Verdicts::new(RIGHT),
            wrong: Verdicts::new(WRONG),
        }
    }

    /// Draws the key, if there is none.
    pub(crate) fn seed(&mut self, call: &Call) {
        if self.key.is_none() {
            let mut draws = call.draws();
            let mut key = Sha256::new();
            // A whole block, which is then paid once.
            (0..8).for_each(|_| key.update(draws.draw().to_le_bytes()));
            self.key = Some(key);
        }
    }

    /// What these credentials and what is stored for their user are known by.
    pub(crate) fn fingerprint(
        &self,
        credentials: &Credentials,
        stored: Option<&Stored<'_>>,
    ) -> Fingerprint {
        let mut hash = self.key.clone().unwrap_or_default();
        let stored = stored.map_or(&[][..], |stored| stored.hash().as_bytes());
        // With their lengths, so that no two of them run into each other.
        for part in [credentials.user.as_slice(), stored] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(&credentials.password);
        let hash = hash.finalize();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        Fingerprint(fingerprint)
    }

    /// Whether the password was right or wrong, if that is known.
    pub(crate) fn recall(&self, fingerprint: &Fingerprint, now_us: u64) -> Option<bool> {
        let right = self.right.contains(fingerprint, now_us);
        (right || self.wrong.contains(fingerprint, now_us)).then_some(right)
    }

    pub(crate) fn remember(&mut self, fingerprint: Fingerprint, passed: bool, now_us: u64) {
        if self.for_us == 0 {
            return;
        }
        let verdicts = match passed {
            true => &mut self.right,
            false => &mut self.wrong,
        };
        verdicts.add(fingerprint, now_us.saturating_add(self.for_us));
    }
}

/// Fingerprints until they expire, a bounded number. All are kept for as long, so the oldest is the
/// next to expire.
struct Verdicts {
    most: usize,
    until_us: HashMap<Fingerprint, u64>,
    order: VecDeque<Fingerprint>,
}

impl Verdicts {
    fn new(most: usize) -> Verdicts {
        Verdicts {
            most,
            until_us: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn contains(&self, fingerprint: &Fingerprint, now_us: u64) -> bool {
        self.until_us
            .get(fingerprint)
            .is_some_and(|&until| now_us < until)
    }

    fn add(&mut self, fingerprint: Fingerprint, until_us: u64) {
        if self.until_us.insert(fingerprint, until_us).is_some() {
            self.order.retain(|each| *each != fingerprint);
        }
        self.order.push_back(fingerprint);
        if self.order.len() > self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.until_us.remove(&oldest);
        }
    }
}
