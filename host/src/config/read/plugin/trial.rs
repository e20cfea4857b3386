//! `canary` and `shadow` of `[plugin.NAME]`.

use super::super::ConfigReader;
use super::hashes;
use crate::config::declared::{CANARY, SHADOW};
use crate::config::model::{Manner, Percent, Rails, TrialConfig, TrialTerms};
use crate::config::problem::Problem;
use crate::config::section::Section;

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
    let wrong = |key: &str, message: String| {
        let place = section.get(key).map_or(section.place, |node| &node.place);
        reader.problems.add(Problem::new(place, message));
    };
    let share = Percent::of_canary(section.text("share"));
    let share = share.unwrap_or_else(|message| {
        wrong("share", message);
        Percent::ALL
    });
    let mut rails = Rails {
        after: section.integer("after"),
        ..Rails::default()
    };
    for (name, _) in Rails::default().named() {
        if let Err(message) = rails.set(name, section.text(name)) {
            wrong(name, message);
        }
    }
    TrialTerms {
        manner: Manner::Canary(share),
        rails,
    }
}
