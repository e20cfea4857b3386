//! What the kernel and the service manager allow this process.

use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// `CAP_NET_BIND_SERVICE` among the bits of a set of capabilities (capabilities(7)).
const BIND_SERVICE: u64 = 1 << 10;

/// Each is none where the system does not tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    /// Open files, as far as this process may raise its limit.
    pub(super) descriptors: Option<u64>,
    /// Bytes of address space; none where there is no limit.
    pub(super) address_space: Option<u64>,
    pub(super) processors: usize,
    pub(super) somaxconn: Option<u64>,
    /// The first and the last local port of connections that are opened.
    pub(super) local_ports: Option<(u16, u16)>,
    /// The first port that everybody may listen on.
    pub(super) unprivileged_port: Option<u16>,
    /// Lower ones may be listened on as well.
    pub(super) binds_privileged: bool,
    /// Mappings of memory that one process may have.
    pub(super) mappings: Option<u64>,
    /// Why io_uring cannot be used; none where it can, and where nobody asks for it.
    pub(super) no_io_uring: Option<String>,
    /// After which systemd kills a process that is to end.
    pub(super) stop_timeout: Option<Duration>,
}

impl Machine {
    /// This one. `proc` is where procfs is mounted.
    pub(super) fn look(proc: &Path) -> Machine {
        let sysctl = |name: &str| {
            let path = proc.join("sys").join(name);
            fs::read_to_string(path).ok()
        };
        let number = |name| sysctl(name).and_then(|text| one(&text));
        Machine {
            descriptors: getrlimit(Resource::Nofile).maximum,
            address_space: getrlimit(Resource::As).current,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            somaxconn: number("net/core/somaxconn"),
            local_ports: sysctl("net/ipv4/ip_local_port_range").and_then(|text| {
                let (first, last) = text.trim().split_once(char::is_whitespace)?;
                Some((one(first)?, one(last)?))
            }),
            unprivileged_port: number("net/ipv4/ip_unprivileged_port_start")
                .and_then(|port| u16::try_from(port).ok()),
            binds_privileged: fs::read_to_string(proc.join("self/status"))
                .is_ok_and(|status| may_bind(&status)),
            mappings: number("vm/max_map_count"),
            no_io_uring: None,
            stop_timeout: None,
        }
    }
}

fn one<N: FromStr>(text: &str) -> Option<N> {
    text.trim().parse().ok()
}

/// Whether the effective capabilities of a process, as `/proc/PID/status` lists them, let it listen
/// on privileged ports.
fn may_bind(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & BIND_SERVICE != 0)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn what_procfs_says_is_read() {
        let proc = tempfile::tempdir().expect("there is room for a directory");
        for (name, text) in [
            ("sys/net/core/somaxconn", "4096\n"),
            ("sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("sys/net/ipv4/ip_unprivileged_port_start", "1024\n"),
            ("sys/vm/max_map_count", "65530\n"),
            (
                "self/status",
                "Name:\twaypost\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000400\n",
            ),
        ] {
            let path = proc.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
            fs::write(path, text).expect("it is ours");
        }
        let machine = Machine::look(proc.path());
        assert_eq!(machine.somaxconn, Some(4096));
        assert_eq!(machine.local_ports, Some((32768, 60999)));
        assert_eq!(machine.unprivileged_port, Some(1024));
        assert_eq!(machine.mappings, Some(65530));
        assert!(machine.binds_privileged);
        assert!(!may_bind("CapEff:\t0000000000000000\n"));
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        let machine = Machine::look(Path::new("/nowhere"));
        assert_eq!((machine.somaxconn, machine.local_ports), (None, None));
        assert!(!machine.binds_privileged);
    }
}
