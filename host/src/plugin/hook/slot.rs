//! The instance of a hook in its slot: the calls whose faults cost the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use smallvec::SmallVec;

use super::super::common::Sharing;
use super::super::component::Plugin;
use super::super::context::{ExchangeAtHand, UpstreamTraits};
use super::super::destinations::Destinations;
use super::super::error::ConfigureError;
use super::super::files::PluginFiles;
use super::super::imports::Surroundings;
use super::super::instance::Instance;
use super::super::slot::{FIRST, InstanceSlot, InstanceSpec};
use super::super::waiting::Reachable;
use super::world::{Hook, HookExports};
use super::{ExchangeSummary, HookCall};
use crate::http::variable::KnownNames;

/// How long a worker waits for a shared instance at the most. A hook that could not be asked fails
/// the request, so this is longer than a busy machine keeps the thread that holds the instance from
/// running.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// All that it takes to make an instance of a hook.
pub(in crate::plugin) struct HookSpec {
    pub(super) plugin: Plugin,
    /// JSON.
    pub(super) settings: String,
    /// What each place says for itself; JSON.
    pub(super) places: Vec<String>,
    pub(super) traits: UpstreamTraits,
    pub(super) variables: Arc<KnownNames>,
    pub(super) files: Arc<PluginFiles>,
    pub(super) destinations: Arc<Destinations>,
    pub(super) reachable: Reachable,
    /// An instance was made. What others would log of the same settings is known.
    pub(super) was_made: AtomicBool,
}

/// The place of a hook's instance.
pub(super) type HookSlot = InstanceSlot<HookSpec>;

/// An exchange has ended that an instance was asked about.
pub(in crate::plugin) struct HookReport {
    /// The instance that was asked; none for whichever there is.
    pub(super) generation: Option<u64>,
    pub(super) exchange: ExchangeAtHand,
    pub(super) call: HookCall,
    pub(super) key: SmallVec<[u8; 24]>,
    pub(super) summary: ExchangeSummary,
}

impl HookReport {
    /// The same report for the instance that took over from the one that was asked. If that one is
    /// gone, its own successor knows nothing.
    pub(super) fn into_successor(self) -> HookReport {
        HookReport {
            generation: self.generation.map(|_| FIRST),
            ..self
        }
    }
}

impl InstanceSpec for HookSpec {
    type World = Hook;
    type Report = HookReport;
    const MEANWHILE: &'static str = "its requests fail or pass without it, as `on_error` says";

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn make(&self) -> Result<(Box<Instance<Hook>>, Sharing), ConfigureError> {
        let surroundings = Surroundings {
            traits: self.traits,
            variables: self.variables.clone(),
            files: Some(self.files.clone()),
            destinations: Some(self.destinations.clone()),
            reachable: self.reachable.clone(),
            ..Surroundings::default()
        };
        let mut instance = Instance::<Hook>::new(&self.plugin, surroundings)?;
        let exports = self.plugin.inner().kinds.hook.as_ref();
        instance.state().call.sees_bodies = exports.map_or([false; 2], HookExports::bodies);
        instance.state().log.is_quiet = self.was_made.swap(true, Relaxed);
        let sharing = instance.configure(&self.settings)?;
        for (place, settings) in (0..).zip(&self.places) {
            instance.attach(place, settings)?;
        }
        instance.state().log.is_quiet = false;
        instance.note_memory();
        Ok((Box::new(instance), sharing))
    }

    fn tell(slot: &mut HookSlot, report: &HookReport) {
        let HookReport {
            generation,
            exchange,
            call,
            key,
            summary,
        } = report;
        if generation.is_none_or(|generation| generation == slot.generation()) {
            slot.call_present("on-end", |instance| {
                instance.on_end(exchange, call, key, summary)
            });
        }
    }
}
