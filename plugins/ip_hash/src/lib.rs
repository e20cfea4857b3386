//! `ip_hash`: an endpoint by the client's network, so that a client stays on its server
//! (`ngx_http_upstream_ip_hash_module.c`).
//!
//! The key is the first three bytes of an IPv4 address, all sixteen of an IPv6 address, three zeros
//! for a unix socket. A retry goes on hashing where the attempt before it stopped, and after 20
//! endpoints that were no candidates the choice falls back to turns by weight. Nothing here depends
//! on other requests, so each worker has an instance; the exchange keeps the state.

use std::net::IpAddr;

use waypost_sdk::{
    About, Describe, Endpoint, Failures, Pick, Policy, Settings, SettingsError, Shares, Sharing,
    SmoothWeighted,
};

/// Endpoints that were no candidates, per exchange, before turns take over.
const TRIES: u64 = 20;

/// Clients by network.
pub struct IpHash {
    turns: SmoothWeighted,
    shares: Shares,
}

/// Where the exchange stands.
struct Walk {
    /// Below 6271, always.
    hash: u64,
    tries: u64,
}

impl Walk {
    const START: u64 = 89;

    /// The memo holds the tries above the hash. 0, from before the first pick, is never written: no
    /// try has been made, but the hash of `START` and of any key after it may be 0, hence the mark
    /// above both.
    fn recall(pick: &Pick) -> Self {
        match pick.memo() {
            0 => Walk {
                hash: Self::START,
                tries: 0,
            },
            memo => Walk {
                hash: memo & 0xffff,
                tries: memo >> 16 & 0xff,
            },
        }
    }

    fn keep(&self, pick: &Pick) {
        pick.set_memo(1 << 32 | self.tries << 16 | self.hash);
    }
}

impl Policy for IpHash {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_backups()?;
        settings.finish()?;
        Ok(IpHash {
            turns: SmoothWeighted::default(),
            shares: Shares::default(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.shares = Shares::new(&endpoints);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        if self.turns.len() < 2 {
            return self.turns.pick(pick.candidates());
        }
        let mut walk = if pick.attempt == 0 {
            Walk {
                hash: Walk::START,
                tries: 0,
            }
        } else {
            Walk::recall(pick)
        };
        let (v4, v6);
        let key: &[u8] = match pick.connection().client_address() {
            Some(IpAddr::V4(address)) => {
                v4 = address.octets();
                &v4[..3]
            }
            Some(IpAddr::V6(address)) => {
                v6 = address.octets();
                &v6
            }
            None => &[0; 3],
        };
        while walk.tries <= TRIES {
            for byte in key {
                walk.hash = (walk.hash * 113 + u64::from(*byte)) % 6271;
            }
            let index = self.shares.at(walk.hash % self.shares.total())?;
            if pick.candidates().contains(index) {
                walk.keep(pick);
                return Some(index);
            }
            walk.tries += 1;
        }
        walk.keep(pick);
        self.turns.pick(pick.candidates())
    }
}

impl Failures for IpHash {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Describe for IpHash {
    fn describe() -> About {
        About::new("the server by the client's network").no_backups()
    }
}

waypost_sdk::export!(IpHash, failures, describe);

#[cfg(test)]
mod tests;
