//! What nginx's signals ask for.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

/// How long a drain waits for a USR2 that was sent before it. The kernel tells no order of signals,
/// and threads tell of them one by one.
const SETTLES: Duration = Duration::from_millis(100);

/// What a signal asks for.
pub(super) enum SignalEvent {
    /// INT.
    Stop,
    /// TERM: as INT, unless load balancers are to be told first.
    Terminate,
    Drain,
    Reload,
    Reopen,
    Upgrade,
}

/// The signals that are heeded.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    changes: ChangeSignals,
    /// When the drain begins that a QUIT has asked for.
    drains_at: Option<Instant>,
}

/// Those that ask a process which serves for something else than its end. Their default action would
/// end one that is about to serve, so they are received from the start, and heeded once it serves.
pub(super) struct ChangeSignals {
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl ChangeSignals {
    /// Receives them from now on. Within an event loop.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> anyhow::Result<ChangeSignals> {
        Ok(ChangeSignals {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Signals {
    /// Receives those as well, from now on, that end the process. Until then their default action
    /// does.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn with(changes: ChangeSignals) -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            changes,
            drains_at: None,
        })
    }

    /// What the next one asks for. Nothing is lost where this is given up.
    ///
    /// USR2 and then QUIT is nginx's way to upgrade; the other way round nothing would be left to
    /// upgrade. So a drain begins [`SETTLES`] after its signal, and an upgrade that was asked for by
    /// then comes first.
    pub(super) async fn next(&mut self) -> SignalEvent {
        loop {
            let drain = async {
                match self.drains_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return SignalEvent::Terminate,
                _ = self.interrupt.recv() => return SignalEvent::Stop,
                _ = self.changes.user2.recv() => return SignalEvent::Upgrade,
                () = drain => {
                    self.drains_at = None;
                    return SignalEvent::Drain;
                }
                _ = self.quit.recv() => {
                    self.drains_at.get_or_insert(Instant::now() + SETTLES);
                }
                _ = self.changes.hangup.recv() => return SignalEvent::Reload,
                _ = self.changes.user1.recv() => return SignalEvent::Reopen,
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn an_upgrade_that_was_asked_for_about_when_a_drain_was_comes_first() {
        let mut signals = Signals::with(ChangeSignals::new().unwrap()).unwrap();
        let mut drain = signal(SignalKind::quit()).unwrap();
        for _ in 0..4 {
            kill_process(getpid(), Signal::QUIT).unwrap();
            // The drain is known of before the upgrade.
            drain.recv().await.unwrap();
            tokio::select! {
                biased;
                _ = signals.next() => panic!("nothing is due yet"),
                () = std::future::ready(()) => {}
            }
            kill_process(getpid(), Signal::USR2).unwrap();
            assert!(matches!(signals.next().await, SignalEvent::Upgrade));
            assert!(matches!(signals.next().await, SignalEvent::Drain));
        }
    }
}
