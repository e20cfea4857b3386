//! What plugins of every kind export: their settings, what they say of themselves, and what they
//! may have besides.

use std::sync::Arc;

use wasmtime::component::{ComponentExportIndex, ComponentType, Lift, TypedFunc};

use super::error::PluginError;
use super::world::{Exporter, FunctionFinder, Kind, WrongType};

/// Where a component keeps the functions that every kind has.
#[derive(Clone)]
pub(super) struct CommonExports {
    /// None of a plugin of no kind that our contract has.
    configure: Option<ComponentExportIndex>,
    pub(super) describe: Option<ComponentExportIndex>,
    pub(super) export_state: Option<ComponentExportIndex>,
    import_state: Option<ComponentExportIndex>,
    pub(super) tick: Option<ComponentExportIndex>,
    pub(super) changed: Option<ComponentExportIndex>,
}

/// The functions that every kind has, types checked.
#[allow(clippy::type_complexity, reason = "the parameters that the WIT has")]
pub(super) struct CommonFunctions {
    pub(super) configure: Option<TypedFunc<(Kind, Arc<str>), (Result<Sharing, SettingsError>,)>>,
    pub(super) describe: Option<TypedFunc<(Kind,), (About,)>>,
    pub(super) export_state: Option<TypedFunc<(), (Vec<u8>,)>>,
    pub(super) import_state: Option<TypedFunc<(Vec<u8>,), (Accepted,)>>,
    pub(super) tick: Option<TypedFunc<(u64,), (u32,)>>,
    pub(super) changed: Option<TypedFunc<(Arc<str>, Option<Arc<[u8]>>), ()>>,
}

/// What `keeper.import-state` answers: why the state was not taken.
pub(super) type Accepted = Result<(), String>;

/// How many instances a plugin wants: see `types.sharing` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
#[allow(clippy::enum_variant_names, reason = "the words that the WIT has")]
pub(super) enum Sharing {
    #[component(name = "per-worker")]
    PerWorker,
    #[component(name = "per-process")]
    PerProcess,
    #[component(name = "per-key")]
    PerKey(String),
}

/// `types.settings-error` in the WIT.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct SettingsError {
    pub(super) key: String,
    pub(super) message: String,
}

/// What a plugin says of itself: see `description.about` in the WIT.
#[derive(Debug, Clone, Default, PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub struct About {
    pub summary: String,
    pub settings: String,
    #[component(name = "place-settings")]
    pub place_settings: String,
    pub backups: bool,
    pub streams: bool,
}

impl CommonExports {
    /// `has_kind`: one of our contract.
    pub(super) fn of(
        component: &Exporter<'_>,
        has_kind: bool,
    ) -> Result<CommonExports, PluginError> {
        let keeper = component.interface("keeper")?;
        let plugin = component.interface("plugin")?;
        Ok(CommonExports {
            configure: match has_kind {
                true => Some(plugin.must("configure")?),
                false => None,
            },
            describe: component.interface("description")?.may("describe")?,
            export_state: keeper.may("export-state")?,
            import_state: keeper.may("import-state")?,
            tick: component.interface("ticker")?.may("tick")?,
            changed: component.interface("file-changes")?.may("changed")?,
        })
    }

    pub(super) fn functions(
        &self,
        instance: &mut FunctionFinder<'_>,
    ) -> Result<CommonFunctions, WrongType> {
        Ok(CommonFunctions {
            configure: instance.may("plugin.configure", &self.configure)?,
            describe: instance.may("description.describe", &self.describe)?,
            export_state: instance.may("keeper.export-state", &self.export_state)?,
            import_state: instance.may("keeper.import-state", &self.import_state)?,
            tick: instance.may("ticker.tick", &self.tick)?,
            changed: instance.may("file-changes.changed", &self.changed)?,
        })
    }
}
