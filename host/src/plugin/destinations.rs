//! The routes and upstreams that hooks may lead requests to, by name: so that a name in settings
//! which leads nowhere is a problem at its line, and no surprise for a request.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::config::problem::did_you_mean;

/// What a name in settings is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Route,
    Upstream,
}

/// The names of a configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DestinationNames {
    pub routes: BTreeSet<String>,
    pub upstreams: BTreeSet<String>,
}

/// The names as one hook asks for them.
pub struct Destinations {
    names: Arc<DestinationNames>,
    asked: Mutex<BTreeSet<(Destination, String)>>,
}

impl DestinationNames {
    fn has(&self, destination: Destination, name: &str) -> bool {
        match destination {
            Destination::Route => self.routes.contains(name),
            Destination::Upstream => self.upstreams.contains(name),
        }
    }
}

impl Destinations {
    pub(super) fn new(names: Arc<DestinationNames>) -> Arc<Destinations> {
        Arc::new(Destinations {
            names,
            asked: Mutex::default(),
        })
    }

    /// Whether there is such a route or upstream.
    pub(super) fn has(&self, destination: Destination, name: &str) -> bool {
        self.asked.lock().insert((destination, name.to_owned()));
        self.names.has(destination, name)
    }

    /// `did you mean` for a name that leads nowhere.
    pub(super) fn near(&self, destination: Destination, name: &str) -> Option<String> {
        let known = match destination {
            Destination::Route => &self.names.routes,
            Destination::Upstream => &self.names.upstreams,
        };
        did_you_mean(name, known.iter().map(String::as_str))
    }

    /// Whether all that was asked so far has the same answers under these names.
    pub fn answer_alike_under(&self, names: &DestinationNames) -> bool {
        let asked = self.asked.lock();
        let mut asked = asked.iter();
        asked.all(|(destination, name)| {
            self.names.has(*destination, name) == names.has(*destination, name)
        })
    }
}
