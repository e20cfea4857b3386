//! `waypost doctor`: what of a configuration this machine keeps from being as it says, and what to do
//! about it.

mod machine; // what the kernel allows
mod unit; // what systemd waits for
mod findings; // what follows for a configuration

use std::path::Path;
use std::process::ExitCode;

use self::findings::{Finding, Level, findings};
use self::machine::Machine;
use crate::data_plane::stream::io_uring_refusal;

/// Looks, and tells. The exit code is 1 where there is a problem; warnings are none.
pub(super) fn doctor(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(reported) => return Ok(reported),
    };
    // Under a filter that kills whoever asks, it is off.
    let refusal = config.server.io_uring.then(io_uring_refusal).flatten();
    let machine = Machine {
        no_io_uring: refusal.map(|error| error.to_string()),
        stop_timeout: unit::stop_timeout(Path::new("/"), file),
        ..Machine::look(Path::new("/proc"))
    };
    let found = findings(&config, &machine);
    let text = match as_json {
        true => format!("{}\n", serde_json::to_string_pretty(&found)?),
        false => found.iter().map(line).collect(),
    };
    super::print(&text)?;
    let is_problem = |finding: &Finding| finding.level == Level::Problem;
    Ok(match found.iter().any(is_problem) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// `warning  workers: 8 share 2 processors`, and behind it what to do.
fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Problem => "problem",
    };
    let Finding {
        about,
        found,
        way_out,
        ..
    } = finding;
    let mut line = format!("{level:<8} {about}: {found}\n");
    if !way_out.is_empty() {
        line += &format!("{:<8} {way_out}\n", "");
    }
    line
}
