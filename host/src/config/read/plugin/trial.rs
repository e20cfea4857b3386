//! `canary` and `shadow` of `[plugin.NAME]`.

use super::super::ConfigReader;
use super::hashes;
use crate::config::declared::{CANARY, SHADOW};
use crate::config::model::{Manner, Percent, Rails, TrialConfig, TrialTerms};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::Value;

/// The version that is tried beside a plugin, if one is.
pub(super) fn trial(plugin: &Section<'_>, reader: ConfigReader<'_>) -> Option<TrialConfig> {
    let refuse = |key: &str, message: &str, hint: &str| {
        let place = plugin.get(key).map_or(plugin.place, |node| &node.place);
        let problem = Problem::new(place, message);
        reader.problems.add(problem.hint(hint.to_owned()));
    };
    let canary = plugin.table("canary", &CANARY);
    let (section, key) = match (canary, plugin.table("shadow", &SHADOW)) {
        (Some(_), Some(_)) => {
            let message = "`canary` and `shadow` at the same time";
            let hint = "a plugin has one version on trial: leave one of them out";
            refuse("shadow", message, hint);
            return None;
        }
        (Some(canary), None) => (canary, "canary"),
        (None, Some(shadow)) => (shadow, "shadow"),
        (None, None) => return None,
    };
    if plugin.word("start") == "fallback" {
        let message = format!("`{key}` beside `start = \"fallback\"`");
        let hint = "there is nothing to compare with while the fallback serves: leave `start` out";
        refuse(key, &message, hint);
    }
    let terms = match key {
        "canary" => terms(&section, reader),
        _ => TrialTerms {
            manner: Manner::Shadow,
            rails: Rails::default(),
        },
    };
    let sha256 = hashes(&section, reader);
    if sha256.is_empty() && plugin.get("sha256").is_some() {
        let message = format!("`{key}` without a `sha256`");
        let hint = "the plugin is pinned, so what is tried in its place has to be";
        refuse(key, &message, hint);
    }
    section.required("file");
    let (file, node) = section.text_given("file")?;
    let signature = section.text_given("signature");
    Some(TrialConfig {
        file: node.place.beside(file),
        terms,
        sha256,
        signature: signature.map(|(text, node)| node.place.beside(text)),
        place: node.place.clone(),
    })
}

/// The terms of a canary.
fn terms(section: &Section<'_>, reader: ConfigReader<'_>) -> TrialTerms {
    // A number is a share that lacks its sign, and its quotes.
    let number = |key: &str| {
        let node = section.get(key)?;
        match &node.value {
            Value::Integer(number) => Some((number.to_string(), node)),
            Value::Float(number) => Some((number.to_string(), node)),
            _ => None,
        }
    };
    let text = |key: &str| match number(key) {
        Some((number, _)) => number,
        None => section.text(key).to_owned(),
    };
    let wrong = |key: &str, message: String| {
        let place = section.get(key).map_or(section.place, |node| &node.place);
        reader.problems.add(match number(key) {
            None => Problem::new(place, message),
            Some((number, node)) => {
                let meant = format!("{number}%");
                let is_share = match key {
                    "share" => Percent::of_canary(&meant).is_ok(),
                    _ => meant.parse::<Percent>().is_ok(),
                };
                let example = if is_share { &meant } else { "5%" };
                let message = format!("`{key}` must be a string, not {}", node.type_name());
                Problem::new(place, message).hint(format!("write `{key} = \"{example}\"`"))
            }
        });
    };
    let share = Percent::of_canary(&text("share"));
    let share = share.unwrap_or_else(|message| {
        wrong("share", message);
        Percent::ALL
    });
    let mut rails = Rails {
        after: section.integer("after"),
        ..Rails::default()
    };
    for (name, _) in Rails::default().named() {
        if let Err(message) = rails.set(name, &text(name)) {
            wrong(name, message);
        }
    }
    TrialTerms {
        manner: Manner::Canary(share),
        rails,
    }
}
