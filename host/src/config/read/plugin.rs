//! `[plugin.NAME]`. What the file holds is looked at when it is loaded.

mod trial; // a version that is tried beside it

use std::path::PathBuf;

use minisign_verify::PublicKey;

use super::plugin_names::PluginNames;
use super::policy;
use super::{Complaint, ConfigReader};
use crate::config::declared::{GRANTS, LIMITS, PLUGIN};
use crate::config::model::{CompileLimits, Fallback, Grants, PluginConfig, PluginLimits, Trust};
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::stock;

pub(super) fn plugins(
    root: &Section<'_>,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> Vec<PluginConfig> {
    let mut plugins = Vec::new();
    let mut fallback_places = Vec::new();
    for entry in root.named("plugin") {
        if stock::NAMES.contains(&entry.key.as_str()) {
            let complaint =
                Complaint::new(format!("`{}` is the name of a stock plugin", entry.key));
            let problem = complaint
                .hint("give yours another name")
                .at(&entry.key_place);
            reader.problems.add(problem);
        }
        if entry.key == Fallback::REFUSE {
            let complaint = Complaint::new(format!("`{}` cannot be a plugin's name", entry.key));
            let hint = "in `fallback` it stands for no policy: give yours another name";
            let problem = complaint.hint(hint).at(&entry.key_place);
            reader.problems.add(problem);
        }
        if entry.key.is_empty() {
            reader.problems.add(Problem::new(
                &entry.key_place,
                "a plugin's name cannot be empty",
            ));
        }
        let Some(section) = Section::open(&entry.node, &PLUGIN, reader.problems) else {
            continue;
        };
        section.required("file");
        let (plugin, fallback_place) = plugin(&entry.key, &section, names, reader);
        plugins.push(plugin);
        fallback_places.push(fallback_place);
    }
    for (index, place) in fallback_places.into_iter().enumerate() {
        if let Some(circle) = circle(&plugins, index) {
            reader.problems.add(Problem::new(
                &place,
                format!("fallbacks go in a circle: {circle}"),
            ));
        }
    }
    plugins
}

