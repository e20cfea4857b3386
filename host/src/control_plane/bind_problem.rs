//! Why an address cannot be listened on, told at its key, with the way out that goes with what the
//! kernel said.

use std::io;

use rustix::io::Errno;

use crate::config::model::Address;
use crate::config::problem::{Place, Problem};
use crate::config::reason;

/// `what` stands before the address: empty, or `the admin address `.
pub(super) fn bind_problem(
    place: &Place,
    what: &str,
    address: &Address,
    error: &io::Error,
) -> Problem {
    let message = format!("cannot listen on {what}{address}: {}", reason(error));
    Problem::new(place, message).hint(way_out(address, error))
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
            let problem = bind_problem(&place, "", address, &errno.into()).to_string();
            assert!(problem.contains(expected), "{errno:?}: {problem}");
            assert!(problem.contains(&format!("cannot listen on {address}: ")));
            assert!(!problem.contains("os error"), "{problem}");
        }
    }
}
