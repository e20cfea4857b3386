//! The files of logs, as far as they are problems of a configuration: which cannot be written, and
//! what to do.

use std::io;
use std::path::Path;

use crate::config::model::{Config, LogPath};
use crate::config::problem::{Place, Problem};
use crate::file::can_append;

/// The logs of a configuration that could not be opened. Creates no file: whose it would be depends
/// on who checks.
pub(super) fn unwritable(config: &Config) -> Vec<Problem> {
    let error_log = &config.server.error_log;
    let of_server = config.server.access_logs.iter();
    let access_logs = of_server
        .chain(config.access_logs())
        .map(|log| ("access log", &log.path, &log.place));
    let logs = std::iter::once(("error log", &error_log.path, &error_log.place));
    let mut problems = Vec::new();
    for (kind, path, place) in logs.chain(access_logs) {
        if let LogPath::File(path) = path
            && let Err(error) = can_append(path)
        {
            let problem = unopened(kind, path, place, &error);
            // Listeners have the log of `[server]`, at the same place.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// The audit of the admin API, if it could not be opened: a process serves without it, and the error
/// log has its lines.
pub(super) fn unwritable_audit(config: &Config) -> Option<Problem> {
    let audit = config.admin.as_ref()?.audit.as_ref()?;
    let error = can_append(&audit.path).err()?;
    Some(unopened("audit", &audit.path, &audit.place, &error))
}

/// A log that could not be opened. `kind`: `access log`, `error log` or `audit`.
pub(super) fn unopened(kind: &str, path: &Path, place: &Place, error: &io::Error) -> Problem {
    let reason = crate::config::reason(error);
    let message = format!("cannot open {kind} `{}`: {reason}", path.display());
    let problem = Problem::new(place, message);
    match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(directory)) => problem.hint(format!(
            "make its directory, `mkdir -p {}`",
            directory.display()
        )),
        (io::ErrorKind::PermissionDenied, _) => {
            problem.hint("let the user that runs Waypost write there, or name another file")
        }
        _ => problem,
    }
}
