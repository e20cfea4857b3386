//! What of a configuration a machine keeps from being as it says.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use serde::Serialize;

use super::machine::Machine;
use crate::config::model::{Address, Bind, Config, LogPath, PluginLimits};
use crate::config::{self, duration_text};
use crate::file::can_append;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    /// It serves, but not all that is asked for, or not for long.
    Warning,
    /// It does not start, or does not do what the configuration says.
    Problem,
}

/// What one look has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// What was looked at.
    pub(super) about: String,
    pub(super) found: String,
    /// What to do; empty where nothing has to be done.
    pub(super) way_out: String,
}

impl Finding {
    fn ok(about: impl fmt::Display, found: String) -> Finding {
        Finding {
            level: Level::Ok,
            about: about.to_string(),
            found,
            way_out: String::new(),
        }
    }

    fn bad(level: Level, about: impl fmt::Display, found: String, way_out: String) -> Finding {
        Finding {
            level,
            about: about.to_string(),
            found,
            way_out,
        }
    }
}

/// Descriptors that are enough for hundreds of clients, whatever else is open.
const FEW_DESCRIPTORS: u64 = 4096;
/// Descriptors for other things than connections: listeners, logs, event loops.
const OTHER_DESCRIPTORS: u64 = 256;
/// Connections to one address that a busy proxy may have.
const FEW_PORTS: u64 = 20_000;
/// Address space of one instance of a plugin: its memory, and what guards it.
const OF_INSTANCE: u64 = 4 << 30;
/// Mappings of one instance, with its stack.
const MAPPINGS_OF_INSTANCE: u64 = 7;
/// The stock hooks that wait for servers.
const WAITING: [&str; 2] = ["forward_auth", "mirror"];
/// Bytes of a plugin's file of which there may be the most instances.
const SMALL: usize = 0;
/// Seconds that systemd should wait beyond what a stop may take.
const STOP_MARGIN: u64 = 10;
/// Hundredths of a disk that should be free.
const FREE: u64 = 5;

/// Looks at all of it.
pub(super) fn findings(config: &Config, machine: &Machine) -> Vec<Finding> {
    let mut all = vec![
        descriptors(config, machine),
        workers(config, machine),
        io_uring(config, machine),
    ];
    all.extend(backlogs(config, machine));
    all.extend(privileged_ports(config, machine));
    all.extend(local_ports(machine));
    all.extend(address_space(machine));
    all.extend(mappings(config, machine));
    all.extend(logs(config));
    all.push(admin(config));
    all.extend(audit(config));
    all.extend(stop(config, machine));
    all
}

fn descriptors(config: &Config, machine: &Machine) -> Finding {
    let about = "open files";
    let Some(there) = machine.descriptors else {
        return Finding::ok(about, "no limit".to_owned());
    };
    let way_out = |needed: u64| {
        format!("`LimitNOFILE={needed}` in the unit of systemd, or `ulimit -Hn {needed}`")
    };
    let needed = crate::control_plane::descriptors_needed(config) + 2;
    if there < needed {
        return Finding::bad(
            Level::Problem,
            about,
            format!("{there} are too few to start, which takes {needed}"),
            way_out(65_536),
        );
    }
    match config.server.max_connections {
        Some(clients) => {
            // Each client may have a connection to a server besides.
            let needed = (clients as u64).saturating_mul(2) + OTHER_DESCRIPTORS;
            match needed <= there {
                true => Finding::ok(about, format!("{there}: enough for {clients} clients")),
                false => Finding::bad(
                    Level::Problem,
                    about,
                    format!(
                        "{there} are too few for `max_connections = {clients}`, which may need {needed}"
                    ),
                    way_out(needed),
                ),
            }
        }
        None if there < FEW_DESCRIPTORS => Finding::bad(
            Level::Warning,
            about,
            format!(
                "{there} are enough for some {} clients only",
                there.saturating_sub(OTHER_DESCRIPTORS) / 2
            ),
            way_out(65_536),
        ),
        None => Finding::ok(
            about,
            format!("{there}: enough for some {} clients", there / 2),
        ),
    }
}

/// Nothing is wrong without it.
fn io_uring(config: &Config, machine: &Machine) -> Finding {
    let found = match &machine.no_io_uring {
        _ if !config.server.io_uring => "off by `io_uring = false`".to_owned(),
        None => "small messages leave by one system call".to_owned(),
        Some(why) => format!(
            "refused here ({why}), so that each small message leaves by its own system call; it \
             takes Linux 6.1, `kernel.io_uring_disabled` of 0 (or 1, and its group), and no \
             seccomp profile against it"
        ),
    };
    Finding::ok("io_uring", found)
}

