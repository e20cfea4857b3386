//! The name servers, search domains and hosts of this machine, as resolv.conf(5) and hosts(5) have
//! them: read again when they change, as container engines rewrite them.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hickory_resolver::Hosts;
use resolv_conf::{Config, ScopedIp};

use crate::file;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Bytes of either file. Lists of blocked hosts have some megabytes.
const MOST: u64 = 16 << 20;

/// Name servers and search domains that are used (glibc has 3 and 6).
const SERVERS: usize = 8;
const DOMAINS: usize = 32;

/// What names mean on this machine, before a name server is asked.
pub(super) struct System {
    read: [Version; 2],
    pub(super) servers: Vec<std::net::SocketAddr>,
    /// Names with fewer dots are looked for below `search` first.
    pub(super) ndots: usize,
    pub(super) search: Vec<String>,
    pub(super) hosts: Hosts,
}

/// Tells one content of a file from another without reading it: size, time of change, inode; none
/// for a file that is not there.
type Version = Option<(u64, i64, i64, u64)>;

fn version(path: &str) -> Version {
    let found = std::fs::metadata(path).ok()?;
    Some((found.len(), found.mtime(), found.mtime_nsec(), found.ino()))
}

/// What a file holds. One that cannot be read counts as empty, as for glibc.
fn content(path: &str) -> Vec<u8> {
    file::read_regular(Path::new(path), MOST).unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            tracing::warn!("cannot read {path}: {error}");
        }
        Vec::new()
    })
}

impl System {
    /// As it is now. `LOCALDOMAIN` and `RES_OPTIONS` count, as they do for all programs.
    pub(super) fn read() -> System {
        let read = [RESOLV_CONF, HOSTS].map(version);
        let (resolv_conf, hosts) = (content(RESOLV_CONF), content(HOSTS));
        let of_process = |name: &str| std::env::var(name).ok();
        System {
            read,
            ..System::of(&resolv_conf, &hosts, of_process)
        }
    }

    pub(super) fn has_changed(&self) -> bool {
        self.read != [RESOLV_CONF, HOSTS].map(version)
    }

    fn of(resolv_conf: &[u8], hosts: &[u8], variable: impl Fn(&str) -> Option<String>) -> System {
        // A line that makes no sense is passed over.
        let (config, _) = Config::parse_with_errors(resolv_conf);
        let servers = config.nameservers.iter().take(SERVERS).map(|server| {
            let ip = match server {
                ScopedIp::V4(ip) => (*ip).into(),
                ScopedIp::V6(ip, _) => (*ip).into(),
            };
            std::net::SocketAddr::new(ip, 53)
        });
        let mut servers: Vec<_> = servers.collect();
        if servers.is_empty() {
            servers.push((std::net::Ipv4Addr::LOCALHOST, 53).into()); // resolv.conf(5)
        }
        let search = match variable("LOCALDOMAIN") {
            Some(domains) => domains.split_whitespace().map(str::to_owned).collect(),
            None => config
                .get_last_search_or_domain()
                .cloned()
                .collect::<Vec<_>>(),
        };
        let options = variable("RES_OPTIONS").unwrap_or_default();
        let mut ndots = options
            .split_whitespace()
            .filter_map(|option| option.strip_prefix("ndots:")?.parse().ok());
        let mut known = Hosts::default();
        // Reading from memory does not fail; what is no line of it is passed over.
        let _ = known.read_hosts_conf(String::from_utf8_lossy(hosts).as_bytes());
        System {
            servers,
            ndots: ndots.next_back().unwrap_or(config.ndots as usize).min(15),
            search: search.into_iter().take(DOMAINS).collect(),
            hosts: known,
            read: [None; 2],
        }
    }
}

/// As these files would have it, for tests.
#[cfg(test)]
pub(super) fn tests_system(resolv_conf: &str, hosts: &str) -> System {
    System::of(resolv_conf.as_bytes(), hosts.as_bytes(), |_| None)
}

/// The names that a host's name may mean, the likeliest first (resolv.conf(5): `search`, `ndots`).
pub(super) fn candidates(host: &str, search: &[String], ndots: usize) -> Vec<String> {
    let absolute = |name: &str| format!("{}.", name.trim_end_matches('.'));
    if host.ends_with('.') {
        return vec![absolute(host)];
    }
    let below = search
        .iter()
        .map(|domain| domain.trim_matches('.'))
        .filter(|domain| !domain.is_empty())
        .map(|domain| absolute(&format!("{host}.{domain}")));
    let dots = host.bytes().filter(|byte| *byte == b'.').count();
    let mut names: Vec<String> = below.collect();
    match dots >= ndots {
        true => names.insert(0, absolute(host)),
        false => names.push(absolute(host)),
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(resolv_conf: &str, variables: &[(&str, &str)]) -> System {
        let hosts = b"10.0.0.1 one.example one\n# 10.0.0.2 two\nnonsense\n";
        System::of(resolv_conf.as_bytes(), hosts, |name| {
            let mut found = variables.iter().filter(|(known, _)| *known == name);
            found.next().map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn resolv_conf_is_read_as_other_programs_do() {
        let text = "# by hand\nnameserver 10.0.0.53\nnameserver fd00::53\nnonsense here\n\
                    search svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n";
        let read = system(text, &[]);
        let servers: Vec<String> = read.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[fd00::53]:53"]);
        assert_eq!(read.search, ["svc.cluster.local", "cluster.local"]);
        assert_eq!(read.ndots, 5);
        let variables = [
            ("LOCALDOMAIN", "a.example b.example"),
            ("RES_OPTIONS", "ndots:2"),
        ];
        let read = system(text, &variables);
        assert_eq!(read.search, ["a.example", "b.example"]);
        assert_eq!(read.ndots, 2);
        let read = system("", &[]);
        let servers: Vec<String> = read.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.1:53"]);
        assert_eq!((read.search.len(), read.ndots), (0, 1));
    }

    #[test]
    fn names_with_few_dots_are_looked_for_below_the_domains_first() {
        let search = ["b.example".to_owned(), ".".to_owned(), "c.".to_owned()];
        assert_eq!(candidates("a", &search, 1), ["a.b.example.", "a.c.", "a."]);
        assert_eq!(
            candidates("a.x", &search, 1),
            ["a.x.", "a.x.b.example.", "a.x.c."]
        );
        assert_eq!(
            candidates("a.x", &search, 2),
            ["a.x.b.example.", "a.x.c.", "a.x."]
        );
        assert_eq!(candidates("a.", &search, 1), ["a."]);
        assert_eq!(candidates("a", &[], 1), ["a."]);
    }
}
