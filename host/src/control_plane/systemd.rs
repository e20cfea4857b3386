//! Tells systemd how the service is doing (sd_notify(3)), where it asks for that with
//! `NOTIFY_SOCKET`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// This process serves. Blocks while systemd's queue is full. It says which one it is, since it may
/// have taken over from the one that systemd started.
pub(super) fn ready() {
    notify(&format!("READY=1\nMAINPID={}\n", std::process::id()));
}

/// This process is about to end, and none takes over from it. Blocks as [`ready`] does.
pub(super) fn stopping() {
    notify("STOPPING=1\n");
}

fn notify(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&address, state) {
        tracing::warn!("systemd cannot be told how the service is doing: {error}");
    }
}

fn send(address: &OsString, state: &str) -> std::io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}
