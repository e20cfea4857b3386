//! Versions of plugins that are tried under a configuration: made for it beside what serves.
//!
//! A trial that begins must not be able to serve badly for a reason that is known beforehand, so what
//! its plugin has against the configuration refuses it. One that goes on refuses nothing: where it
//! cannot be carried over, it ends.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::assemble::{Balancing, balanced_for_check, narrowing, refusal, traits};
use super::hooks;
use super::plugins::Selection;
use crate::config::model::{Config, PolicyUse};
use crate::config::problem::{Place, Problem};
use crate::data_plane::upstream::{Upstream, UpstreamTrial};
use crate::data_plane::worker_config::{HookTrial, Snapshot, Trials};
use crate::names::Resolution;
use crate::plugin::{SharedHook, Trial, UpstreamTraits};

/// Makes what is tried beside the upstreams and hooks of a configuration. What `previous` has as it is
/// stays.
///
/// # Errors
/// What keeps trials from beginning.
pub(super) fn trials(
    config: &Config,
    plugins: &Selection,
    trials: &[Arc<Trial>],
    (upstreams, hooks): (&[Arc<Upstream>], &[Arc<SharedHook>]),
    previous: Option<&Snapshot>,
) -> Result<Trials, Vec<Problem>> {
    let mut made = Trials::default();
    let mut problems = Vec::new();
    let generation = previous.map_or(1, |snapshot| snapshot.generation + 1);
    for trial in trials {
        let context = Context {
            config,
            plugins: with_candidate(plugins, trial),
            trial,
            previous,
            generation,
        };
        let begun = context.make((upstreams, hooks), &mut made);
        match begun {
            Ok(()) => {}
            Err(problem) if trial.has_begun() => trial.note_broken(problem.in_one_line()),
            Err(mut problem) => {
                let name = trial.candidate().name();
                problem.message = format!("the version of `{name}` on trial: {}", problem.message);
                problems.push(problem);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(made),
        false => Err(problems),
    }
}

/// What keeps trials from beginning, for a check.
pub(super) fn problems(
    config: &Config,
    plugins: &Selection,
    trials: &[Arc<Trial>],
    resolution: &Resolution,
) -> Vec<Problem> {
    if trials.is_empty() {
        return Vec::new();
    }
    let upstreams = traits(config).into_iter().enumerate();
    let upstreams = upstreams.map(|of_upstream| {
        balanced_for_check(of_upstream, None, config, plugins, resolution).map(Arc::new)
    });
    // What is wrong with these is said elsewhere.
    let (Ok(upstreams), Ok(hooks)) = (
        upstreams.collect::<Result<Vec<_>, Problem>>(),
        hooks::hooks(config, plugins, None),
    ) else {
        return Vec::new();
    };
    let made = self::trials(config, plugins, trials, (&upstreams, &hooks), None);
    made.err().unwrap_or_default()
}

/// The plugins, with a version that is tried in the place of the one that serves.
fn with_candidate(plugins: &Selection, trial: &Trial) -> Selection {
    let mut plugins: HashMap<_, _> = plugins.clone();
    let candidate = trial.candidate();
    plugins.insert(candidate.name().to_owned(), candidate.clone());
    plugins
}

/// What one trial is made of.
struct Context<'a> {
    config: &'a Config,
    plugins: Selection,
    trial: &'a Arc<Trial>,
    previous: Option<&'a Snapshot>,
    generation: u64,
}

impl Context<'_> {
    /// Where the entry has it, or the plugin.
    fn place(&self) -> &Place {
        static NOWHERE: LazyLock<Place> = LazyLock::new(Place::default);
        let name = self.trial.candidate().name();
        let entry = self.config.plugins.iter().find(|entry| entry.name == name);
        match entry {
            Some(entry) => (entry.trial.as_ref()).map_or(&entry.place, |trial| &trial.place),
            None => &NOWHERE,
        }
    }

    fn make(
        &self,
        (upstreams, hooks): (&[Arc<Upstream>], &[Arc<SharedHook>]),
        made: &mut Trials,
    ) -> Result<(), Problem> {
        let name = self.trial.candidate().name();
        let mut components = self.config.components.iter();
        if components.any(|component| component.plugin == name) {
            let message = format!(
                "`{name}` answers requests as a route's `component`: policies and hooks alone can be \
                 tried beside the version that serves; load the other version instead"
            );
            return Err(Problem::new(self.place(), message));
        }
        if self.trial.is_shadow() {
            self.may_be_shadow()?;
        }
        let of_upstreams = self.config.upstreams.iter().zip(traits(self.config));
        let uses_it = |policy: &PolicyUse| {
            policy.plugin == name || narrowing(policy).any(|(_, part)| part.plugin == name)
        };
        let mut uses = 0;
        for (index, (upstream, traits)) in of_upstreams.enumerate() {
            if !uses_it(&upstream.policy) {
                continue;
            }
            uses += 1;
            if let Some(other) = made.upstreams.get(&index) {
                let other = other.trial.candidate().name();
                let upstream = &upstream.name;
                let message = format!(
                    "upstream `{upstream}` takes part in the trial of `{other}` already: one at a time"
                );
                return Err(Problem::new(self.place(), message));
            }
            let trial = self.of_upstream((index, traits), &upstreams[index])?;
            made.upstreams.insert(index, trial);
        }
        for (index, hook) in self.config.hooks.iter().enumerate() {
            if hook.plugin == name {
                uses += 1;
                made.hooks
                    .insert(index, self.of_hook(index, &hooks[index])?);
            }
        }
        match uses {
            0 => Err(Problem::new(
                self.place(),
                format!("nothing uses `{name}`, so there is nothing to try it with"),
            )),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// What it would do is more than what can be dropped.
    fn may_be_shadow(&self) -> Result<(), Problem> {
        let candidate = self.trial.candidate();
        let why = match (candidate.stores(), candidate.waits()) {
            (true, _) => "it writes to the store, which all versions share",
            (_, true) => "it waits for upstreams, which would get its requests as well",
            (false, false) => return Ok(()),
        };
        let message = format!("it cannot be a shadow: {why}; try it as a canary");
        Err(Problem::new(self.place(), message))
    }

    fn of_upstream(
        &self,
        (index, traits): (usize, UpstreamTraits),
        upstream: &Arc<Upstream>,
    ) -> Result<Arc<UpstreamTrial>, Problem> {
        let config = &upstream.config;
        let before = self.previous.and_then(|previous| {
            let before = previous.upstream_before(index, &config.name)?;
            let at = previous.upstream_index(&config.name)?;
            let of_before = previous.trials.upstreams.get(&at)?;
            let is_same = Arc::ptr_eq(&of_before.trial, self.trial);
            is_same.then_some((before, of_before))
        });
        if let Some((before, of_before)) = before
            && Arc::ptr_eq(before, upstream)
        {
            return Ok(of_before.clone());
        }
        let balancing =
            Balancing::of((index, traits), self.config, &self.plugins, self.generation)?;
        let before = before.map(|(_, of_before)| &**of_before);
        let made = UpstreamTrial::new(self.trial, upstream, before, |fleet| {
            balancing.build(fleet, None)
        });
        made.map(Arc::new).map_err(|error| refusal(config, &error))
    }

    fn of_hook(&self, index: usize, serving: &Arc<SharedHook>) -> Result<Arc<HookTrial>, Problem> {
        let before = self.previous.and_then(|previous| {
            let before = previous.predecessor(&self.config.hooks[index])?;
            let mut known = previous.hooks.iter();
            let at = known.position(|known| Arc::ptr_eq(known, before))?;
            let of_before = previous.trials.hooks.get(&at)?;
            let is_same = Arc::ptr_eq(&of_before.trial, self.trial);
            is_same.then_some((before, of_before))
        });
        if let Some((before, of_before)) = before
            && Arc::ptr_eq(before, serving)
        {
            return Ok(of_before.clone());
        }
        let candidate = hooks::candidate(index, self.config, &self.plugins)?;
        let taken = match before {
            Some((_, of_before)) => candidate.inherit(&of_before.candidate),
            None => candidate.copy(serving),
        };
        taken.map_err(|error| hooks::refusal(&self.config.hooks[index], &[], &error))?;
        Ok(Arc::new(HookTrial {
            trial: self.trial.clone(),
            candidate: Arc::new(candidate),
        }))
    }
}