/// A plugin of which nothing is said but its file.
pub(super) fn of_file(
    name: &str,
    file: PathBuf,
    place: &Place,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> PluginConfig {
    let nothing = Section::of(&[], place, &PLUGIN, reader.problems);
    let (plugin, _) = plugin(name, &nothing, names, reader);
    PluginConfig {
        file,
        place: place.clone(),
        ..plugin
    }
}

fn plugin(
    name: &str,
    section: &Section<'_>,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> (PluginConfig, Place) {
    let (file, place) = match section.text_given("file") {
        Some((text, node)) => {
            if text.is_empty() {
                reader
                    .problems
                    .add(Problem::new(&node.place, "the plugin's path is empty"));
            }
            (node.place.beside(text), node.place.clone())
        }
        None => Default::default(),
    };
    let (fallback, fallback_place) = match section.text_given("fallback") {
        Some((text, node)) => (policy::fallback(text, node, names, reader), &node.place),
        None => {
            let by_default = section.text_by_default("fallback").to_owned();
            (Fallback::Policy(by_default), section.place)
        }
    };
    let limits = section.table("limits", &LIMITS);
    let limits =
        limits.unwrap_or_else(|| Section::of(&[], section.place, &LIMITS, reader.problems));
    let plugin = PluginConfig {
        name: name.to_owned(),
        file,
        watch: section.boolean("watch"),
        fallback,
        starts_with_fallback: section.word("start") == "fallback",
        trust: trust(section, reader),
        trial: trial::trial(section, reader),
        grants: grants(section),
        max_faults: section.integer_given("max_faults"),
        fault_window: section.duration("fault_window"),
        budget: section.integer_given("budget"),
        limits: PluginLimits {
            memory: limits.size_given("memory"),
            deadline: limits.duration_given("deadline"),
            table_elements: limits.integer("table_elements"),
            core_instances: limits.integer("core_instances"),
            state: limits.size("state"),
            instances: limits.integer_given("instances"),
            wait: limits.duration("wait"),
        },
        compile: CompileLimits {
            file_size: limits.size("file_size"),
            functions: limits.integer("functions"),
            time: limits.duration("compile_time"),
            memory: limits.size("compile_memory"),
        },
        place,
    };
    (plugin, fallback_place.clone())
}

/// Whether a text is a SHA-256 in hexadecimal digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The `sha256` of a plugin, or of one that is tried.
fn hashes(section: &Section<'_>, reader: ConfigReader<'_>) -> Vec<String> {
    names_some(section, "sha256", reader);
    let hashes = section.texts("sha256").into_iter().map(|(text, node)| {
        if !is_sha256(text) {
            let message = format!("`{text}` is no SHA-256");
            let problem = Problem::new(&node.place, message);
            let hint = "it has 64 hexadecimal digits, as `sha256sum` and `waypost plugin inspect` print it";
            reader.problems.add(problem.hint(hint));
        }
        text.to_ascii_lowercase()
    });
    hashes.collect()
}

/// Refuses a list with nothing in it, which would allow everything.
fn names_some(section: &Section<'_>, key: &str, reader: ConfigReader<'_>) {
    if let Some(node) = section.get(key)
        && matches!(&node.value, Value::Array(items) if items.is_empty())
    {
        let message = format!("`{key}` names nothing");
        let hint = format!("leave `{key}` out where everything may be loaded");
        let problem = Problem::new(&node.place, message);
        reader.problems.add(problem.hint(hint));
    }
}

/// What is asked of a file, and of who has made it.
fn trust(section: &Section<'_>, reader: ConfigReader<'_>) -> Trust {
    names_some(section, "signed_by", reader);
    let keys = section.texts("signed_by").into_iter().map(|(text, node)| {
        if PublicKey::from_base64(text).is_err() {
            let message = format!("`{text}` is no public key of minisign");
            let problem = Problem::new(&node.place, message);
            let hint = "it is the second line of `minisign.pub`, and begins with `RW`";
            reader.problems.add(problem.hint(hint));
        }
        text.to_owned()
    });
    let signature = section.text_given("signature");
    Trust {
        sha256: hashes(section, reader),
        signed_by: keys.collect(),
        signature: signature.map(|(text, node)| node.place.beside(text)),
    }
}

fn grants(section: &Section<'_>) -> Grants {
    let given = section.words("grants", &GRANTS);
    let granted = |name| given.contains(&name);
    Grants {
        request: granted("request"),
        response: granted("response"),
        exchange: granted("exchange"),
        changes: granted("changes"),
        bodies: granted("bodies"),
        checks: granted("checks"),
        files: granted("files"),
        http: granted("http"),
        store: granted("store"),
    }
}

impl Grants {
    /// The grants as the file names them.
    pub fn names(self) -> Vec<&'static str> {
        let granted = |name: &&str| match *name {
            "request" => self.request,
            "response" => self.response,
            "exchange" => self.exchange,
            "changes" => self.changes,
            "bodies" => self.bodies,
            "checks" => self.checks,
            "files" => self.files,
            "http" => self.http,
            "store" => self.store,
            _ => false,
        };
        GRANTS.into_iter().filter(granted).collect()
    }
}

/// `a -> b -> a`, if following the fallbacks leads back to where it began.
fn circle(plugins: &[PluginConfig], start: usize) -> Option<String> {
    let first = plugins.get(start)?;
    let mut way = vec![first.name.as_str()];
    let mut at = first;
    let by_name = |name| plugins.iter().find(|plugin| plugin.name == name);
    while let Some(next) = at.fallback.policy().and_then(by_name) {
        let passed = way.contains(&next.name.as_str());
        way.push(&next.name);
        if next.name == first.name {
            return Some(way.join(" -> "));
        }
        if passed {
            // A circle further on, which does not lead through here.
            return None;
        }
        at = next;
    }
    None
}
