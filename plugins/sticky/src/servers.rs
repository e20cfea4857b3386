//! Servers by id.

use std::collections::BTreeMap;
use std::rc::Rc;

use waypost_sdk::{Candidates, Endpoint};

/// The ids of the endpoints, both ways.
#[derive(Default)]
pub(crate) struct Servers {
    ids: Vec<Rc<str>>,
    indexes: BTreeMap<Rc<str>, Vec<usize>>,
}

impl Servers {
    /// Gives each endpoint its id.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Self {
        let mut servers = Servers::default();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let route = endpoint.route();
            let id: Rc<str> = if route.is_empty() {
                format!("{:x}", md5::compute(&endpoint.address)).into()
            } else {
                route.into()
            };
            servers
                .indexes
                .entry(Rc::clone(&id))
                .or_default()
                .push(index);
            servers.ids.push(id);
        }
        servers
    }

    /// The first candidate with this id, which a client sent and may be anything.
    pub(crate) fn find(&self, id: &[u8], candidates: &Candidates) -> Option<usize> {
        let indexes = self.indexes.get(str::from_utf8(id).ok()?)?;
        indexes
            .iter()
            .copied()
            .find(|&index| candidates.contains(index))
    }

    /// An endpoint's id.
    pub(crate) fn id(&self, index: usize) -> Option<&Rc<str>> {
        self.ids.get(index)
    }
}
