//! A use of a plugin as all workers share it: its settings, and the instances that serve it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use super::common::Sharing;
use super::component::Plugin;
use super::error::ConfigureError;
use super::slot::{InstanceSlot, InstanceSpec};

/// Instances among which the keys of a use are spread: a power of two, and the same whatever the
/// number of workers, so that a reload finds each key's table where it was. So many that 64 cores
/// seldom meet at one: see `docs/benchmarks.md`.
const SHARDS: usize = 64;

/// A use of a plugin. Shared by all workers.
pub(super) struct Role<S: InstanceSpec> {
    pub(super) spec: Arc<S>,
    /// The text whose value tells the instances apart, if it does.
    pub(super) key: Option<String>,
    /// Also of the roles before and behind, where the instances live on: see [`Role::continuing`].
    instances: Arc<Instances<S>>,
}

enum Instances<S: InstanceSpec> {
    /// Those that all workers share: one, or one for each shard of keys.
    Shared(Vec<SharedInstance<S>>),
    /// Each in a slot of its own; made ahead for workers that have not fetched theirs yet.
    OnePerWorker(Mutex<Vec<InstanceSlot<S>>>),
}

/// An instance that all workers share. A holder is in one call at the most, which ends at its
/// deadline.
pub(super) struct SharedInstance<S: InstanceSpec> {
    pub(super) slot: Mutex<InstanceSlot<S>>,
    /// It could not be told something that it must not miss.
    has_missed: AtomicBool,
}

impl<S: InstanceSpec> SharedInstance<S> {
    fn new(slot: InstanceSlot<S>) -> SharedInstance<S> {
        SharedInstance {
            slot: Mutex::new(slot),
            has_missed: AtomicBool::new(false),
        }
    }

    /// What it must not miss is lost.
    pub(super) fn note_missed(&self) {
        self.has_missed.store(true, Relaxed);
    }

    /// Whether something was lost since this was last asked.
    pub(super) fn take_missed(&self) -> bool {
        self.has_missed.load(Relaxed) && self.has_missed.swap(false, Relaxed)
    }
}

impl<S: InstanceSpec> Clone for Role<S> {
    /// The same use: nothing is made.
    fn clone(&self) -> Role<S> {
        Role {
            spec: self.spec.clone(),
            key: self.key.clone(),
            instances: self.instances.clone(),
        }
    }
}

impl<S: InstanceSpec> Role<S> {
    /// Makes an instance to learn whether the settings are right and how many instances the plugin
    /// asks for; for one that wants one per worker as many as are wanted `ahead`: so that workers
    /// need not wait for them.
    ///
    /// # Errors
    /// [`ConfigureError`].
    pub(super) fn new(spec: S, ahead: usize) -> Result<Role<S>, ConfigureError> {
        let spec = Arc::new(spec);
        let (instance, sharing) = spec.make()?;
        let in_slot = |instance| {
            let mut slot = InstanceSlot::new(spec.clone());
            slot.take(instance);
            slot
        };
        let mut slots = vec![in_slot(instance)];
        let wanted = match &sharing {
            Sharing::PerProcess => 1,
            Sharing::PerKey(_) => SHARDS,
            Sharing::PerWorker => ahead,
        };
        while slots.len() < wanted {
            slots.push(in_slot(spec.make()?.0));
        }
        let instances = match &sharing {
            Sharing::PerWorker => Instances::OnePerWorker(Mutex::new(slots)),
            Sharing::PerProcess | Sharing::PerKey(_) => {
                Instances::Shared(slots.into_iter().map(SharedInstance::new).collect())
            }
        };
        Ok(Role {
            spec,
            key: match sharing {
                Sharing::PerKey(key) => Some(key),
                Sharing::PerWorker | Sharing::PerProcess => None,
            },
            instances: Arc::new(instances),
        })
    }

    /// With the instances of `previous`, which are told what is different before they serve with
    /// `spec`: see [`InstanceSlot::follow`].
    pub(super) fn continuing(previous: &Role<S>, spec: S) -> Role<S> {
        Role {
            spec: Arc::new(spec),
            key: previous.key.clone(),
            instances: previous.instances.clone(),
        }
    }

    /// Whether its instances are those of `previous`.
    pub(super) fn continues(&self, previous: &Role<S>) -> bool {
        Arc::ptr_eq(&self.instances, &previous.instances)
    }

    /// Tells the shared instances what is different from the roles before. Waits for calls that are
    /// under way.
    pub(super) fn tell_shared(&self) {
        for shared in self.shared() {
            shared.slot.lock().follow(&self.spec);
        }
    }

    /// A worker's own slot, where the plugin does not share instances.
    pub(super) fn own(&self) -> Option<InstanceSlot<S>> {
        let Instances::OnePerWorker(ahead) = &*self.instances else {
            return None;
        };
        let ready = ahead.lock().pop();
        Some(ready.unwrap_or_else(|| InstanceSlot::new(self.spec.clone())))
    }

    pub(super) fn plugin(&self) -> &Plugin {
        self.spec.plugin()
    }

    /// The instances that all workers share; none where each has its own.
    pub(super) fn shared(&self) -> &[SharedInstance<S>] {
        match &*self.instances {
            Instances::Shared(slots) => slots,
            Instances::OnePerWorker(_) => &[],
        }
    }

    /// Which of the shared instances answers for a hash of a key.
    #[inline]
    pub(super) fn shard(&self, hash: u64) -> usize {
        // The high bits: tables within an instance use the low ones.
        match self.shared().len() {
            0 | 1 => 0,
            shards => (hash >> 32) as usize % shards,
        }
    }

    /// Whether what an instance of `previous` knows may mean something to one of this.
    pub(super) fn follows(&self, previous: &Role<S>) -> bool {
        // Keys in other shards would be looked for where they are not.
        let is_shared_alike = self.shared().len() == previous.shared().len();
        let (now, before) = (self.plugin(), previous.plugin());
        let keep_state = now.keeps_state() && before.keeps_state();
        is_shared_alike && keep_state && now.name() == before.name()
    }

    /// Takes over what the shared instances of `previous` know.
    ///
    /// # Errors
    /// The plugin failed at it; that instance begins without.
    pub(super) fn inherit(&self, previous: &Role<S>) -> Result<(), ConfigureError> {
        self.take_from(previous, InstanceSlot::export_state)
    }

    /// Begins with a copy of what the shared instances of `other` know, which go on.
    ///
    /// # Errors
    /// The plugin failed at it; that instance begins without.
    pub(super) fn copy(&self, other: &Role<S>) -> Result<(), ConfigureError> {
        self.take_from(other, InstanceSlot::copy_state)
    }

    fn take_from(
        &self,
        previous: &Role<S>,
        state_of: fn(&mut InstanceSlot<S>) -> Option<Vec<u8>>,
    ) -> Result<(), ConfigureError> {
        if self.continues(previous) || !self.follows(previous) {
            return Ok(());
        }
        let mut result = Ok(());
        for (now, before) in self.shared().iter().zip(previous.shared()) {
            let state = state_of(&mut before.slot.lock());
            let taken = state.map_or(Ok(()), |state| now.slot.lock().import_state(state));
            if let Err(fault) = taken {
                result = Err(ConfigureError::Faulted {
                    plugin: self.plugin().name().to_owned(),
                    when: "in `import-state`",
                    fault,
                });
            }
        }
        result
    }
}
