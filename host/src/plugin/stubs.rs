//! What WASI has and plugins are not given: files, sockets, HTTP.
//!
//! Toolchains that bring an interpreter or a library along import all of it, and mostly call none of
//! it. It is there so that their components load: a list of directories is empty, anything else is a
//! trap, which says what was called.

use wasmtime::Result;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType, Val};

use super::host_state::HostState;
use super::interfaces;

/// What stands for resources of which nobody ever gets one.
enum Nothing {}

/// Whether an interface of WASI, by its name without a version, is there only so that a component
/// loads; `waits`: of a plugin that may ask upstreams.
pub(super) fn is_stub(interface: &str, waits: bool) -> bool {
    let asks = waits && matches!(interface, "wasi:http/types" | "wasi:http/outgoing-handler");
    interface.starts_with("wasi:") && !interfaces::is_free(interface) && !asks
}

/// A linker that has those that a component imports, as well; none where it imports none. `waits`:
/// it has all that concerns HTTP already.
///
/// # Errors
/// The engine takes none.
pub(super) fn with_stubs(
    linker: &Linker<HostState>,
    component: &Component,
    waits: bool,
) -> Result<Option<Linker<HostState>>> {
    let engine = component.engine();
    let mut stubbed = None;
    // A type that an interface takes from one before it is not its own.
    let mut resources: Vec<ResourceType> = Vec::new();
    for (import, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            continue;
        };
        let interface = interfaces::split(import).0;
        let mut stub = match is_stub(interface, waits) {
            true => Some(
                stubbed
                    .get_or_insert_with(|| linker.clone())
                    .instance(import)?,
            ),
            false => None,
        };
        for (name, item) in instance.exports(engine) {
            match (item.ty, &mut stub) {
                (ComponentItem::Resource(resource), _) if resources.contains(&resource) => {}
                (ComponentItem::Resource(resource), stub) => {
                    resources.push(resource);
                    if let Some(stub) = stub {
                        stub.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                    }
                }
                (ComponentItem::ComponentFunc(_), Some(stub)) => {
                    let called = format!("{interface}.{name}");
                    stub.func_new(name, move |_, _, _, results| answer(&called, results))?;
                }
                _ => {}
            }
        }
    }
    Ok(stubbed)
}

fn answer(called: &str, results: &mut [Val]) -> Result<()> {
    match (called, results) {
        ("wasi:filesystem/preopens.get-directories", [directories]) => {
            *directories = Val::List(Vec::new());
            Ok(())
        }
        _ => Err(wasmtime::format_err!(
            "called {called}, which plugins are not given"
        )),
    }
}
