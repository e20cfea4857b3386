//! What a hook decides, and that it always does.

use std::rc::Rc;

use super::{Faults, Finding, growth};
use crate::plugin::ConfigureError;
use crate::testbed::hook_trial::HookTrial;
use crate::testbed::request::MadeUp;
use crate::testbed::subject::Subject;

const ANSWERS: &str = "answers each question, and hears of each end";
const HOSTILE: &str = "answers hostile requests like any";
const SEED: &str = "decides the same about the same requests at the same times";

type Checked = Result<Finding, ConfigureError>;

const REQUESTS: u64 = 2000;

pub(super) fn findings(subject: &Subject, _: u64, found: &mut impl FnMut(Finding)) {
    let checks: [fn(&Subject) -> Checked; 4] = [answers, hostile, same_again, memory];
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
    let answers = (0..REQUESTS).map(|number| trial.exchange(&request(number, Vec::new())));
    let unanswered = answers.filter(Option::is_none).count();
    Ok(match faults.seen() {
        Some(seen) => Finding::fails(requirement, seen),
        None if unanswered > 0 => Finding::fails(requirement, format!("{unanswered} not answered")),
        None => Finding::holds(requirement, format!("{REQUESTS} of them")),
    })
}

fn same_again(subject: &Subject) -> Checked {
    let verdicts = || -> Result<Vec<_>, ConfigureError> {
        let mut trial = HookTrial::new(subject)?;
        let requests = (0..REQUESTS).map(|number| MadeUp::numbered(number % 50, Vec::new()));
        Ok(requests.map(|request| trial.exchange(&request)).collect())
    };
    let (first, second) = (verdicts()?, verdicts()?);
    let other = first
        .iter()
        .zip(&second)
        .position(|(one, other)| one != other);
    Ok(match other {
        None => Finding::holds(SEED, format!("{REQUESTS} requests, twice")),
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
