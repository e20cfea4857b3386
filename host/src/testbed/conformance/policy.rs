//! What a policy chooses, or lets others choose.

use super::{Faults, Finding, growth};
use crate::plugin::{ConfigureError, Ending, ExchangeContext as _, FleetView as _, Kind, Outcome};
use crate::testbed::battery::{BATTERY, Weights};
use crate::testbed::policy_trial::{COMPLETED, PolicyTrial};
use crate::testbed::request::MadeUp;
use crate::testbed::servers::Servers;
use crate::testbed::subject::Subject;

const CANDIDATES: &str = "answers each question, with a candidate";
const HOSTILE: &str = "answers hostile requests like any";
const SEED: &str = "chooses the same by the same requests, times and random numbers";
const SPREAD: &str = "spreads requests";
const WEIGHTS: &str = "spreads them by weight";
const REMAP: &str = "keeps a client where it is when a server goes";
const STATE: &str = "goes on where it was when another version takes over";

/// None where it does not concern the plugin.
type Checked = Result<Option<Finding>, ConfigureError>;

pub(super) fn findings(subject: &Subject, seed: u64, found: &mut impl FnMut(Finding)) {
    let checks: [fn(&Subject, u64) -> Checked; 8] = [
        candidates, hostile, same_seed, spread, weights, remap, state, memory,
    ];
    for check in checks {
        match check(subject, seed) {
            Ok(finding) => finding.into_iter().for_each(&mut *found),
            Err(error) => found(Finding::fails(CANDIDATES, error.to_string())),
        }
    }
}

/// An attempt that has failed.
const FAILED: Outcome = Outcome {
    ending: Ending::Failed,
    status: 502,
    ..COMPLETED
};

/// Any number of servers, any of them candidates, and attempts that end in any way.
fn candidates(subject: &Subject, seed: u64) -> Checked {
    let faults = Faults::of(&subject.plugin);
    let (mut asked, mut refused, fleets) = (0, 0, &BATTERY.policy.fleets);
    for size in fleets {
        let mut trial = PolicyTrial::new(subject, Servers::one_down(*size), seed)?;
        let all = trial.all();
        for number in 0..BATTERY.requests {
            let mut words = all.clone();
            let random = trial.random();
            for word in &mut words {
                *word &= random.u64(..) | random.u64(..);
            }
            let (ending, retries) = (random.u8(0..8), random.u32(0..3));
            let request = MadeUp::numbered(number, words);
            for attempt in 0..=retries {
                let is_one = |index: u32| request.candidates(index / 64) >> (index % 64) & 1 == 1;
                // Without one no policy is asked.
                if (0..all.len()).all(|word| request.candidates(word as u32) == 0) {
                    break;
                }
                asked += 1;
                match trial.attempt(&request, attempt) {
                    Some(index) if is_one(index) => request.exclude(index),
                    Some(index) => {
                        let seen = format!("of {size} servers it chose {index}, which was none");
                        return Ok(Some(Finding::fails(CANDIDATES, seen)));
                    }
                    None => refused += 1,
                }
            }
            match ending {
                0 => trial.end_oldest(&FAILED),
                1 => trial.end_oldest(&Outcome {
                    ending: Ending::Unused,
                    ..COMPLETED
                }),
                2 => trial.end_oldest(&Outcome {
                    ending: Ending::Abandoned,
                    ..COMPLETED
                }),
                _ => {}
            }
        }
    }
    Ok(Some(match faults.seen() {
        Some(seen) => Finding::fails(CANDIDATES, format!("{asked} questions: {seen}")),
        None if refused > 0 => {
            let seen = format!("{asked} questions, {refused} left without an answer of its own");
            Finding::note(CANDIDATES, seen)
        }
        None => Finding::holds(
            CANDIDATES,
            format!(
                "{asked} questions over {} to {} servers",
                fleets.iter().min().unwrap_or(&0),
                fleets.iter().max().unwrap_or(&0)
            ),
        ),
    }))
}

fn hostile(subject: &Subject, seed: u64) -> Checked {
    let faults = Faults::of(&subject.plugin);
    let servers = Servers::alike(BATTERY.policy.hostile_servers);
    let mut trial = PolicyTrial::new(subject, servers, seed)?;
    for number in 0..BATTERY.requests {
        let all = trial.all();
        let _ = trial.pick(&MadeUp::hostile(number, all));
    }
    Ok(Some(match faults.seen() {
        Some(seen) => Finding::fails(HOSTILE, seen),
        None => Finding::holds(HOSTILE, format!("{} of them", BATTERY.requests)),
    }))
}

/// What it chooses among all of so many servers.
fn choices(
    subject: &Subject,
    servers: Servers,
    seed: u64,
) -> Result<Vec<Option<u32>>, ConfigureError> {
    let mut trial = PolicyTrial::new(subject, servers, seed)?;
    let all = trial.all();
    let requests = (0..BATTERY.requests).map(|number| MadeUp::numbered(number, all.clone()));
    Ok(requests.map(|request| trial.pick(&request)).collect())
}

fn same_seed(subject: &Subject, seed: u64) -> Checked {
    let servers = BATTERY.policy.repeated_servers;
    let first = choices(subject, Servers::alike(servers), seed)?;
    let second = choices(subject, Servers::alike(servers), seed)?;
    let other = first
        .iter()
        .zip(&second)
        .position(|(one, other)| one != other);
    Ok(Some(match other {
        None => Finding::holds(SEED, format!("{} requests, twice", BATTERY.requests)),
        Some(at) => {
            let seen = format!(
                "request {at} went to another server the second time: a clock or randomness of its \
                 own decides, and no trial of it can be repeated"
            );
            Finding::note(SEED, seen)
        }
    }))
}

