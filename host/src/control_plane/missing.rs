//! Directories that a configuration names and that are not there: it can be served, and hardly does
//! what is meant.

use std::io;
use std::path::Path;

use crate::config::model::{Action, Config, NamedFile};
use crate::config::problem::{Place, Problem};

/// A warning for each. Waits for the disk.
pub(super) fn directories(config: &Config) -> Vec<Problem> {
    let mut warnings: Vec<Problem> = Vec::new();
    for route in config.routes.iter() {
        if let Action::Files(files) = &route.action
            && let Some(message) = missing(&files.root)
        {
            let hint =
                "the route's answer is a 404 until it is there: make it, or name another one";
            let warning = at(&route.place, format!("`files` of a route: {message}"), hint);
            // There is a route for each of its hosts.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    for upstream in &config.upstreams {
        let keep = upstream
            .source
            .as_ref()
            .and_then(|source| source.keep.as_ref());
        let kept = [("state", upstream.state.as_ref()), ("keep", keep)];
        for (key, file) in kept {
            let Some(NamedFile { path, place }) = file else {
                continue;
            };
            if let Some(directory) = path.parent()
                && let Some(message) = missing(directory)
            {
                let message = format!(
                    "`{key}` of upstream `{}` cannot be written: {message}",
                    upstream.name
                );
                let hint = format!("make it, `mkdir -p {}`", directory.display());
                warnings.push(at(place, message, &hint));
            }
        }
    }
    warnings
}

fn at(place: &Place, message: String, hint: &str) -> Problem {
    Problem::new(place, message).hint(hint)
}

/// Why a path is no directory, if it is none.
fn missing(path: &Path) -> Option<String> {
    let reason = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => return None,
        Ok(_) => io::Error::from(io::ErrorKind::NotADirectory).to_string(),
        Err(error) => crate::config::reason(&error),
    };
    Some(format!("no directory `{}`: {reason}", path.display()))
}
