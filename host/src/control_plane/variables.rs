//! What a change of the variables that a configuration declares means to plugins that stay.

use serde_json::Value as Json;

use crate::config::model::Config;
use crate::http::variable::KnownNames;

/// Whether a plugin with these settings finds the variables that it may ask for as before: what is
/// gone, or has its value elsewhere now, must be named nowhere in them. Values are asked for by name
/// each time, so that another way to compute one makes no difference.
pub(super) fn finds_the_same<'a>(
    mut settings: impl Iterator<Item = &'a Json>,
    before: &KnownNames,
    now: &Config,
) -> bool {
    let differing: Vec<&str> = before.not_in(now.variables.names()).collect();
    if differing.is_empty() {
        return true;
    }
    settings.all(|settings| {
        let text = settings.to_string().to_ascii_lowercase();
        !differing.iter().any(|name| text.contains(name))
    })
}
