//! Sessions in the store: they are there for all instances and all that comes after them, whatever
//! the size of a state.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use waypost_sdk::store::{self, StoreError};
use waypost_sdk::{Settings, SettingsError, log};

use crate::learn::Key;

/// Lines about a store that fails: one in so long a time.
const QUIET_US: u64 = 1_000_000;

pub(crate) struct SharedSessions {
    /// What their names begin with.
    upstream: String,
    timeout_ms: u64,
    now_us: u64,
    /// When the log was last told that the store fails.
    told_us: Option<u64>,
}

impl SharedSessions {
    pub(crate) fn new(settings: &Settings, timeout: Duration) -> Result<Self, SettingsError> {
        if store::is_elsewhere() {
            return Err(settings.error(
                "store",
                "a policy cannot wait for a store that is elsewhere (`[store] url`): keep clients \
                 by a `cookie`, which all machines understand",
            ));
        }
        Ok(SharedSessions {
            upstream: settings.upstream_name(),
            timeout_ms: u64::try_from(timeout.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
            now_us: 0,
            told_us: None,
        })
    }

    /// The id of the server that a session is bound to.
    pub(crate) fn find(&mut self, key: &Key, now_us: u64) -> Option<Rc<str>> {
        self.now_us = self.now_us.max(now_us);
        let found = store::get(self.name(key).as_bytes());
        let server = found.unwrap_or_else(|error| {
            self.tell(error);
            None
        });
        String::from_utf8(server?).ok().map(Rc::from)
    }

    /// Binds a session to a server, for as long as a session lives; one that `is_new` or is known.
    pub(crate) fn bind(&mut self, key: &Key, server: &str, is_new: bool) {
        let name = self.name(key);
        let is_known = || Ok(store::get(name.as_bytes())?.is_some());
        let bound = match if is_new { Ok(true) } else { is_known() } {
            Ok(true) => store::set(name.as_bytes(), server.as_bytes(), self.timeout_ms),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = bound {
            self.tell(error);
        }
    }

    fn name(&self, key: &Key) -> String {
        let mut name = format!("{}:", self.upstream);
        for byte in key {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    fn tell(&mut self, error: StoreError) {
        let is_told = |told: u64| self.now_us.saturating_sub(told) < QUIET_US;
        if self.told_us.is_some_and(is_told) {
            return;
        }
        self.told_us = Some(self.now_us);
        let upstream = &self.upstream;
        let line = match error {
            StoreError::Full => {
                format!("the store is full: new sessions of upstream \"{upstream}\" are not kept")
            }
            _ => format!("the store does not tell of sessions of upstream \"{upstream}\""),
        };
        log::error(&line);
    }
}
