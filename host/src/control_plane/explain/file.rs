//! Against a file: as a process would that has just started with it.

use std::path::Path;
use std::sync::Arc;

use super::url::configured;
use super::{Ground, NotExplained, on_this_thread};
use crate::admin_api::{ExplainRequest, Explanation};
use crate::config::problem::Problem;
use crate::control_plane::check::{list_servers, load, resolution};
use crate::control_plane::loading::Loaded;
use crate::control_plane::plugins::{PluginRegistry, compiler};
use crate::control_plane::state;
use crate::control_plane::tls_files::{Secured, TlsFiles};
use crate::data_plane::process::Clock;
use crate::plugin::Runtime;
use crate::store::Store;
use crate::tls::Warnings;

/// Why a request is not explained against a file.
pub(crate) enum FileNotExplained {
    /// The file has problems.
    Problems(Vec<Problem>),
    Other(String),
}

impl From<Vec<Problem>> for FileNotExplained {
    fn from(problems: Vec<Problem>) -> FileNotExplained {
        FileNotExplained::Problems(problems)
    }
}

/// Explains a request as a process would that has just started with a file.
///
/// # Errors
/// The file has problems, or the request makes no sense.
pub(crate) fn explain_file(
    file: &Path,
    request: &ExplainRequest,
) -> Result<Explanation, FileNotExplained> {
    let other = |error: String| FileNotExplained::Other(error);
    let mut config = load(file)?;
    state::restore(&mut config)?;
    let mut notes: Vec<String> = list_servers(&mut config)
        .into_iter()
        .map(in_a_line)
        .collect();
    let (resolution, unknown) = resolution(&config);
    notes.extend(unknown.problems.into_iter().map(in_a_line));
    notes.extend(unknown.warnings.into_iter().map(in_a_line));
    let secured = Secured::read(&config, None, TlsFiles::Read, &mut Warnings::new())?;
    let compiler = compiler(&config).map_err(|error| other(error.to_string()))?;
    // Whatever the file says of it: nothing is asked of a store that others use.
    let store = Arc::new(Store::default());
    let runtime = Runtime::with_store(compiler, store).map_err(|error| other(error.to_string()))?;
    let registry = PluginRegistry::empty(runtime);
    let (registry, problems) = registry.gather(&config, false, Loaded::default());
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let workers = std::mem::replace(&mut config.server.workers, 1);
    let ground = Ground {
        workers,
        addresses: configured(&config),
        tls: secured.listeners,
        routers: None,
        plugins: registry.selection(),
        resolution,
        clock: Clock::new(),
        served: None,
        notes,
        config,
    };
    on_this_thread(&ground, request, None).map_err(|NotExplained(error)| other(error))
}

fn in_a_line(problem: Problem) -> String {
    problem.in_one_line()
}
