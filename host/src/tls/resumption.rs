//! Sessions that clients come back to: tickets that they keep, and sessions that we keep for those
//! that do not.
//!
//! One of each per listener, shared by all workers and kept through reloads: a change of the
//! configuration must not make every client shake hands anew. They are given up only where a
//! session must not outlive the change: with another demand on client certificates, or another
//! timeout.
//!
//! rustls guards the current ticket key and the kept sessions with locks of its own, held for a
//! moment within a handshake: nothing that an established connection ever waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::crypto::GetRandomFailed;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerSessionMemoryCache, StoresServerSessions,
};
use rustls::ticketer::TicketRotator;

use super::file::Digest;

/// What a session depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResumptionSettings {
    pub(super) tickets: bool,
    pub(super) timeout: Duration,
    pub(super) cache: usize,
    /// Of what clients had to prove.
    pub(super) proven: Digest,
}

#[derive(Debug, Clone)]
pub(super) struct Resumption {
    pub(super) settings: ResumptionSettings,
    pub(super) tickets: Option<Arc<dyn ProducesTickets>>,
    pub(super) sessions: Arc<dyn StoresServerSessions>,
}

impl Resumption {
    /// Goes on with `previous` where sessions of it may be resumed under these settings.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub(super) fn new(
        settings: ResumptionSettings,
        previous: Option<&Resumption>,
    ) -> Result<Resumption, rustls::Error> {
        if let Some(previous) = previous
            && previous.settings == settings
        {
            return Ok(previous.clone());
        }
        let started = Instant::now();
        let tickets: Option<Arc<dyn ProducesTickets>> = match settings.tickets {
            true => Some(Arc::new(Tickets {
                rotator: TicketRotator::new(seconds(settings.timeout), TicketKey::generate)?,
                timeout: settings.timeout,
                started,
            })),
            false => None,
        };
        let sessions: Arc<dyn StoresServerSessions> = match settings.cache {
            0 => Arc::new(NoServerSessionStorage {}),
            size => Arc::new(Sessions {
                cache: ServerSessionMemoryCache::new(size),
                timeout: settings.timeout,
                started,
            }),
        };
        Ok(Resumption {
            settings,
            tickets,
            sessions,
        })
    }
}

fn seconds(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// Bytes of the time that goes before what is kept.
const STAMP: usize = 8;

/// What is kept, with the time of it.
fn stamped(started: Instant, value: &[u8]) -> Vec<u8> {
    let now = started.elapsed().as_secs().to_be_bytes();
    [&now, value].concat()
}

/// What was kept, unless its time has passed.
fn fresh(started: Instant, timeout: Duration, stamped: &[u8]) -> Option<Vec<u8>> {
    let (stamp, value) = stamped.split_first_chunk::<STAMP>()?;
    let age = started
        .elapsed()
        .as_secs()
        .checked_sub(u64::from_be_bytes(*stamp))?;
    (age <= timeout.as_secs()).then(|| value.to_vec())
}

/// Tickets that are good for a timeout. Their keys are changed as often, and forgotten after twice
/// that.
#[derive(Debug)]
struct Tickets {
    rotator: TicketRotator,
    timeout: Duration,
    started: Instant,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        seconds(self.timeout)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.rotator.encrypt(&stamped(self.started, plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        fresh(self.started, self.timeout, &self.rotator.decrypt(cipher)?)
    }
}

/// One key of tickets: a random nonce, then what it seals (RFC 5077 section 4, with AES-GCM).
#[derive(Debug)]
struct TicketKey(RandomizedNonceKey);

impl TicketKey {
    fn generate() -> Result<Box<dyn ProducesTickets>, GetRandomFailed> {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| GetRandomFailed)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| GetRandomFailed)?;
        Ok(Box::new(TicketKey(key)))
    }
}

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        0 // the rotator's to say
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .ok()?;
        Some([&nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self
            .0
            .open_in_place(nonce, Aad::empty(), &mut plain)
            .ok()?
            .len();
        plain.truncate(length);
        Some(plain)
    }
}

/// Sessions that are kept for a timeout.
#[derive(Debug)]
struct Sessions {
    cache: Arc<ServerSessionMemoryCache>,
    timeout: Duration,
    started: Instant,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache.put(key, stamped(self.started, &value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(self.started, self.timeout, &self.cache.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        fresh(self.started, self.timeout, &self.cache.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.cache.can_cache()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn settings() -> ResumptionSettings {
        ResumptionSettings {
            tickets: true,
            timeout: Duration::from_secs(300),
            cache: 10,
            proven: Digest::default(),
        }
    }

    #[test]
    fn a_ticket_is_read_again_after_a_reload_that_leaves_its_terms() {
        let first = Resumption::new(settings(), None).unwrap();
        let second = Resumption::new(settings(), Some(&first)).unwrap();
        let ticket = first.tickets.unwrap().encrypt(b"session").unwrap();
        assert_eq!(
            second.tickets.unwrap().decrypt(&ticket).unwrap(),
            b"session"
        );
    }

    #[test]
    fn nothing_is_resumed_from_before_another_demand_on_client_certificates() {
        let first = Resumption::new(settings(), None).unwrap();
        let stricter = ResumptionSettings {
            proven: [1; 32],
            ..settings()
        };
        let second = Resumption::new(stricter, Some(&first)).unwrap();
        let ticket = first.tickets.unwrap().encrypt(b"session").unwrap();
        first.sessions.put(b"id".to_vec(), b"session".to_vec());
        assert_eq!(second.tickets.unwrap().decrypt(&ticket), None);
        assert_eq!(second.sessions.get(b"id"), None);
    }

    #[test]
    fn what_is_kept_is_forgotten_after_the_timeout() {
        let started = Instant::now()
            .checked_sub(Duration::from_secs(100))
            .unwrap();
        let old = [&0_u64.to_be_bytes()[..], b"session"].concat();
        let fresh_for = |seconds| fresh(started, Duration::from_secs(seconds), &old);
        assert_eq!(fresh_for(200).unwrap(), b"session");
        assert_eq!(fresh_for(50), None);
        assert_eq!(fresh(started, Duration::MAX, b"short"), None);
    }

    #[test]
    fn a_ticket_that_was_touched_is_refused() {
        let key = TicketKey::generate().unwrap();
        let ticket = key.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut touched = ticket.clone();
            touched[at] ^= 1;
            assert_eq!(key.decrypt(&touched), None, "{at}");
        }
        assert_eq!(key.decrypt(&ticket[..5]), None);
    }
}
