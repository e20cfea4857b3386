//! What makes a plugin a policy: its exports, and what the host keeps for each instance.

use std::sync::Arc;

use wasmtime::component::{ComponentExportIndex, ComponentType, Lift, TypedFunc};

use super::super::error::PluginError;
use super::super::world::{Exporter, FunctionFinder, World, WrongType};
use super::host_calls::PolicyState;
use super::{EndpointView, InstanceScope, Outcome};

/// The interfaces that policies export: their package, and its version.
const PACKAGE: &str = "waypost:plugin";
const VERSION: &str = "0.1.0";

/// The world of policies.
pub(in crate::plugin) enum Policy {}

/// Where a component keeps a policy's functions.
pub(in crate::plugin) struct PolicyExports {
    configure: ComponentExportIndex,
    update: ComponentExportIndex,
    pick: ComponentExportIndex,
    pub(super) failed: Option<ComponentExportIndex>,
    pub(super) done: Option<ComponentExportIndex>,
    pub(super) export_state: Option<ComponentExportIndex>,
    import_state: Option<ComponentExportIndex>,
}

/// What a policy exports, types checked.
pub(in crate::plugin) struct PolicyFunctions {
    pub(super) configure: TypedFunc<(Arc<str>,), (Result<InstanceScope, SettingsError>,)>,
    pub(super) update: TypedFunc<(u64, Vec<EndpointView>), ()>,
    pub(super) pick: TypedFunc<(u64, u32, u64, u64, u64), (u32,)>,
    pub(super) failed: Option<TypedFunc<(u32,), ()>>,
    pub(super) done: Option<TypedFunc<(u64, u32, Outcome), ()>>,
    pub(super) export_state: Option<TypedFunc<(), (Vec<u8>,)>>,
    pub(super) import_state: Option<TypedFunc<(Vec<u8>,), (Accepted,)>>,
}

/// What `keeper.import-state` answers: why the state was not taken.
pub(in crate::plugin) type Accepted = Result<(), String>;

/// `balancer.settings-error` in the WIT.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct SettingsError {
    pub(super) key: String,
    pub(super) message: String,
}

impl World for Policy {
    type State = PolicyState;
    type Exports = PolicyExports;
    type Functions = PolicyFunctions;

    fn exports(component: &Exporter<'_>) -> Result<PolicyExports, PluginError> {
        let interface = |name| component.interface(PACKAGE, name, VERSION);
        let (balancer, keeper) = (interface("balancer")?, interface("keeper")?);
        let exports = PolicyExports {
            configure: balancer.must("configure")?,
            update: balancer.must("update")?,
            pick: balancer.must("pick")?,
            failed: interface("failures")?.may("failed"),
            done: interface("observer")?.may("done"),
            export_state: keeper.may("export-state"),
            import_state: keeper.may("import-state"),
        };
        // State that nothing takes is as useless as a taker of state that nothing gives.
        if exports.export_state.is_some() != exports.import_state.is_some() {
            keeper.must("export-state")?;
            keeper.must("import-state")?;
        }
        Ok(exports)
    }

    fn functions(
        instance: &mut FunctionFinder<'_, Policy>,
        exports: &PolicyExports,
    ) -> Result<PolicyFunctions, WrongType> {
        Ok(PolicyFunctions {
            configure: instance.must("balancer.configure", &exports.configure)?,
            update: instance.must("balancer.update", &exports.update)?,
            pick: instance.must("balancer.pick", &exports.pick)?,
            failed: instance.may("failures.failed", &exports.failed)?,
            done: instance.may("observer.done", &exports.done)?,
            export_state: instance.may("keeper.export-state", &exports.export_state)?,
            import_state: instance.may("keeper.import-state", &exports.import_state)?,
        })
    }
}
