//! Why an address cannot be listened on, told at its key, with the way out that goes with what the
//! kernel said.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::io::Errno;

use super::sockets::Sockets;
use crate::config::model::{Address, AdminConfig, Config};
use crate::config::problem::{Place, Problem};
use crate::config::reason;

/// What stands before the admin address.
pub(super) const ADMIN: &str = "the admin address ";

/// What this process listens on already.
#[derive(Debug, Default)]
pub(super) struct Ours<'a> {
    pub(super) admin: Option<&'a Address>,
    pub(super) listeners: Vec<&'a Address>,
}

/// `what` stands before the address: empty, or [`ADMIN`].
pub(super) fn bind_problem(
    place: &Place,
    what: &str,
    address: &Address,
    error: &io::Error,
    ours: &Ours<'_>,
) -> Problem {
    let message = format!("cannot listen on {what}{address}: {}", reason(error));
    let in_use = Errno::from_io_error(error) == Some(Errno::ADDRINUSE);
    let own = in_use.then(|| ours.way_out(address)).flatten();
    let hint = own.unwrap_or_else(|| way_out(address, error).to_owned());
    Problem::new(place, message).hint(hint)
}

impl<'a> Ours<'a> {
    pub(super) fn of(sockets: &'a Sockets, admin: Option<&'a Address>) -> Ours<'a> {
        let listeners = sockets.0.iter().map(|bound| &bound.address);
        Ours {
            admin,
            listeners: listeners.collect(),
        }
    }

    /// Where it is this process that is in the way.
    fn way_out(&self, wanted: &Address) -> Option<String> {
        if self.admin.is_some_and(|admin| overlap(admin, wanted)) {
            let hint = "the admin API of this process listens there; `[admin]` changes with \
                        `waypost upgrade` or at the next start";
            return Some(hint.to_owned());
        }
        let mut listeners = self.listeners.iter();
        let listener = listeners.find(|listener| overlap(listener, wanted))?;
        Some(format!(
            "this process listens on {listener} now: have one reload take that away, and the next one add this; \
             or restart"
        ))
    }
}

/// Whether the kernel may take two addresses for one.
fn overlap(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => {
            let any = one.ip().is_unspecified() || other.ip().is_unspecified();
            let alike = one.port() == other.port() && one.is_ipv4() == other.is_ipv4();
            alike && (any || one.ip() == other.ip())
        }
        (Address::Unix(one), Address::Unix(other)) => one == other,
        _ => false,
    }
}

/// What the file system has against the admin address. Whether another program listens there is
/// not asked: it may be the process that serves this configuration.
pub(super) fn of_admin(config: &Config) -> Option<Problem> {
    let AdminConfig { address, place, .. } = config.admin.as_ref()?;
    let Address::Unix(path) = address else {
        return None;
    };
    let error = cannot_be_made(path)?;
    let ours = Ours::default();
    Some(bind_problem(place, ADMIN, address, &error, &ours))
}

/// Why there can be no socket at a path, as far as that can be told without making one.
fn cannot_be_made(path: &Path) -> Option<io::Error> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => None,
        Ok(_) => Some(no_socket()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::metadata(path.parent()?).err()
        }
        Err(error) => Some(error),
    }
}

/// There is something at the path of a socket that may be of use to somebody.
pub(super) fn no_socket() -> io::Error {
    io::Error::other("there is a file that is no socket")
}

/// bind(2), ip(7) and unix(7) have what each error means.
fn way_out(address: &Address, error: &io::Error) -> &'static str {
    match (address, Errno::from_io_error(error)) {
        (_, Some(Errno::MFILE | Errno::NFILE)) => "raise the limit on open files: `ulimit -n`",
        (Address::Tcp(_), Some(Errno::ADDRINUSE)) => {
            "another program listens there: `ss -ltnp` shows which"
        }
        (Address::Tcp(_), Some(Errno::ACCESS)) => {
            "a port below 1024 needs the capability CAP_NET_BIND_SERVICE: in systemd's unit \
             `AmbientCapabilities=CAP_NET_BIND_SERVICE`, or a socket that systemd opens"
        }
        (Address::Tcp(_), Some(Errno::ADDRNOTAVAIL)) => {
            "no such address here: `ip addr` shows those of this machine"
        }
        (Address::Tcp(_), Some(Errno::AFNOSUPPORT)) => {
            "this machine has no addresses of that kind, most likely no IPv6"
        }
        (Address::Tcp(_), _) => "`ss -ltnp` shows who listens where, `ip addr` the addresses",
        (Address::Unix(_), Some(Errno::NOENT)) => "the folder of a socket has to be there: make it",
        (Address::Unix(_), Some(Errno::ACCESS | Errno::ROFS)) => {
            "the user that runs waypost has to be allowed to write in the folder of the socket"
        }
        (Address::Unix(_), _) => {
            "`ss -lxp` shows which program listens there; where a file is in the way, name another path"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_of_the_kernel_has_its_own_way_out() {
        let tcp = Address::Tcp(([0, 0, 0, 0], 80).into());
        let unix = Address::Unix("/run/front.sock".into());
        for (address, errno, expected) in [
            (&tcp, Errno::ADDRINUSE, "`ss -ltnp`"),
            (&tcp, Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            (&tcp, Errno::ADDRNOTAVAIL, "`ip addr`"),
            (&tcp, Errno::AFNOSUPPORT, "no IPv6"),
            (&tcp, Errno::MFILE, "`ulimit -n`"),
            (
                &unix,
                Errno::NOENT,
                "the folder of a socket has to be there",
            ),
            (&unix, Errno::ACCESS, "allowed to write in the folder"),
            (&unix, Errno::ADDRINUSE, "`ss -lxp`"),
        ] {
            let place = Place::default();
            let problem = bind_problem(&place, "", address, &errno.into(), &Ours::default());
            let problem = problem.to_string();
            assert!(problem.contains(expected), "{errno:?}: {problem}");
            assert!(problem.contains(&format!("cannot listen on {address}: ")));
            assert!(!problem.contains("os error"), "{problem}");
        }
    }

    #[test]
    fn where_this_process_is_in_the_way_no_other_is_looked_for() {
        let tcp = |ip: [u8; 4], port: u16| Address::Tcp((ip, port).into());
        let (admin, listener) = (tcp([127, 0, 0, 1], 9000), tcp([10, 0, 0, 1], 80));
        let ours = Ours {
            admin: Some(&admin),
            listeners: vec![&listener],
        };
        let ipv6 = Address::Tcp((std::net::Ipv6Addr::UNSPECIFIED, 80).into());
        for (wanted, errno, expected) in [
            (&admin, Errno::ADDRINUSE, "the admin API of this process"),
            (&tcp([0; 4], 9000), Errno::ADDRINUSE, "the admin API of"),
            (&tcp([0; 4], 80), Errno::ADDRINUSE, "on 10.0.0.1:80 now"),
            (&tcp([10, 0, 0, 2], 80), Errno::ADDRINUSE, "another program"),
            (&ipv6, Errno::ADDRINUSE, "another program"),
            (&tcp([0; 4], 80), Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
        ] {
            let place = Place::default();
            let problem = bind_problem(&place, "", wanted, &errno.into(), &ours).to_string();
            assert!(problem.contains(expected), "{wanted}: {problem}");
        }
    }
}
