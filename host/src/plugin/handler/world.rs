//! What makes a plugin a handler: `wasi:http/incoming-handler`.

use wasmtime::component::{ComponentExportIndex, Resource, TypedFunc};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};

use super::super::component::{Kinds, Plugin};
use super::super::error::{ConfigureError, PluginError};
use super::super::world::{Exporter, FunctionFinder, World, WrongType};

/// The interface, and the version of it that we have: any patch of 0.2 will do.
const INTERFACE: &str = "wasi:http/incoming-handler";
const VERSION: &str = "0.2.12";

/// The world of handlers.
pub(in crate::plugin) enum Handler {}

/// Where a component keeps a handler's function.
#[derive(Clone)]
pub(in crate::plugin) struct HandlerExports {
    handle: ComponentExportIndex,
}

/// What a handler exports, types checked.
pub(in crate::plugin) struct HandlerFunctions {
    pub(super) handle: TypedFunc<
        (
            Resource<HostIncomingRequest>,
            Resource<HostResponseOutparam>,
        ),
        (),
    >,
}

impl World for Handler {
    type Exports = HandlerExports;
    type Functions = HandlerFunctions;

    fn exports(component: &Exporter<'_>) -> Result<Option<HandlerExports>, PluginError> {
        let interface = component.of_version(INTERFACE.to_owned(), VERSION)?;
        let handle = interface.may("handle")?;
        Ok(handle.map(|handle| HandlerExports { handle }))
    }

    fn of(kinds: &Kinds) -> Option<&HandlerExports> {
        kinds.handler.as_ref()
    }

    fn is_missing(plugin: &Plugin) -> ConfigureError {
        ConfigureError::NoHandler {
            plugin: plugin.name().to_owned(),
            uses: plugin.uses(),
        }
    }

    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &HandlerExports,
    ) -> Result<HandlerFunctions, WrongType> {
        Ok(HandlerFunctions {
            handle: instance.must("wasi:http/incoming-handler.handle", &exports.handle)?,
        })
    }
}
