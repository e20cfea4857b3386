//! What a hook decides, and that it always does.

use std::rc::Rc;

use super::{Faults, Finding, growth};
use crate::plugin::{BodySide, ConfigureError};
use crate::testbed::battery::BATTERY;
use crate::testbed::hook_trial::HookTrial;
use crate::testbed::request::MadeUp;
use crate::testbed::subject::Subject;

const ANSWERS: &str = "answers each question, and hears of each end";
const HOSTILE: &str = "answers hostile requests like any";
const INTERLEAVED: &str = "keeps bodies apart whose pieces interleave";
const SEED: &str = "decides the same about the same requests at the same times";

type Checked = Result<Finding, ConfigureError>;

pub(super) fn findings(subject: &Subject, _: u64, found: &mut impl FnMut(Finding)) {
    let mut checks: Vec<fn(&Subject) -> Checked> = vec![answers, hostile, same_again, memory];
    if HookTrial::new(subject).is_ok_and(|trial| trial.may_want_bodies()) {
        checks.push(interleaved);
    }
    for check in checks {
        match check(subject) {
            Ok(finding) => found(finding),
            Err(error) => found(Finding::fails(ANSWERS, error.to_string())),
        }
    }
}

fn answers(subject: &Subject) -> Checked {
    tried(subject, ANSWERS, MadeUp::numbered)
}

fn hostile(subject: &Subject) -> Checked {
    tried(subject, HOSTILE, MadeUp::hostile)
}

fn tried(
    subject: &Subject,
    requirement: &'static str,
    request: fn(u64, Vec<u64>) -> Rc<MadeUp>,
) -> Checked {
    let faults = Faults::of(&subject.plugin);
    let mut trial = HookTrial::new(subject)?;
    let answers = (0..BATTERY.requests).map(|number| trial.exchange(&request(number, Vec::new())));
    let unanswered = answers.filter(Option::is_none).count();
    Ok(match faults.seen() {
        Some(seen) => Finding::fails(requirement, seen),
        None if unanswered > 0 => Finding::fails(requirement, format!("{unanswered} not answered")),
        None => Finding::holds(requirement, format!("{} of them", BATTERY.requests)),
    })
}

/// What a hook makes of the bodies of two exchanges: one after the other, or piece by piece in turn.
type Made = Option<[[Vec<u8>; 2]; 2]>;

fn interleaved(subject: &Subject) -> Checked {
    let faults = Faults::of(&subject.plugin);
    let (mut alone, mut together) = (HookTrial::new(subject)?, HookTrial::new(subject)?);
    let mut differs = None;
    for number in 0..BATTERY.requests / 2 {
        let both = [2 * number, 2 * number + 1];
        let both = both.map(|number| MadeUp::numbered(number % BATTERY.hook.clients, Vec::new()));
        let made = in_turn(&mut alone, &both, false);
        if made != in_turn(&mut together, &both, true) {
            differs = differs.or(Some(2 * number));
        }
    }
    Ok(match (faults.seen(), differs) {
        (Some(seen), _) => Finding::fails(INTERLEAVED, seen),
        (None, None) => Finding::holds(
            INTERLEAVED,
            format!("{} of them, two at a time", BATTERY.requests),
        ),
        (None, Some(at)) => {
            let seen = format!("of request {at} it made something else beside another one");
            Finding::note(INTERLEAVED, seen)
        }
    })
}

/// What is made of the bodies of two requests and their answers.
fn in_turn(trial: &mut HookTrial, both: &[Rc<MadeUp>; 2], interleave: bool) -> Made {
    let mut made: [[Vec<u8>; 2]; 2] = Default::default();
    let mut under_way = [trial.begin(&both[0])?, trial.begin(&both[1])?];
    let sides = [BodySide::Request, BodySide::Response];
    for (side, made) in sides.into_iter().zip(&mut made) {
        if side == BodySide::Response {
            for each in &mut under_way {
                trial.respond(each)?;
            }
        }
        for step in 0..2 * BATTERY.hook.pieces {
            let (which, number) = match interleave {
                true => (step % 2, step / 2),
                false => (step / BATTERY.hook.pieces, step % BATTERY.hook.pieces),
            };
            let body = both[which].body();
            made[which].extend(trial.piece(&mut under_way[which], side, body, number)?);
        }
    }
    under_way.into_iter().for_each(|each| trial.end(each));
    Some(made)
}

fn same_again(subject: &Subject) -> Checked {
    let verdicts = || -> Result<Vec<_>, ConfigureError> {
        let mut trial = HookTrial::new(subject)?;
        let requests = (0..BATTERY.requests)
            .map(|number| MadeUp::numbered(number % BATTERY.hook.clients, Vec::new()));
        Ok(requests.map(|request| trial.exchange(&request)).collect())
    };
    let (first, second) = (verdicts()?, verdicts()?);
    let other = first
        .iter()
        .zip(&second)
        .position(|(one, other)| one != other);
    Ok(match other {
        None => Finding::holds(SEED, format!("{} requests, twice", BATTERY.requests)),
        Some(at) => {
            let seen = format!("request {at} was decided otherwise the second time");
            Finding::note(SEED, seen)
        }
    })
}

fn memory(subject: &Subject) -> Checked {
    let mut trial = HookTrial::new(subject)?;
    Ok(growth(&subject.plugin, |number| {
        let _ = trial.exchange(&MadeUp::numbered(number, Vec::new()));
    }))
}
