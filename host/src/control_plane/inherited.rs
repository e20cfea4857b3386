//! Listening sockets that this process was started with: by systemd (socket activation), or by the binary that it takes over
//! from.
//!
//! Both hand them over as descriptors from 3 on. systemd tells their number in `LISTEN_FDS`, for the process in `LISTEN_PID`
//! (sd_listen_fds(3)); each is found by the address that it is bound to. The binary before us writes the configured address of
//! each into `WAYPOST_LISTENERS`, since a port that was asked for as 0 cannot be told from the one that was got.

use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::Context;

use crate::config::model::Address;
use crate::data_plane::accept::Socket;

/// The addresses of handed-over sockets, in the order of their descriptors, one a line.
pub(super) const LISTENERS: &str = "WAYPOST_LISTENERS";
/// The descriptor that the binary before us waits on: closed without a word if we fail.
pub(super) const READY: &str = "WAYPOST_READY";
/// The first descriptor that is handed over.
pub(super) const FIRST: RawFd = 3;

/// Sockets that were handed over and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<(Option<Address>, Socket)>,
    ready: Option<std::fs::File>,
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
            for (fd, address) in (FIRST..).zip(addresses.lines()) {
                inherited.sockets.push((Some(parse(address)?), socket(fd)?));
            }
            if let Some(fd) = std::env::var(READY).ok().and_then(|fd| fd.parse().ok()) {
                inherited.ready = Some(descriptor(fd).into());
            }
        } else if let Some(count) = std::env::var("LISTEN_FDS").ok().filter(|_| of_us) {
            let count: RawFd = count.parse()?;
            for fd in FIRST..FIRST.saturating_add(count) {
                inherited.sockets.push((None, socket(fd)?));
            }
        }
        Ok(inherited)
    }

    /// The sockets for an address of the configuration; where several listeners ask for it, those of the first.
    pub(super) fn take(&mut self, wanted: &Address) -> Vec<Socket> {
        let (mut taken, mut rest) = (Vec::new(), Vec::new());
        let mut of_listener = None;
        for (address, socket) in self.sockets.drain(..) {
            let local = socket.local_address().ok();
            let matches = address.as_ref().or(local.as_ref()) == Some(wanted);
            // Port 0 may stand for several ports.
            match matches && *of_listener.get_or_insert_with(|| local.clone()) == local {
                true => taken.push(socket),
                false => rest.push((address, socket)),
            }
        }
        self.sockets = rest;
        taken
    }

    /// Lets go of what nobody wanted, and tells the binary before us that we serve.
    pub(super) fn we_serve(self) {
        for (configured, socket) in &self.sockets {
            let local = socket.local_address();
            let address = match &local {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            };
            if configured.is_none() {
                tracing::warn!(
                    "a listening socket was handed to this process that the configuration does not have: {address}"
                );
                continue;
            }
            tracing::info!("no longer listening on {address}");
            if let Ok(Address::Unix(path)) = &local {
                // Someone may have removed it already, and nobody is left to tell.
                let _ = std::fs::remove_file(path);
            }
        }
        if let Some(mut ready) = self.ready {
            // If it has gone, there is nobody to tell.
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
    // SAFETY: called once for each descriptor, before this process opens any that it could be mistaken for.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn parse(address: &str) -> anyhow::Result<Address> {
    Ok(match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(address.parse::<SocketAddr>()?),
    })
}
