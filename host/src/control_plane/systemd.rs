//! Tells systemd how the service is doing (sd_notify(3)), where it asks for that with
//! `NOTIFY_SOCKET`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::Duration;

use super::blocking::{FILES, run_blocking};
use super::workers::Workers;

/// Which process the watchdog is for; each where it is not said (sd_watchdog_enabled(3)).
pub(super) const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// This process serves. Blocks while systemd's queue is full. It says which one it is, since it may
/// have taken over from the one that systemd started.
pub(super) fn ready() {
    notify(&format!("READY=1\nMAINPID={}\n", std::process::id()));
}

/// This process is about to end, and none takes over from it. Blocks as [`ready`] does.
pub(super) fn stopping() {
    notify("STOPPING=1\n");
}

/// Within what time systemd wants to hear of this process, again and again (`WatchdogSec`): without it,
/// the service is started anew. None where it wants to hear nothing.
pub(super) fn watchdog() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    let microseconds = variable("WATCHDOG_USEC")?.parse().ok()?;
    let is_ours = variable(WATCHDOG_PID).is_none_or(|pid| pid == std::process::id().to_string());
    let period = Duration::from_micros(microseconds);
    (is_ours && !period.is_zero()).then_some(period)
}

/// Lets systemd hear of this process twice in a period, as long as every worker's event loop turns.
pub(super) async fn answer_watchdog(period: Duration, workers: Rc<Workers>) {
    loop {
        tokio::time::sleep(period / 2).await;
        workers.respond().await;
        let tell = || notify("WATCHDOG=1\n");
        if let Err(late) = run_blocking("answering the watchdog", FILES, tell).await {
            tracing::error!("{late}");
        }
    }
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