fn workers(config: &Config, machine: &Machine) -> Finding {
    let about = "workers";
    let (workers, processors) = (config.server.workers, machine.processors);
    match workers > processors {
        false => Finding::ok(about, format!("{workers}, on {processors} processors")),
        true => Finding::bad(
            Level::Warning,
            about,
            format!("{workers} share {processors} processors, which is slower than one on each"),
            "`workers = \"auto\"` in `[server]`".to_owned(),
        ),
    }
}

fn backlogs(config: &Config, machine: &Machine) -> Vec<Finding> {
    let Some(most) = machine.somaxconn else {
        return Vec::new();
    };
    let binds = config.binds().into_iter();
    let cut = binds.filter(|bind| u64::from(bind.backlog) > most);
    cut.map(
        |Bind {
             address, backlog, ..
         }| {
            Finding::bad(
                Level::Warning,
                format_args!("backlog of {address}"),
                format!("the kernel cuts `backlog = {backlog}` to {most}"),
                format!("`sysctl -w net.core.somaxconn={backlog}`"),
            )
        },
    )
    .collect()
}

fn privileged_ports(config: &Config, machine: &Machine) -> Vec<Finding> {
    let Some(first) = machine
        .unprivileged_port
        .filter(|_| !machine.binds_privileged)
    else {
        return Vec::new();
    };
    let privileged = config
        .binds()
        .into_iter()
        .filter_map(|bind| match bind.address {
            Address::Tcp(address) if address.port() != 0 && address.port() < first => Some(address),
            _ => None,
        });
    privileged
        .map(|address| {
            Finding::bad(
                Level::Problem,
                format_args!("listening on {address}"),
                format!("ports below {first} are for who has CAP_NET_BIND_SERVICE"),
                "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in the unit of systemd, or a socket that it \
                 hands over"
                    .to_owned(),
            )
        })
        .collect()
}

fn local_ports(machine: &Machine) -> Option<Finding> {
    let (first, last) = machine.local_ports?;
    let about = "local ports";
    let ports = u64::from(last.saturating_sub(first)) + 1;
    Some(match ports < FEW_PORTS {
        false => Finding::ok(
            about,
            format!("{ports}, for as many connections to each server"),
        ),
        true => Finding::bad(
            Level::Warning,
            about,
            format!("{ports}: there are no more connections than that to one server"),
            "`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`".to_owned(),
        ),
    })
}

fn address_space(machine: &Machine) -> Option<Finding> {
    let limit = machine.address_space?;
    Some(Finding::bad(
        if limit < 16 * OF_INSTANCE {
            Level::Problem
        } else {
            Level::Warning
        },
        "address space",
        format!(
            "limited to {limit} bytes, and each instance of a plugin reserves {OF_INSTANCE}, which takes \
             no memory"
        ),
        "leave `LimitAS` and `ulimit -v` out; `MemoryMax` bounds memory".to_owned(),
    ))
}

fn mappings(config: &Config, machine: &Machine) -> Option<Finding> {
    let most = machine.mappings?;
    let waits = |plugin: &str| match config.plugins.iter().find(|known| known.name == plugin) {
        Some(plugin) => plugin
            .grants
            .http
            .then(|| plugin.limits.instances_of(SMALL)),
        None => WAITING
            .contains(&plugin)
            .then(|| PluginLimits::default().instances_of(SMALL)),
    };
    let hooks = config.hooks.iter().filter_map(|hook| waits(&hook.plugin));
    let components = config.components.iter().map(|component| {
        let plugin = config
            .plugins
            .iter()
            .find(|known| known.name == component.plugin);
        plugin.map_or(0, |plugin| plugin.limits.instances_of(SMALL))
    });
    let instances: usize = hooks.chain(components).sum();
    let needed = (instances as u64)
        .saturating_mul(config.server.workers as u64)
        .saturating_mul(MAPPINGS_OF_INSTANCE);
    (needed > most).then(|| {
        Finding::bad(
            Level::Warning,
            "mappings",
            format!(
                "{most} are too few for all instances of what waits for servers, which may need {needed}"
            ),
            format!("`sysctl -w vm.max_map_count={needed}`, or lower `limits.instances`"),
        )
    })
}

fn logs(config: &Config) -> Vec<Finding> {
    let access_logs = config.server.access_logs.iter().chain(config.access_logs());
    let paths = access_logs.map(|log| &log.path);
    let paths = paths.chain([&config.server.error_log.path]);
    let mut folders: Vec<PathBuf> = paths
        .filter_map(|path| match path {
            LogPath::File(path) => Some(path.parent()?.to_owned()),
            _ => None,
        })
        .collect();
    folders.sort();
    folders.dedup();
    folders.iter().map(|folder| log_folder(folder)).collect()
}

