//! The components of a configuration: made for it, or kept where nothing about them has changed.

use std::sync::Arc;

use super::plugins::Selection;
use crate::config::model::{ComponentConfig, Config};
use crate::config::problem::Problem;
use crate::data_plane::worker_config::Snapshot;
use crate::plugin::SharedHandler;

/// Makes the components of a configuration. Those that `previous` has as they are stay.
///
/// # Errors
/// A problem for each that cannot be used.
pub(super) fn components(
    config: &Config,
    plugins: &Selection,
    previous: Option<&Snapshot>,
) -> Result<Vec<Arc<SharedHandler>>, Vec<Problem>> {
    let (mut made, mut problems) = (Vec::new(), Vec::new());
    for component in &config.components {
        match kept(component, plugins, previous).map_or_else(|| new(component, plugins), Ok) {
            Ok(component) => made.push(component),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(made),
        false => Err(problems),
    }
}

/// What is wrong with components. A plugin that is not there to ask is a problem already.
pub(super) fn problems(config: &Config, plugins: &Selection) -> Vec<Problem> {
    let components = config.components.iter();
    components
        .filter(|component| plugins.contains_key(&component.plugin))
        .filter_map(|component| new(component, plugins).err())
        .collect()
}

fn kept(
    component: &ComponentConfig,
    plugins: &Selection,
    previous: Option<&Snapshot>,
) -> Option<Arc<SharedHandler>> {
    let previous = previous?;
    let known = previous.config.components.iter();
    let mut known = known.zip(&previous.components);
    let plugin = plugins.get(&component.plugin)?;
    let same = known
        .find(|(before, shared)| before.means_the_same_as(component) && shared.plugin().is(plugin));
    same.map(|(_, shared)| shared.clone())
}

fn new(component: &ComponentConfig, plugins: &Selection) -> Result<Arc<SharedHandler>, Problem> {
    let place = &component.place;
    let Some(plugin) = plugins.get(&component.plugin) else {
        let message = format!("unknown plugin `{}`", component.plugin);
        return Err(Problem::new(place, message));
    };
    let made = SharedHandler::new(
        plugin.clone(),
        &component.environment,
        &component.upstreams,
        component.reuse,
    );
    made.map(Arc::new)
        .map_err(|error| Problem::new(place, error.to_string()))
}
