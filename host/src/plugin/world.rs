//! What tells kinds of plugins apart: the *world*, which says what a plugin of a kind exports.
//! The kinds of our contract are [`Kind`]s; what answers requests is of a world of WASI's
//! ([`handler`](super::handler)).
//!
//! All else is the same for every kind: loading, what may be imported, the WASI, limits, deadlines,
//! budgets, statistics, histories, and instances that are made anew when they fail. One component
//! may be of several kinds.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    self, Component, ComponentExportIndex, ComponentNamedList, ComponentType, Lift, Lower,
    TypedFunc,
};

use super::component::{Kinds, Plugin};
use super::error::{ConfigureError, PluginError};
use super::host_state::HostState;
use super::interfaces::{self, PACKAGE, VERSION};
use super::untrusted::Untrusted;

/// `types.kind` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Kind {
    #[component(name = "policy")]
    Policy,
    #[component(name = "filter")]
    Filter,
    #[component(name = "scorer")]
    Scorer,
    #[component(name = "hook")]
    Hook,
}

/// As messages have the use of a plugin that answers requests itself, which is no [`Kind`] of our
/// contract.
pub(super) const COMPONENT: &str = "component";

impl Kind {
    /// As messages have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Policy => "policy",
            Kind::Filter => "filter",
            Kind::Scorer => "scorer",
            Kind::Hook => "hook",
        }
    }
}

impl Kind {
    /// The interface that a plugin of this kind exports.
    pub(super) fn interface(self) -> &'static str {
        match self {
            Kind::Policy => "balancer",
            Kind::Filter => "filter",
            Kind::Scorer => "scorer",
            Kind::Hook => "hook",
        }
    }
}

/// A kind of plugin that our contract has.
pub(super) trait Contract: World {
    const KIND: Kind;
}

/// What a plugin may be.
pub(super) trait World: Sized + 'static {
    /// Where a component keeps the functions of this world.
    type Exports: Send + Sync + 'static;
    /// The functions of one instance, types checked.
    type Functions: Send;

    /// Where a component keeps the functions, if it is of this kind.
    ///
    /// # Errors
    /// One that must be there then is missing, or is there in another version only.
    fn exports(component: &Exporter<'_>) -> Result<Option<Self::Exports>, PluginError>;

    /// Those of a plugin, if it is of this kind.
    fn of(kinds: &Kinds) -> Option<&Self::Exports>;

    /// That a plugin is not of this kind.
    fn is_missing(plugin: &Plugin) -> ConfigureError;

    /// The functions of an instance.
    ///
    /// # Errors
    /// The name of one that has the wrong type.
    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &Self::Exports,
    ) -> Result<Self::Functions, WrongType>;
}

/// A component whose exports are looked for.
pub(super) struct Exporter<'a> {
    pub(super) plugin: &'a str,
    pub(super) component: &'a Component,
}

impl<'a> Exporter<'a> {
    /// An interface of the contract by its name, there or not.
    ///
    /// # Errors
    /// It is there in another version only.
    pub(super) fn interface(&'a self, name: &str) -> Result<ExportedInterface<'a>, PluginError> {
        self.of_version(format!("{PACKAGE}/{name}"), VERSION)
    }

    /// An interface by its name and a version that any compatible one will do for, there or not.
    ///
    /// # Errors
    /// It is there in another version only.
    pub(super) fn of_version(
        &'a self,
        interface: String,
        version: &str,
    ) -> Result<ExportedInterface<'a>, PluginError> {
        let place = self
            .component
            .get_export_index(None, format!("{interface}@{version}"));
        if place.is_none() {
            let exports = self.component.component_type();
            let mut exports = exports.exports(self.component.engine());
            let same = |export: &str| interfaces::split(export).0 == interface;
            if let Some((found, _)) = exports.find(|(export, _)| same(export)) {
                return Err(interfaces::version_error(self.plugin, "exports", found));
            }
        }
        Ok(ExportedInterface {
            exporter: self,
            interface,
            place,
        })
    }
}

/// One interface that a component may export.
pub(super) struct ExportedInterface<'a> {
    exporter: &'a Exporter<'a>,
    interface: String,
    place: Option<ComponentExportIndex>,
}

impl ExportedInterface<'_> {
    /// Whether the component has it.
    pub(super) fn is_there(&self) -> bool {
        self.place.is_some()
    }

    /// Where a function is; none where the interface is not there.
    ///
    /// # Errors
    /// The interface is there without it.
    pub(super) fn may(&self, function: &str) -> Result<Option<ComponentExportIndex>, PluginError> {
        match self.is_there() {
            true => self.must(function).map(Some),
            false => Ok(None),
        }
    }

    /// Where a function is.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn must(&self, function: &str) -> Result<ComponentExportIndex, PluginError> {
        let component = self.exporter.component;
        let found = self.place.as_ref().and_then(|place| {
            match component.get_export(Some(place), function)? {
                (ComponentItem::ComponentFunc(_), index) => Some(index),
                _ => None,
            }
        });
        found.ok_or_else(|| PluginError::Export {
            plugin: self.exporter.plugin.to_owned(),
            export: format!("{}.{function}", self.interface),
            reason: Untrusted::message("it is missing"),
        })
    }
}

/// A function that has the wrong type, and in what.
pub(super) type WrongType = (&'static str, wasmtime::Error);

/// An instance whose functions are looked for.
pub(super) struct FunctionFinder<'a> {
    pub(super) store: &'a mut Store<HostState>,
    pub(super) instance: &'a component::Instance,
}

impl FunctionFinder<'_> {
    /// The function at a place, named in an error.
    pub(super) fn must<P, R>(
        &mut self,
        name: &'static str,
        export: &ComponentExportIndex,
    ) -> Result<TypedFunc<P, R>, WrongType>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.instance
            .get_typed_func(&mut *self.store, export)
            .map_err(|error| (name, error))
    }

    /// Like [`must`](FunctionFinder::must), for an export that need not be there.
    pub(super) fn may<P, R>(
        &mut self,
        name: &'static str,
        export: &Option<ComponentExportIndex>,
    ) -> Result<Option<TypedFunc<P, R>>, WrongType>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let export = export.as_ref();
        export.map(|export| self.must(name, export)).transpose()
    }
}
