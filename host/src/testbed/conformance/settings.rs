//! Settings are taken or refused; no settings make a plugin fail.

use serde_json::json;

use super::{Faults, Finding};
use crate::plugin::ConfigureError;
use crate::testbed::battery::BATTERY;
use crate::testbed::subject::Subject;

const TAKEN: &str = "takes its settings";
const UNKNOWN: &str = "refuses an unknown key, and names it";
const WRONG: &str = "refuses settings of any other kind without a fault";

/// Whether it can be tried at all.
pub(super) fn are_taken(subject: &Subject, found: &mut impl FnMut(Finding)) -> bool {
    if let Err(error) = subject.configure(&subject.settings) {
        found(Finding::fails(
            TAKEN,
            format!("{error}: say those of a use that works"),
        ));
        return false;
    }
    found(Finding::holds(TAKEN, json!(subject.settings).to_string()));
    found(unknown_key(subject));
    found(wrong_values(subject));
    true
}

fn unknown_key(subject: &Subject) -> Finding {
    let unknown = &BATTERY.settings.unknown_key;
    let mut settings = subject.settings.clone();
    settings.insert(unknown.clone(), json!(1));
    match subject.configure(&settings) {
        Ok(()) => Finding::fails(UNKNOWN, "it was taken: a misspelt key would go unnoticed"),
        Err(ConfigureError::Refused { key, message, .. }) if key.as_str() == unknown => {
            Finding::holds(UNKNOWN, message.to_string())
        }
        Err(ConfigureError::Refused { key, message, .. }) => {
            let seen = format!("the error names `{key}`, not `{unknown}`: {message}");
            Finding::note(UNKNOWN, seen)
        }
        Err(error) => Finding::fails(UNKNOWN, error.to_string()),
    }
}

/// Each of its keys with values of all kinds, and without it.
fn wrong_values(subject: &Subject) -> Finding {
    let values = BATTERY.settings.wrong_values();
    let faults = Faults::of(&subject.plugin);
    let (mut tried, mut taken) = (0, 0);
    for key in subject.settings.keys() {
        let mut without = subject.settings.clone();
        without.remove(key);
        let with = values.iter().map(|value| {
            let mut settings = subject.settings.clone();
            settings.insert(key.clone(), value.clone());
            settings
        });
        for settings in std::iter::once(without).chain(with) {
            tried += 1;
            match subject.configure(&settings) {
                Ok(()) => taken += 1,
                Err(ConfigureError::Refused { .. } | ConfigureError::RefusedPlace { .. }) => {}
                Err(error) => {
                    let settings: String = json!(settings).to_string().chars().take(200).collect();
                    return Finding::fails(WRONG, format!("{settings}: {error}"));
                }
            }
        }
    }
    match faults.seen() {
        Some(seen) => Finding::fails(WRONG, seen),
        None if tried == 0 => Finding::holds(WRONG, "it was tried without settings"),
        None => Finding::holds(WRONG, format!("{tried} tried, {taken} of them taken")),
    }
}
