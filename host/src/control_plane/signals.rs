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
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> SignalEvent {
        tokio::select! {
            _ = self.terminate.recv() => SignalEvent::Stop,
            _ = self.interrupt.recv() => SignalEvent::Stop,
            _ = self.quit.recv() => SignalEvent::Drain,
            _ = self.hangup.recv() => SignalEvent::Reload,
            _ = self.user1.recv() => SignalEvent::Reopen,
            _ = self.user2.recv() => SignalEvent::Upgrade,
        }
    }
}
