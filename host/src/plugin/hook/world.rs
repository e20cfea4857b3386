//! What makes a plugin a hook: its exports.

use std::sync::Arc;

use wasmtime::component::{ComponentExportIndex, TypedFunc};

use super::super::common::SettingsError;
use super::super::component::{Kinds, Plugin};
use super::super::error::{ConfigureError, PluginError};
use super::super::world::{Contract, Exporter, FunctionFinder, Kind, World, WrongType};
use super::{ExchangeSummary, Verdict};

/// The world of hooks.
pub(in crate::plugin) enum Hook {}

/// Where a component keeps a hook's functions.
#[derive(Clone)]
pub(in crate::plugin) struct HookExports {
    attach: ComponentExportIndex,
    pub(in crate::plugin) on_request: Option<ComponentExportIndex>,
    pub(in crate::plugin) on_check: Option<ComponentExportIndex>,
    pub(in crate::plugin) on_response: Option<ComponentExportIndex>,
    pub(in crate::plugin) on_end: Option<ComponentExportIndex>,
    pub(in crate::plugin) on_request_body: Option<ComponentExportIndex>,
    pub(in crate::plugin) on_response_body: Option<ComponentExportIndex>,
}

/// A call about a body: what there is of it, and whether that is the end.
type OnBody = TypedFunc<(u64, u32, u64, Arc<Vec<u8>>, bool), (Verdict,)>;

/// What a hook exports, types checked.
#[allow(clippy::type_complexity, reason = "the parameters that the WIT has")]
pub(in crate::plugin) struct HookFunctions {
    pub(super) attach: TypedFunc<(u32, Arc<str>), (Result<(), SettingsError>,)>,
    pub(super) on_request: Option<TypedFunc<(u64, u32, u64, u64), (Verdict,)>>,
    pub(super) on_check: Option<TypedFunc<(u64, u32, u64, bool), (Verdict,)>>,
    pub(super) on_response: Option<TypedFunc<(u64, u32, u64), ()>>,
    pub(super) on_end: Option<TypedFunc<(u64, u32, u64, ExchangeSummary), ()>>,
    pub(super) on_request_body: Option<OnBody>,
    pub(super) on_response_body: Option<OnBody>,
}

impl HookExports {
    /// Which bodies it can be asked about: those of requests, those of answers.
    pub(in crate::plugin) fn bodies(&self) -> [bool; 2] {
        [&self.on_request_body, &self.on_response_body].map(Option::is_some)
    }
}

impl Contract for Hook {
    const KIND: Kind = Kind::Hook;
}

impl World for Hook {
    type Exports = HookExports;
    type Functions = HookFunctions;

    fn exports(component: &Exporter<'_>) -> Result<Option<HookExports>, PluginError> {
        let Some(attach) = component.interface("hook")?.may("attach")? else {
            return Ok(None);
        };
        let phase = |name| component.interface(name)?.may(name);
        Ok(Some(HookExports {
            attach,
            on_request: phase("on-request")?,
            on_check: phase("on-check")?,
            on_response: phase("on-response")?,
            on_end: phase("on-end")?,
            on_request_body: phase("on-request-body")?,
            on_response_body: phase("on-response-body")?,
        }))
    }

    fn of(kinds: &Kinds) -> Option<&HookExports> {
        kinds.hook.as_ref()
    }

    fn is_missing(plugin: &Plugin) -> ConfigureError {
        ConfigureError::is_no(plugin.name(), Self::KIND, plugin.uses())
    }

    fn functions(
        instance: &mut FunctionFinder<'_>,
        exports: &HookExports,
    ) -> Result<HookFunctions, WrongType> {
        Ok(HookFunctions {
            attach: instance.must("hook.attach", &exports.attach)?,
            on_request: instance.may("on-request.on-request", &exports.on_request)?,
            on_check: instance.may("on-check.on-check", &exports.on_check)?,
            on_response: instance.may("on-response.on-response", &exports.on_response)?,
            on_end: instance.may("on-end.on-end", &exports.on_end)?,
            on_request_body: instance
                .may("on-request-body.on-request-body", &exports.on_request_body)?,
            on_response_body: instance.may(
                "on-response-body.on-response-body",
                &exports.on_response_body,
            )?,
        })
    }
}
