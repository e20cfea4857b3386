//! What is not about policies works for plugins of any world: here for one that answers a number.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, Linker, TypedFunc};

use crate::plugin::engine_config::engine_config;
use crate::plugin::instance::Instance;
use crate::plugin::slot::{InstanceSlot, InstanceSpec};
use crate::plugin::world::{Exporter, FunctionFinder, Linked, World, WrongType};
use crate::plugin::{ConfigureError, Plugin, PluginError, guest_log, wasi};

use super::guests::{Guest, component};
use super::peers::logged;

/// `answer` answers a number, and `fail` traps, if it is there.
enum Probe {}

struct ProbeExports {
    answer: ComponentExportIndex,
    fail: Option<ComponentExportIndex>,
}

struct ProbeFunctions {
    answer: TypedFunc<(), (u32,)>,
    fail: Option<TypedFunc<(), ()>>,
}

impl World for Probe {
    type State = ();
    type Exports = ProbeExports;
    type Functions = ProbeFunctions;

    fn exports(component: &Exporter<'_>) -> Result<ProbeExports, PluginError> {
        let probe = component.interface("test:probe", "probe", "1.0.0")?;
        Ok(ProbeExports {
            answer: probe.must("answer")?,
            fail: probe.may("fail"),
        })
    }

    fn functions(
        instance: &mut FunctionFinder<'_, Probe>,
        exports: &ProbeExports,
    ) -> Result<ProbeFunctions, WrongType> {
        Ok(ProbeFunctions {
            answer: instance.must("probe.answer", &exports.answer)?,
            fail: instance.may("probe.fail", &exports.fail)?,
        })
    }
}

/// A component of that world, at this version of the interface and with these exports.
fn probe(version: &str, exports: &str) -> Result<Linked<Probe>, PluginError> {
    let text = format!(
        r#"(core module $m (func (export "answer") (result i32) (i32.const 42))
                           (func (export "fail") unreachable))
           (core instance $i (instantiate $m))
           (func $answer (result u32) (canon lift (core func $i "answer")))
           (func $fail (canon lift (core func $i "fail")))
           (instance $probe {exports})
           (export "test:probe/probe@{version}" (instance $probe))"#
    );
    let engine = Engine::new(&engine_config()).unwrap();
    let mut linker = Linker::new(&engine);
    guest_log::add_to::<Probe>(&mut linker).unwrap();
    wasi::add_to(&mut linker).unwrap();
    let component = Component::from_binary(&engine, &component(&text)).unwrap();
    Linked::new("probe", &linker, &component)
}

const BOTH: &str = r#"(export "answer" (func $answer)) (export "fail" (func $fail))"#;

struct ProbeSpec {
    plugin: Plugin,
    linked: Linked<Probe>,
}

impl InstanceSpec for ProbeSpec {
    type World = Probe;

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn make(&self) -> Result<Box<Instance<Probe>>, ConfigureError> {
        let made = Instance::new(&self.plugin, &self.linked, ());
        made.map(Box::new)
            .map_err(|fault| self.plugin.faulted(fault))
    }
}

#[test]
fn a_plugin_of_another_world_is_called_and_comes_back_after_a_fault() {
    let (plugin, linked) = (Guest::default().load(), probe("1.0.0", BOTH).unwrap());
    let mut slot = InstanceSlot::new(Arc::new(ProbeSpec {
        plugin: plugin.clone(),
        linked,
    }));
    let answer = |slot: &mut InstanceSlot<ProbeSpec>| {
        slot.call("answer", |instance| {
            instance.call(Duration::from_secs(1), instance.functions.answer, ())
        })
    };
    assert_eq!(answer(&mut slot), Some((42,)));
    let log = logged(|| {
        let failed = slot.call("fail", |instance| {
            let fail = instance.functions.fail.unwrap();
            instance.call(Duration::from_secs(1), fail, ())
        });
        assert_eq!(failed, None);
    });
    assert!(log.contains("failed in `fail`"), "{log}");
    assert_eq!(plugin.stats().traps, 1);
    let back = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(1));
        answer(&mut slot)
    });
    assert_eq!((back, slot.generation()), (Some((42,)), 2));
}

#[test]
fn exports_of_another_world_are_looked_for_by_name_and_version() {
    let without = probe("1.0.0", r#"(export "fail" (func $fail))"#);
    let error = without.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("`test:probe/probe.answer`"), "{error}");
    let other = probe("2.0.0", BOTH).map(|_| ()).unwrap_err().to_string();
    assert!(other.contains("`test:probe/probe@2.0.0`"), "{other}");
    assert!(probe("1.0.0", r#"(export "answer" (func $answer))"#).is_ok());
}