fn log_folder(folder: &Path) -> Finding {
    let about = format!("logs in {}", folder.display());
    let disk = match statvfs(folder) {
        Ok(disk) => disk,
        Err(error) => {
            return Finding::bad(
                Level::Problem,
                about,
                                format!("it cannot be looked into: {error}"),
                "make the folder, or start the unit of the package once, which does; it has to be of the \
                 user of the service"
                    .to_owned(),
            );
        }
    };
    let free = disk.f_bavail.saturating_mul(100) / disk.f_blocks.max(1);
    match free < FREE {
        false => Finding::ok(about, format!("{free} % of the disk are free")),
        true => Finding::bad(
            Level::Warning,
            about,
            format!("{free} % of the disk are free"),
            "rotate them, and send the process USR1 behind that: docs/logs.md".to_owned(),
        ),
    }
}

fn admin(config: &Config) -> Finding {
    let about = "commands";
    match &config.admin {
        Some(admin) => match &admin.address {
            Address::Unix(path) if path.parent().is_some_and(|folder| !folder.is_dir()) => {
                Finding::bad(
                    Level::Problem,
                    about,
                    format!("the folder of {} is not there, or hidden", admin.address),
                    "make it, or start the unit of the package once, which does".to_owned(),
                )
            }
            address => Finding::ok(about, format!("reach it at {address}")),
        },
        None => Finding::bad(
            Level::Warning,
            about,
            "none reaches a running process: there is no `[admin]`".to_owned(),
            "`[admin]` with `address = \"unix:/run/waypost/admin.sock\"`".to_owned(),
        ),
    }
}

/// Without it its lines go to the error log.
fn audit(config: &Config) -> Option<Finding> {
    let audit = config.admin.as_ref()?.audit.as_ref()?;
    let path = audit.path.display();
    Some(match can_append(&audit.path) {
        Ok(()) => Finding::ok("audit", format!("{path} can be written")),
        Err(error) => Finding::bad(
            Level::Warning,
            "audit",
            format!(
                "{path} cannot be written, so the error log has its lines: {}",
                config::reason(&error)
            ),
            "make its folder, and let the user of the service write there".to_owned(),
        ),
    })
}

