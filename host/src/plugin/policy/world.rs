//! What makes a plugin a policy, a filter or a scorer: its exports.

use wasmtime::component::{ComponentExportIndex, TypedFunc};

use super::super::component::{Kinds, Plugin};
use super::super::context::EndpointView;
use super::super::error::{ConfigureError, PluginError};
use super::super::world::{Contract, Exporter, FunctionFinder, Kind, World, WrongType};
use super::Outcome;

/// The world of policies.
pub(in crate::plugin) enum Policy {}

/// Where a component keeps a policy's functions.
#[derive(Clone)]
pub(in crate::plugin) struct PolicyExports {
    update: ComponentExportIndex,
    pick: ComponentExportIndex,
    pub(in crate::plugin) change: Option<ComponentExportIndex>,
    pub(in crate::plugin) failed: Option<ComponentExportIndex>,
    pub(in crate::plugin) done: Option<ComponentExportIndex>,
}

/// What a policy exports, types checked.
#[allow(clippy::type_complexity, reason = "the parameters that the WIT has")]
pub(in crate::plugin) struct PolicyFunctions {
    pub(super) update: Update,
    pub(super) pick: TypedFunc<(u64, u32, u64, u64, u64), (u32,)>,
    pub(super) change: Option<TypedFunc<(u64, Vec<(u32, EndpointView)>), ()>>,
    pub(super) failed: Option<TypedFunc<(u32,), ()>>,
    pub(super) done: Option<TypedFunc<(u64, u32, Outcome), ()>>,
}

/// `members.update`.
pub(super) type Update = TypedFunc<(u64, Vec<EndpointView>), ()>;

impl Contract for Policy {
    const KIND: Kind = Kind::Policy;
}

impl World for Policy {
    type Exports = PolicyExports;
    type Functions = PolicyFunctions;

    fn exports(component: &Exporter<'_>) -> Result<Option<PolicyExports>, PluginError> {
        let Some(pick) = component.interface("balancer")?.may("pick")? else {
            return Ok(None);
        };
        Ok(Some(PolicyExports {
            update: component.interface("members")?.must("update")?,
            pick,
            change: component.interface("member-changes")?.may("change")?,
            failed: component.interface("failures")?.may("failed")?,
            done: component.interface("observer")?.may("done")?,
        }))
    }

    fn of(kinds: &Kinds) -> Option<&PolicyExports> {
        kinds.policy.as_ref()
    }

    fn is_missing(plugin: &Plugin) -> ConfigureError {
        ConfigureError::is_no(plugin.name(), Self::KIND, plugin.uses())
    }

    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &PolicyExports,
    ) -> Result<PolicyFunctions, WrongType> {
        Ok(PolicyFunctions {
            update: instance.must("members.update", &exports.update)?,
            pick: instance.must("balancer.pick", &exports.pick)?,
            change: instance.may("member-changes.change", &exports.change)?,
            failed: instance.may("failures.failed", &exports.failed)?,
            done: instance.may("observer.done", &exports.done)?,
        })
    }
}

/// The world of filters.
pub(in crate::plugin) enum Filter {}

/// Where a component keeps a filter's functions.
#[derive(Clone)]
pub(in crate::plugin) struct FilterExports {
    update: ComponentExportIndex,
    narrow: ComponentExportIndex,
    may_be_ignored: ComponentExportIndex,
}

/// What a filter exports, types checked.
pub(in crate::plugin) struct FilterFunctions {
    pub(super) update: Update,
    pub(super) narrow: TypedFunc<(u32, u64, u32, u64, u64), (u64,)>,
    pub(super) may_be_ignored: TypedFunc<(), (bool,)>,
}

impl Contract for Filter {
    const KIND: Kind = Kind::Filter;
}

impl World for Filter {
    type Exports = FilterExports;
    type Functions = FilterFunctions;

    fn exports(component: &Exporter<'_>) -> Result<Option<FilterExports>, PluginError> {
        let filter = component.interface("filter")?;
        let Some(narrow) = filter.may("narrow")? else {
            return Ok(None);
        };
        Ok(Some(FilterExports {
            update: component.interface("members")?.must("update")?,
            narrow,
            may_be_ignored: filter.must("may-be-ignored")?,
        }))
    }

    fn of(kinds: &Kinds) -> Option<&FilterExports> {
        kinds.filter.as_ref()
    }

    fn is_missing(plugin: &Plugin) -> ConfigureError {
        ConfigureError::is_no(plugin.name(), Self::KIND, plugin.uses())
    }

    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &FilterExports,
    ) -> Result<FilterFunctions, WrongType> {
        Ok(FilterFunctions {
            update: instance.must("members.update", &exports.update)?,
            narrow: instance.must("filter.narrow", &exports.narrow)?,
            may_be_ignored: instance.must("filter.may-be-ignored", &exports.may_be_ignored)?,
        })
    }
}

/// The world of scorers.
pub(in crate::plugin) enum Scorer {}

/// Where a component keeps a scorer's functions.
#[derive(Clone)]
pub(in crate::plugin) struct ScorerExports {
    update: ComponentExportIndex,
    score: ComponentExportIndex,
}

/// What a scorer exports, types checked.
pub(in crate::plugin) struct ScorerFunctions {
    pub(super) update: Update,
    pub(super) score: TypedFunc<(u32, u64, u64), (Vec<u16>,)>,
}

impl Contract for Scorer {
    const KIND: Kind = Kind::Scorer;
}

impl World for Scorer {
    type Exports = ScorerExports;
    type Functions = ScorerFunctions;

    fn exports(component: &Exporter<'_>) -> Result<Option<ScorerExports>, PluginError> {
        let Some(score) = component.interface("scorer")?.may("score")? else {
            return Ok(None);
        };
        Ok(Some(ScorerExports {
            update: component.interface("members")?.must("update")?,
            score,
        }))
    }

    fn of(kinds: &Kinds) -> Option<&ScorerExports> {
        kinds.scorer.as_ref()
    }

    fn is_missing(plugin: &Plugin) -> ConfigureError {
        ConfigureError::is_no(plugin.name(), Self::KIND, plugin.uses())
    }

    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &ScorerExports,
    ) -> Result<ScorerFunctions, WrongType> {
        Ok(ScorerFunctions {
            update: instance.must("members.update", &exports.update)?,
            score: instance.must("scorer.score", &exports.score)?,
        })
    }
}
