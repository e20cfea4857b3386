//! What nginx's signals ask for.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub(super) enum SignalEvent {
    Stop,
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
        })
    }

    pub(super) async fn next(&mut self) -> SignalEvent {
        // The kernel tells no order. USR2 and then QUIT is nginx's way to upgrade; the other way round
        // nothing would be left to upgrade.
        tokio::select! {
            biased;
            _ = self.terminate.recv() => SignalEvent::Stop,
            _ = self.interrupt.recv() => SignalEvent::Stop,
            _ = self.changes.user2.recv() => SignalEvent::Upgrade,
            _ = self.quit.recv() => SignalEvent::Drain,
            _ = self.changes.hangup.recv() => SignalEvent::Reload,
            _ = self.changes.user1.recv() => SignalEvent::Reopen,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn an_upgrade_and_a_drain_that_were_asked_for_by_then_are_heeded_in_this_order() {
        let mut signals = Signals::with(ChangeSignals::new().unwrap()).unwrap();
        let mut upgrade = signal(SignalKind::user_defined2()).unwrap();
        let mut drain = signal(SignalKind::quit()).unwrap();
        // Chance would have it so now and then.
        for _ in 0..64 {
            kill_process(getpid(), Signal::QUIT).unwrap();
            kill_process(getpid(), Signal::USR2).unwrap();
            // Both have come.
            upgrade.recv().await.unwrap();
            drain.recv().await.unwrap();
            assert!(matches!(signals.next().await, SignalEvent::Upgrade));
            assert!(matches!(signals.next().await, SignalEvent::Drain));
        }
    }
}