/// Whether a stop is over before systemd ends it.
fn stop(config: &Config, machine: &Machine) -> Option<Finding> {
    let (about, there) = ("stop", machine.stop_timeout?);
    let (delay, timeout) = (config.server.shutdown_delay, config.server.shutdown_timeout);
    let longest = delay + timeout.unwrap_or_default();
    let (in_words, longest_in_words) = (duration_text(there), duration_text(longest));
    Some(match (longest < there, timeout) {
        (true, Some(_)) => Finding::ok(
            about,
            format!("over in {longest_in_words}, and systemd waits for {in_words}"),
        ),
        (true, None) => Finding::ok(
            about,
            format!("no `shutdown_timeout`, so systemd ends it after {in_words}"),
        ),
        (false, _) => Finding::bad(
            Level::Warning,
            about,
            format!(
                "systemd kills the process after {in_words}, and {} {longest_in_words}",
                match timeout {
                    Some(_) => "`shutdown_delay` and `shutdown_timeout` together are",
                    None => "`shutdown_delay` alone is",
                }
            ),
            format!(
                "`TimeoutStopSec={}` in the unit of systemd",
                longest.as_secs() + STOP_MARGIN
            ),
        ),
    })
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse(text, Path::new("waypost.toml")).expect("it is valid")
    }

    fn machine() -> Machine {
        Machine {
            descriptors: Some(65_536),
            address_space: None,
            processors: 4,
            somaxconn: Some(4096),
            local_ports: Some((32_768, 60_999)),
            unprivileged_port: Some(1024),
            binds_privileged: false,
            mappings: Some(65_530),
            no_io_uring: None,
            stop_timeout: Some(Duration::from_secs(60)),
        }
    }

    /// What is not well, with what there is to do.
    fn bad(text: &str, machine: &Machine) -> Vec<(Level, String, String)> {
        let found = findings(&config(text), machine).into_iter();
        let bad = found.filter(|finding| finding.level != Level::Ok);
        bad.map(|finding| (finding.level, finding.about, finding.way_out))
            .collect()
    }

    const SMALL: &str = "[server]\nworkers = 2\n[admin]\naddress = \"127.0.0.1:9000\"\n\
        [[listen]]\naddress = \"127.0.0.1:8080\"\n[[route]]\nproxy = \"http://127.0.0.1:1\"\n";

    #[test]
    fn a_machine_that_is_large_enough_is_well() {
        assert_eq!(bad(SMALL, &machine()), []);
    }

    #[test]
    fn each_limit_that_is_too_low_is_named_with_what_to_do_about_it() {
        let small = Machine {
            descriptors: Some(1024),
            address_space: Some(1 << 30),
            processors: 1,
            somaxconn: Some(128),
            local_ports: Some((60_000, 60_999)),
            ..machine()
        };
        let found = bad(SMALL, &small);
        let about: Vec<_> = found.iter().map(|(_, about, _)| about.as_str()).collect();
        assert_eq!(
            about,
            [
                "open files",
                "workers",
                "backlog of 127.0.0.1:8080",
                "local ports",
                "address space"
            ]
        );
        assert!(found.iter().all(|(.., way_out)| !way_out.is_empty()));
        assert_eq!(found[2].2, "`sysctl -w net.core.somaxconn=511`");
    }

    #[test]
    fn it_is_told_whether_io_uring_is_used() {
        let without = Machine {
            no_io_uring: Some("Operation not permitted".to_owned()),
            ..machine()
        };
        let off = SMALL.replace("workers = 2", "workers = 2\nio_uring = false");
        for (text, machine, found) in [
            (SMALL, &machine(), "small messages leave by one system call"),
            (
                SMALL,
                &without,
                "refused here (Operation not permitted), so",
            ),
            (&off, &without, "off by `io_uring = false`"),
        ] {
            let told = io_uring(&config(text), machine);
            assert_eq!(told.level, Level::Ok);
            assert!(told.found.starts_with(found), "{}", told.found);
        }
    }

    #[test]
    fn what_keeps_it_from_starting_is_a_problem() {
        let text = SMALL
            .replace(":8080", ":80")
            .replace("workers = 2", "workers = 2\nmax_connections = 100000");
        let found = bad(&text, &machine());
        let levels: Vec<_> = found
            .iter()
            .map(|(level, about, _)| (*level, &**about))
            .collect();
        assert_eq!(
            levels,
            [
                (Level::Problem, "open files"),
                (Level::Problem, "listening on 127.0.0.1:80")
            ]
        );
        assert!(found[0].2.contains("LimitNOFILE=200256"), "{}", found[0].2);
        let privileged = Machine {
            binds_privileged: true,
            ..machine()
        };
        assert_eq!(bad(&text, &privileged).len(), 1);
    }

    #[test]
    fn a_stop_that_takes_longer_than_systemd_waits_is_told_with_what_to_write() {
        let long = "workers = 2\nshutdown_delay = \"30s\"\nshutdown_timeout = \"30s\"";
        let text = SMALL.replace("workers = 2", long);
        let found = bad(&text, &machine());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, &*found[0].1), (Level::Warning, "stop"));
        assert!(found[0].2.contains("`TimeoutStopSec=70`"), "{}", found[0].2);
        let short = text.replace("30s", "20s");
        assert_eq!(bad(&short, &machine()), []);
        // Without a timeout systemd is the bound, and that has to leave time beyond the delay.
        let delay = |delay: &str| {
            SMALL.replace(
                "workers = 2",
                &format!("workers = 2\nshutdown_delay = \"{delay}\""),
            )
        };
        let found = bad(&delay("120s"), &machine());
        assert_eq!(found.len(), 1);
        assert!(
            found[0].2.contains("`TimeoutStopSec=130`"),
            "{}",
            found[0].2
        );
        assert_eq!(bad(&delay("15s"), &machine()), []);
    }

    #[test]
    fn an_audit_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().expect("there is room for a directory");
        let audit = |path: &str| {
            let path = folder.path().join(path).display().to_string();
            let line = format!("[admin]\naudit = \"{path}\"");
            bad(&SMALL.replace("[admin]", &line), &machine())
        };
        assert_eq!(audit("audit.log"), []);
        let found = audit("gone/audit.log");
        assert_eq!((found[0].0, &*found[0].1), (Level::Warning, "audit"));
    }

    #[test]
    fn many_instances_that_wait_need_many_mappings() {
        let text = format!(
            "{}hooks = [{{ plugin = \"forward_auth\", upstream = \"auth\" }}]\n\
             [upstream.auth]\nservers = [\"127.0.0.1:2\"]\n",
            SMALL.replace("workers = 2", "workers = 64")
        );
        let large = Machine {
            processors: 64,
            ..machine()
        };
        let found = bad(&text, &large);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].2.contains("vm.max_map_count=114688"),
            "{}",
            found[0].2
        );
    }
}
