//! What is known of all lists, for whoever wants to see.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handed_on::Seeds;
use super::known::{self, Known, List, SourceState};
use crate::config::model::{Config, UpstreamConfig, UpstreamServer};

/// The servers that a source lists.
pub(crate) type Listed = Arc<[UpstreamServer]>;

/// An upstream whose servers are listed elsewhere, as far as the list's meaning depends on it.
#[derive(Clone)]
pub(super) struct Wanted(pub(super) Arc<UpstreamConfig>);

impl Wanted {
    pub(super) fn of(config: &Config) -> Vec<Wanted> {
        let listed = config.upstreams.iter();
        let listed = listed.filter(|upstream| upstream.source.is_some());
        let wanted = listed.map(|upstream| {
            Wanted(Arc::new(UpstreamConfig {
                servers: Vec::new(),
                overlays: Vec::new(),
                ..UpstreamConfig::clone(upstream)
            }))
        });
        wanted.collect()
    }

    /// Whether a list of this one is a list of the other.
    pub(super) fn is(&self, other: &UpstreamConfig) -> bool {
        let own = &*self.0;
        (&own.name, &own.source, &own.tls, &own.resolver)
            == (&other.name, &other.source, &other.tls, &other.resolver)
    }
}

/// What the thread knows, for all others to see.
#[derive(Default)]
pub(super) struct Shared {
    /// By upstream. Two of one name: a configuration is read that has another source for it.
    pub(super) seen: Mutex<BTreeMap<String, Vec<Seen>>>,
    /// What the process before knew. Until the first configuration is served.
    pub(super) seeds: Mutex<Seeds>,
    pub(super) changed: Notify,
}

pub(super) struct Seen {
    pub(super) wanted: Wanted,
    /// What was known before its first answer.
    pub(super) before: Option<List>,
    pub(super) list: Option<List>,
    /// The last list that was served. It alone is kept and handed on: one that nobody serves may be
    /// one that nobody can.
    pub(super) served: Option<List>,
    pub(super) state: SourceState,
    /// A list that cannot be served, for reasons that the list does not tell, and why.
    pub(super) refused: Option<(Listed, String)>,
}

impl Seen {
    /// The list, unless it cannot be served.
    pub(super) fn servable(&self) -> Option<&List> {
        let is_refused = |list: &&List| {
            let refused = self.refused.as_ref();
            refused.is_some_and(|(refused, _)| Arc::ptr_eq(refused, &list.servers))
        };
        self.list.as_ref().filter(|list| !is_refused(list))
    }

    /// The lists that may be served and are not known to be: that of the source, and what was known
    /// before it.
    pub(super) fn unserved(&self) -> Vec<List> {
        let served = self.served.as_ref();
        let is_new =
            |list: &&List| served.is_none_or(|served| !Arc::ptr_eq(&served.servers, &list.servers));
        let lists = self.servable().into_iter().chain(&self.before);
        lists.filter(is_new).cloned().collect()
    }

    /// Notes that this list is served. True where that is news from its source.
    pub(super) fn note_served(&mut self, list: &List) -> bool {
        let is = |other: &List| Arc::ptr_eq(&other.servers, &list.servers);
        let same = |served: &List| served.servers == list.servers;
        let is_news =
            !self.before.as_ref().is_some_and(is) && !self.served.as_ref().is_some_and(same);
        self.served = Some(list.clone());
        is_news
    }
}

impl Shared {
    pub(super) fn with<T>(
        &self,
        upstream: &UpstreamConfig,
        use_it: impl FnOnce(&mut Seen) -> T,
    ) -> Option<T> {
        let mut seen = self.seen.lock();
        let mut of_name = seen.get_mut(&upstream.name)?.iter_mut();
        of_name.find(|seen| seen.wanted.is(upstream)).map(use_it)
    }

    /// What is known before the first answer: of its own task before it began anew, what is served
    /// of another source of the same upstream, or what the process before knew.
    pub(super) fn before(&self, wanted: &Wanted) -> Option<List> {
        let name = &wanted.0.name;
        let items = {
            let seen = self.seen.lock();
            let of_name = || seen.get(name).into_iter().flatten();
            let own = of_name().find(|seen| seen.wanted.is(&wanted.0));
            let own = own.and_then(|own| own.list.as_ref());
            let known = own.or_else(|| of_name().find_map(|seen| seen.served.as_ref()));
            known.map(|list| list.items.to_vec())
        };
        let items = items.or_else(|| self.seeds.lock().get(name).cloned())?;
        Some(known::read(items, &wanted.0).ok()?.0)
    }

    /// The list that is to be on the disk: what is served, once its source has answered.
    pub(super) fn to_keep(&self, wanted: &Wanted) -> Option<List> {
        self.with(&wanted.0, |seen| {
            let served = seen.served.clone();
            served.filter(|_| seen.state.answered.is_some())
        })?
    }

    pub(super) fn note(&self, wanted: &Wanted, known: &Known) {
        let (list, state) = (known.list.clone(), known.state.clone());
        let mut seen = self.seen.lock();
        let of_name = seen.entry(wanted.0.name.clone()).or_default();
        match of_name.iter_mut().find(|seen| seen.wanted.is(&wanted.0)) {
            Some(seen) => {
                let is_other = |(refused, _): &mut (Listed, String)| {
                    let now = list.as_ref().map(|list| &list.servers);
                    now.is_none_or(|now| !Arc::ptr_eq(now, refused))
                };
                seen.refused.take_if(is_other);
                seen.list = list;
                seen.state = state;
            }
            None => of_name.push(Seen {
                wanted: wanted.clone(),
                before: list.clone(),
                list,
                served: None,
                state,
                refused: None,
            }),
        }
    }
}