/// Percent of the requests that each server got.
fn shares(chosen: &[Option<u32>], servers: usize) -> Vec<f64> {
    let mut counts = vec![0u32; servers];
    for index in chosen.iter().flatten() {
        counts[*index as usize] += 1;
    }
    let all = chosen.len() as f64 / 100.0;
    counts.iter().map(|count| f64::from(*count) / all).collect()
}

fn in_percent(shares: &[f64]) -> String {
    let shares: Vec<String> = shares.iter().map(|share| format!("{share:.1} %")).collect();
    shares.join(", ")
}

fn spread(subject: &Subject, seed: u64) -> Checked {
    let spread = &BATTERY.policy.spread;
    let servers = spread.servers;
    let shares = shares(&choices(subject, Servers::alike(servers), seed)?, servers);
    let seen = format!("over {servers} servers: {}", in_percent(&shares));
    let allowed = spread.least_percent..=spread.most_percent;
    Ok(Some(
        match shares.iter().all(|share| allowed.contains(share)) {
            true => Finding::holds(SPREAD, seen),
            false => Finding::note(SPREAD, seen),
        },
    ))
}

fn weights(subject: &Subject, seed: u64) -> Checked {
    let Weights {
        weights,
        off_by_percent,
    } = &BATTERY.policy.weights;
    let chosen = choices(subject, Servers::weighing(weights), seed)?;
    let shares = shares(&chosen, weights.len());
    let written: Vec<String> = weights.iter().map(u32::to_string).collect();
    let seen = format!(
        "with weights {}: {}",
        written.join(", "),
        in_percent(&shares)
    );
    let all = f64::from(weights.iter().sum::<u32>());
    let wanted = weights
        .iter()
        .map(|weight| f64::from(*weight) * 100.0 / all);
    let mut are_near = wanted
        .zip(&shares)
        .map(|(wanted, share)| (wanted - share).abs() < *off_by_percent);
    Ok(Some(match are_near.all(|near| near) {
        true => Finding::holds(WEIGHTS, seen),
        false => Finding::note(WEIGHTS, seen),
    }))
}

/// Of a policy that keeps clients apart: how many are moved that need not be.
fn remap(subject: &Subject, seed: u64) -> Checked {
    let goes = &BATTERY.policy.server_goes;
    let before = choices(subject, Servers::alike(goes.servers), seed)?;
    let again = choices(subject, Servers::alike(goes.servers), seed.wrapping_add(1))?;
    let servers = Servers::alike(goes.servers);
    let gone = servers.len() - 1;
    let after = choices(subject, servers.without_last(), seed)?;
    let same = before
        .iter()
        .zip(&again)
        .filter(|(one, other)| one == other);
    let is_kept = same.count() * 100 >= before.len() * 99;
    if !is_kept || subject.kind != Kind::Policy {
        return Ok(None); // it chooses by what is under way, by turns or by chance
    }
    // By turns, the same place in the row has the same server.
    let one = choices_of_one(subject, seed)?;
    if one.iter().any(|index| *index != one[0]) {
        return Ok(None);
    }
    let stay = before
        .iter()
        .zip(&after)
        .filter(|(one, _)| **one != Some(gone));
    let all = stay.clone().count();
    let moved = stay.filter(|(one, other)| one != other).count();
    let seen = format!(
        "one of {} servers goes: {moved} of the {all} clients of others move",
        goes.servers
    );
    Ok(Some(match moved * 100 <= all * goes.moved_percent {
        true => Finding::holds(REMAP, seen),
        false => Finding::note(REMAP, seen),
    }))
}

/// What it chooses for one client that comes again.
fn choices_of_one(subject: &Subject, seed: u64) -> Result<Vec<Option<u32>>, ConfigureError> {
    let servers = Servers::alike(BATTERY.policy.server_goes.servers);
    let mut trial = PolicyTrial::new(subject, servers, seed)?;
    let all = trial.all();
    let requests = (0..20).map(|_| MadeUp::numbered(7, all.clone()));
    Ok(requests.map(|request| trial.pick(&request)).collect())
}

fn state(subject: &Subject, seed: u64) -> Checked {
    if !subject.plugin.keeps_state() {
        return Ok(None);
    }
    let faults = Faults::of(&subject.plugin);
    let take_over = &BATTERY.policy.take_over;
    let on = choices(subject, Servers::alike(take_over.servers), seed)?;
    let mut trial = PolicyTrial::new(subject, Servers::alike(take_over.servers), seed)?;
    let all = trial.all();
    let mut swapped = Vec::new();
    for number in 0..BATTERY.requests {
        if (number + 1) % take_over.every == 0 {
            trial.swap(subject)?;
        }
        swapped.push(trial.pick(&MadeUp::numbered(number, all.clone())));
    }
    let same = on
        .iter()
        .zip(&swapped)
        .filter(|(one, other)| one == other)
        .count();
    let seen = format!(
        "{same} of {} choices are those without a take-over",
        BATTERY.requests
    );
    Ok(Some(match faults.seen() {
        Some(seen) => Finding::fails(STATE, seen),
        None if same == on.len() => Finding::holds(STATE, seen),
        None => Finding::note(STATE, seen),
    }))
}

fn memory(subject: &Subject, seed: u64) -> Checked {
    let servers = Servers::alike(BATTERY.policy.repeated_servers);
    let mut trial = PolicyTrial::new(subject, servers, seed)?;
    let all = trial.all();
    Ok(Some(growth(&subject.plugin, |number| {
        let _ = trial.pick(&MadeUp::numbered(number, all.clone()));
    })))
}
