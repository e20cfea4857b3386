//! Listening sockets that this process was started with: by systemd (socket activation), or by the
//! binary that it takes over from.
//!
//! Both hand them over as descriptors from 3 on. systemd tells their number in `LISTEN_FDS`, for
//! the process in `LISTEN_PID` (sd_listen_fds(3)); each is found by the address that it is bound
//! to. The binary before us writes the configured address of each into `WAYPOST_LISTENERS`, since a
//! port that was asked for as 0 cannot be told from the one that was got.

use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::Context;

use super::sockets::{remove_files, socket_file};
use crate::config::model::Address;
use crate::data_plane::stream::Socket;

/// The addresses of handed-over sockets, in the order of their descriptors, one a line; behind
/// [`OF_SYSTEMD`] where the binary before us had it from there.
pub(super) const LISTENERS: &str = "WAYPOST_LISTENERS";
/// What stands before the address of a socket that systemd made.
pub(super) const OF_SYSTEMD: &str = "systemd ";
/// The descriptor that the binary before us waits on: closed without a word if we fail.
pub(super) const READY: &str = "WAYPOST_READY";
/// What the binary before us knew of names.
pub(super) const NAMES: &str = "WAYPOST_NAMES";
/// The lists of servers that the binary before us knew.
pub(super) const LISTS: &str = "WAYPOST_LISTS";
/// The first descriptor that is handed over.
pub(super) const FIRST: RawFd = 3;

/// Sockets that were handed over and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<Inheritance>,
    ready: Option<std::fs::File>,
    names: String,
    lists: String,
}

#[derive(Debug)]
struct Inheritance {
    /// As the binary before us has it in its configuration; none from systemd itself.
    configured: Option<Address>,
    of_systemd: bool,
    socket: Socket,
}

/// The sockets for an address; none where none were handed over.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    pub(super) sockets: Vec<Socket>,
    /// systemd made them, even if it was the binary before us that handed them over.
    pub(super) of_systemd: bool,
}

impl Inherited {
    /// What this process was started with. Once only, and before it opens anything itself.
    ///
    /// # Errors
    /// A descriptor that is no listening socket.
    pub(super) fn from_environment() -> anyhow::Result<Inherited> {
        let mut inherited = Inherited::default();
        let of_us =
            std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        if let Ok(addresses) = std::env::var(LISTENERS) {
            for (fd, line) in (FIRST..).zip(addresses.lines()) {
                let of_systemd = line.strip_prefix(OF_SYSTEMD);
                inherited.sockets.push(Inheritance {
                    configured: Some(parse(of_systemd.unwrap_or(line))?),
                    of_systemd: of_systemd.is_some(),
                    socket: socket(fd)?,
                });
            }
            inherited.names = std::env::var(NAMES).unwrap_or_default();
            inherited.lists = std::env::var(LISTS).unwrap_or_default();
            if let Some(fd) = std::env::var(READY).ok().and_then(|fd| fd.parse().ok()) {
                inherited.ready = Some(descriptor(fd).into());
            }
        } else if let Some(count) = std::env::var("LISTEN_FDS").ok().filter(|_| of_us) {
            let count: RawFd = count.parse()?;
            for fd in FIRST..FIRST.saturating_add(count) {
                inherited.sockets.push(Inheritance {
                    configured: None,
                    of_systemd: true,
                    socket: socket(fd)?,
                });
            }
        }
        Ok(inherited)
    }

    /// What the binary before us knew of names.
    pub(super) fn names(&self) -> &str {
        &self.names
    }

    /// The lists of servers that the binary before us knew.
    pub(super) fn lists(&self) -> &str {
        &self.lists
    }

    /// The sockets for an address of the configuration; where several listeners ask for it, those
    /// of the first.
    pub(super) fn take(&mut self, wanted: &Address) -> HandedOver {
        let (mut taken, mut rest) = (HandedOver::default(), Vec::new());
        let mut of_listener = None;
        for inheritance in self.sockets.drain(..) {
            let local = inheritance.socket.local_address().ok();
            let matches = inheritance.configured.as_ref().or(local.as_ref()) == Some(wanted);
            // Port 0 may stand for several ports.
            match matches && *of_listener.get_or_insert_with(|| local.clone()) == local {
                true => {
                    taken.of_systemd = inheritance.of_systemd;
                    taken.sockets.push(inheritance.socket);
                }
                false => rest.push(inheritance),
            }
        }
        self.sockets = rest;
        taken
    }

    /// Closes the sockets that no listener has, and tells the process before this one that it
    /// serves.
    pub(super) fn we_serve(self) {
        for inheritance in &self.sockets {
            let local = inheritance.socket.local_address();
            let address = match &local {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            };
            if inheritance.configured.is_none() {
                tracing::warn!(
                    "a listening socket was handed to this process that the configuration does not have: {address}"
                );
                continue;
            }
            tracing::info!("no longer listening on {address}");
            if let (Ok(address), false) = (&local, inheritance.of_systemd) {
                remove_files(socket_file(address).as_slice());
            }
        }
        if let Some(mut ready) = self.ready {
            // The process before may have ended.
            let _ = std::io::Write::write_all(&mut ready, b"serving\n");
        }
    }
}

fn socket(fd: RawFd) -> anyhow::Result<Socket> {
    Socket::from_descriptor(descriptor(fd))
        .with_context(|| format!("descriptor {fd} was handed over, but is no socket to listen on"))
}

#[allow(
    unsafe_code,
    reason = "whoever started this process says that the descriptor is ours; nobody else has it"
)]
fn descriptor(fd: RawFd) -> OwnedFd {
    // SAFETY: called once for each descriptor, before this process opens any that it could be
    // mistaken for.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn parse(address: &str) -> anyhow::Result<Address> {
    Ok(match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(address.parse::<SocketAddr>()?),
    })
}
