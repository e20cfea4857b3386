//! What tells kinds of plugins apart: the *world*, which says what a plugin exports, and what the
//! host keeps for each of its instances.
//!
//! All else is the same for every kind: loading, the WASI, limits, deadlines, budgets, statistics,
//! histories, and instances that are made anew when they fail. It knows plugins by this trait
//! alone.

use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    self, Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower,
    TypedFunc,
};

use super::error::PluginError;
use super::host_state::HostState;
use super::interfaces;
use super::untrusted::Untrusted;

/// A kind of plugin.
pub(super) trait World: Sized + 'static {
    /// What the host keeps for one instance, beside what it keeps for any.
    type State: Default + Send + 'static;
    /// Where a component keeps the functions of this world.
    type Exports: Send + Sync + 'static;
    /// The functions of one instance, types checked.
    type Functions: Send;

    /// Where a component keeps the functions.
    ///
    /// # Errors
    /// One that must be there is missing, or is there in another version only.
    fn exports(component: &Exporter<'_>) -> Result<Self::Exports, PluginError>;

    /// The functions of an instance.
    ///
    /// # Errors
    /// The name of one that has the wrong type.
    fn functions(
        instance: &mut FunctionFinder<'_, Self>,
        exports: &Self::Exports,
    ) -> Result<Self::Functions, WrongType>;
}

/// A component that is linked to what the host offers plugins of a world.
pub(super) struct Linked<W: World> {
    pub(super) component: InstancePre<HostState<W>>,
    pub(super) exports: W::Exports,
}

impl<W: World> Linked<W> {
    /// Links the component of the plugin `name`.
    pub(super) fn new(
        name: &str,
        linker: &Linker<HostState<W>>,
        component: &Component,
    ) -> Result<Linked<W>, PluginError> {
        let linked = linker.instantiate_pre(component);
        let linked = linked.map_err(|error| PluginError::Link {
            plugin: name.into(),
            reason: Untrusted::message(format_args!("{error:#}")),
        })?;
        let exporter = Exporter {
            plugin: name,
            component,
        };
        Ok(Linked {
            component: linked,
            exports: W::exports(&exporter)?,
        })
    }
}

/// A component whose exports are looked for.
pub(super) struct Exporter<'a> {
    plugin: &'a str,
    component: &'a Component,
}

impl<'a> Exporter<'a> {
    /// The interface `PACKAGE/NAME@VERSION`, there or not.
    ///
    /// # Errors
    /// It is there in another version only.
    pub(super) fn interface(
        &'a self,
        package: &'static str,
        name: &'static str,
        version: &'static str,
    ) -> Result<ExportedInterface<'a>, PluginError> {
        let interface = format!("{package}/{name}");
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
    /// Where a function is, if it is there.
    pub(super) fn may(&self, function: &str) -> Option<ComponentExportIndex> {
        let component = self.exporter.component;
        match component.get_export(self.place.as_ref(), function)? {
            (ComponentItem::ComponentFunc(_), index) if self.place.is_some() => Some(index),
            _ => None,
        }
    }

    /// Where a function is.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn must(&self, function: &str) -> Result<ComponentExportIndex, PluginError> {
        self.may(function).ok_or_else(|| PluginError::Export {
            plugin: self.exporter.plugin.to_owned(),
            export: format!("{}.{function}", self.interface),
            reason: Untrusted::message("it is missing"),
        })
    }
}

/// A function that has the wrong type, and in what.
pub(super) type WrongType = (&'static str, wasmtime::Error);

/// An instance whose functions are looked for.
pub(super) struct FunctionFinder<'a, W: World> {
    pub(super) store: &'a mut Store<HostState<W>>,
    pub(super) instance: &'a component::Instance,
}

impl<W: World> FunctionFinder<'_, W> {
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
