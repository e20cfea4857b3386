//! What the calls of a plugin cost.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::conformance::Faults;
use super::hook_trial::HookTrial;
use super::policy_trial::PolicyTrial;
use super::request::MadeUp;
use super::servers::Servers;
use super::subject::Subject;
use crate::plugin::{ConfigureError, Kind};

/// Rounds, and how long each one takes at the least. The fastest counts: what others do meanwhile
/// only adds to it.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_millis(50);

/// Requests that are made before the clock runs, and asked about one after the other.
const REQUESTS: u64 = 256;

/// What was measured of a plugin over so many servers; none for a hook.
#[derive(Debug)]
pub struct Measured {
    pub servers: Option<usize>,
    /// For one request with all calls that it makes, in nanoseconds.
    pub nanoseconds: f64,
    /// To make an instance, settings and servers included.
    pub instance: Duration,
    /// Of all instances, in bytes.
    pub memory: u64,
    /// Calls that failed, in words: what was measured is then no figure of its work.
    pub faults: Option<String>,
}

/// Measures calls of a plugin.
///
/// # Errors
/// It refuses its settings, or fails.
pub fn bench(subject: &Subject, servers: Option<usize>) -> Result<Measured, ConfigureError> {
    let began = Instant::now();
    let requests = |candidates: &[u64]| -> Vec<_> {
        let numbers = 0..REQUESTS;
        numbers
            .map(|number| MadeUp::numbered(number, candidates.to_vec()))
            .collect()
    };
    let memory = || subject.plugin.cost().memory_bytes; // while its instances are there
    let faults = Faults::of(&subject.plugin);
    let (instance, nanoseconds, memory) = match (subject.kind, servers) {
        (Kind::Hook, _) => {
            let mut trial = HookTrial::new(subject)?;
            let (instance, requests) = (began.elapsed(), requests(&[]));
            let nanoseconds = fastest(&requests, |request| {
                let _ = trial.exchange(request);
            });
            (instance, nanoseconds, memory())
        }
        (_, servers) => {
            let servers = Servers::alike(servers.unwrap_or(3));
            let mut trial = PolicyTrial::new(subject, servers, 1)?;
            let (instance, requests) = (began.elapsed(), requests(&trial.all()));
            let nanoseconds = fastest(&requests, |request| {
                let _ = trial.pick(request);
            });
            (instance, nanoseconds, memory())
        }
    };
    Ok(Measured {
        servers: servers.filter(|_| subject.kind != Kind::Hook),
        nanoseconds,
        instance,
        memory,
        faults: faults.seen(),
    })
}

/// Nanoseconds of one of these, in the fastest round.
fn fastest(requests: &[Rc<MadeUp>], mut ask: impl FnMut(&Rc<MadeUp>)) -> f64 {
    let mut fastest = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (began, mut asked) = (Instant::now(), 0);
        while began.elapsed() < ROUND {
            requests.iter().for_each(&mut ask);
            asked += requests.len();
        }
        fastest = fastest.min(began.elapsed().as_nanos() as f64 / asked as f64);
    }
    fastest
}
