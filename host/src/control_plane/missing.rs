//! Directories that a configuration names and that are not there, and files that cannot be written: it
//! can be served, and hardly does what is meant.

use std::io;
use std::path::Path;

use crate::config::model::{Action, Config, NamedFile};
use crate::config::problem::{Place, Problem};
use crate::config::reason;
use crate::file;

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
    for acme in config.acme() {
        let store = &acme.authority.store.path;
        let Some(first) = acme.certificates.first() else {
            continue;
        };
        // It is made, and so are the directories that it is in.
        let there = store.ancestors().find(|directory| directory.exists());
        let there = there.unwrap_or(Path::new("/"));
        if let Err(error) = file::can_be_replaced(&there.join("lock")) {
            let (path, why) = (there.display(), reason(&error));
            let message = format!(
                "the `store` of `acme`, `{}`, cannot be written: `{path}`: {why}",
                store.display()
            );
            let hint = "the user that runs waypost has to be allowed to: name another directory as `store`";
            warnings.push(at(&first.file.place, message, hint));
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
            let directory = path.parent().unwrap_or(Path::new("/"));
            let (why, hint) = match (missing(directory), file::can_be_replaced(path)) {
                (Some(why), _) => (why, format!("make it, `mkdir -p {}`", directory.display())),
                (None, Ok(())) => continue,
                (None, Err(error)) => {
                    let hint = "the user that runs waypost has to be allowed to read the file, and to write in its \
                                directory";
                    let why = format!("`{}`: {}", path.display(), reason(&error));
                    (why, hint.to_owned())
                }
            };
            let name = &upstream.name;
            let message = format!("`{key}` of upstream `{name}` cannot be written: {why}");
            warnings.push(at(place, message, &hint));
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
        Err(error) => reason(&error),
    };
    Some(format!("no directory `{}`: {reason}", path.display()))
}
