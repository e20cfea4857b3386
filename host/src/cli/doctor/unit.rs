//! What the unit of systemd says of a stop, if there is one that runs the configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What a unit has that does not say (`DefaultTimeoutStopSec`).
const DEFAULT: Duration = Duration::from_secs(90);
const UNIT: &str = "waypost.service";
/// The first that has a unit, or a part of one under the same name, counts (systemd.unit(5)).
const FOLDERS: [&str; 4] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// How long systemd waits for a process with this configuration to end before it kills it. None where
/// no unit runs it, or none of the time is to be made out, or it waits without end. `root`: `/`.
pub(super) fn stop_timeout(root: &Path, configuration: &Path) -> Option<Duration> {
    let folders = || FOLDERS.iter().map(|folder| root.join(folder));
    let unit = folders().find_map(|folder| fs::read_to_string(folder.join(UNIT)).ok())?;
    let mut parts: BTreeMap<OsString, String> = BTreeMap::new();
    for folder in folders().map(|folder| folder.join(format!("{UNIT}.d"))) {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let is_part = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            Path::new(&name).extension() == Some("conf".as_ref())
        };
        for entry in entries.flatten().filter(is_part) {
            if let Ok(text) = fs::read_to_string(entry.path()) {
                parts.entry(entry.file_name()).or_insert(text);
            }
        }
    }
    let texts = || std::iter::once(&unit).chain(parts.values());
    let settings = || {
        let lines = texts().flat_map(|text| text.lines());
        lines.filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim(), value.trim()))
        })
    };
    let file = configuration.display().to_string();
    let mut commands = settings().filter_map(|(key, value)| (key == "ExecStart").then_some(value));
    if !commands.any(|command| command.split_whitespace().any(|word| word == file)) {
        return None;
    }
    let mut said = settings()
        .filter_map(|(key, value)| matches!(key, "TimeoutStopSec" | "TimeoutSec").then_some(value));
    match said.next_back() {
        None => Some(DEFAULT),
        Some(value) => span(value),
    }
}

/// A span of time as systemd.time(7) has it, as far as units write it: `90`, `1min 30s`.
fn span(text: &str) -> Option<Duration> {
    let mut all = Duration::ZERO;
    for part in text.split_whitespace() {
        let unit = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let number: u32 = part.strip_suffix(unit)?.parse().ok()?;
        let unit = match unit {
            "" | "s" | "sec" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            "m" | "min" => Duration::from_secs(60),
            "h" | "hr" => Duration::from_secs(3600),
            _ => return None,
        };
        all += unit.checked_mul(number)?;
    }
    // Zero and `infinity` are without end.
    Some(all).filter(|all| !all.is_zero())
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn the_unit_that_runs_the_configuration_counts_with_its_parts() {
        let root = tempfile::tempdir().expect("there is room for a directory");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
            fs::write(path, text).expect("it is ours");
        };
        let file = Path::new("/etc/waypost/waypost.toml");
        let timeout = || stop_timeout(root.path(), file);
        assert_eq!(timeout(), None);
        let unit = "[Service]\nExecStart = /usr/bin/waypost run -c /etc/waypost/waypost.toml\n";
        write("lib/systemd/system/waypost.service", unit);
        assert_eq!(timeout(), Some(DEFAULT));
        assert_eq!(
            stop_timeout(root.path(), Path::new("/tmp/other.toml")),
            None
        );
        let unit = format!("{unit}TimeoutStopSec=1min 5s\n");
        write("usr/lib/systemd/system/waypost.service", &unit);
        assert_eq!(timeout(), Some(Duration::from_secs(65)));
        let part = "etc/systemd/system/waypost.service.d/stop.conf";
        write(part, "[Service]\nTimeoutStopSec=20\n");
        assert_eq!(timeout(), Some(Duration::from_secs(20)));
        write(&format!("{part}.bak"), "[Service]\nTimeoutStopSec=30\n");
        assert_eq!(timeout(), Some(Duration::from_secs(20)));
        write(part, "[Service]\nTimeoutStopSec=infinity\n");
        assert_eq!(timeout(), None);
    }
}
