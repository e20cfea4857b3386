//! The host and the text of the contract (`wit`) say the same, and what was released stays as it
//! is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wit_component::StringEncoding;
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, Stability, World, WorldId, WorldItem};

use crate::plugin::engine_config::engine_config;
use crate::plugin::host_state::HostState;
use crate::plugin::{Hash, imports, interfaces};

use super::guests::{component, contract, load, options, refusal};

/// A module that imports all that a world imports and exports all that it exports.
fn dummy(resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let mangling = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let mut module = wit_component::dummy_module(resolve, world, mangling);
    let encoding = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, resolve, world, encoding).unwrap();
    module
}

/// The interfaces with functions that plugins may import, and how many functions there are.
fn imported(resolve: &Resolve, world: &World) -> (Vec<String>, usize) {
    let interfaces = world.imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
        _ => None,
    });
    let interfaces: Vec<_> = interfaces
        .filter(|interface| !interface.functions.is_empty())
        .collect();
    let name = |interface: &&wit_parser::Interface| interface.name.clone().unwrap();
    let functions = interfaces.iter().map(|interface| interface.functions.len());
    (interfaces.iter().map(name).collect(), functions.sum())
}

#[test]
fn a_plugin_of_every_world_that_is_a_whole_one_loads() {
    let (resolve, package) = contract();
    let mut loaded = Vec::new();
    for (name, world) in &resolve.packages[package].worlds {
        if name == "imports" || name.starts_with("with-") {
            continue;
        }
        match load(name, &dummy(&resolve, *world)) {
            Ok(plugin) => loaded.push(format!("{name}: {}", plugin.interfaces().join(" "))),
            Err(error) => panic!("world `{name}`: {error}"),
        }
    }
    loaded.sort_unstable();
    let expected = [
        "endpoint-filter: filter",
        "endpoint-scorer: scorer",
        "full-hook: hook on-request on-check on-response on-request-body on-response-body on-end keeper ticker file-changes",
        "full-policy: policy member-changes failures observer keeper ticker file-changes",
        "policy: policy",
        "request-hook: hook",
    ];
    assert_eq!(loaded, expected);
}

#[test]
fn every_optional_export_has_a_world_that_adds_it_and_the_full_worlds_have_it() {
    let (resolve, package) = contract();
    let exports = |world: &str| -> Vec<String> {
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        let keys = resolve.worlds[world].exports.keys();
        keys.map(|key| resolve.name_world_key(key)).collect()
    };
    let whole = [exports("policy"), exports("request-hook")].concat();
    let mut optional = [exports("full-policy"), exports("full-hook")].concat();
    optional.retain(|export| !whole.contains(export));
    optional.sort_unstable();
    optional.dedup();
    let worlds = resolve.packages[package].worlds.keys();
    let added = worlds.filter(|world| world.starts_with("with-"));
    let mut added: Vec<String> = added.flat_map(|world| exports(world)).collect();
    added.sort_unstable();
    assert_eq!(added, optional);
}

/// The texts between quotes in a file.
fn quoted(file: &Path) -> Vec<String> {
    let source = fs::read_to_string(file).unwrap();
    let parts = source.split('"').skip(1).step_by(2);
    parts.map(str::to_owned).collect()
}

/// That every function of the contract is defined, the dummies above show; here, that no others
/// are: of all texts in the sources of the imports, as many name a function that is there as the
/// contract has functions.
#[test]
fn the_host_defines_no_functions_but_those_of_the_contract() {
    let (resolve, package) = contract();
    let world = resolve.select_world(&[package], Some("imports")).unwrap();
    let (interfaces, functions) = imported(&resolve, &resolve.worlds[world]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin");
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("imports"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.push(folder.join("guest_log.rs"));
    let names: BTreeSet<String> = files.iter().flat_map(|file| quoted(file)).collect();
    let engine = wasmtime::Engine::new(&engine_config()).unwrap();
    let mut linker = Linker::<HostState>::new(&engine);
    imports::add_to(&mut linker, false).unwrap();
    let mut defined = 0;
    for interface in &interfaces {
        let interface = format!("waypost:plugin/{interface}@0.2.0");
        let mut interface = linker.instance(&interface).unwrap();
        // What is there already cannot be defined.
        let again = |name: &&String| {
            interface
                .func_wrap(name, |_: StoreContextMut<'_, HostState>, (): ()| Ok(()))
                .is_err()
        };
        defined += names.iter().filter(again).count();
    }
    assert_eq!(defined, functions);
    for interface in interfaces {
        let import = format!(
            r#"(import "waypost:plugin/{interface}@0.2.0"
                 (instance (export "weather" (func (result u32)))))"#
        );
        let error = refusal(&component(&import), &options());
        assert!(
            error.contains("does not fit the interfaces it imports"),
            "{error}"
        );
        let listed = interfaces::IMPORTS.split(|c: char| !c.is_alphanumeric() && c != '-');
        assert!(
            listed.into_iter().any(|word| word == interface),
            "{interface}"
        );
    }
}

#[test]
fn every_item_of_the_contract_tells_since_when_it_is_there() {
    let (resolve, package) = contract();
    let package = &resolve.packages[package];
    let version = package.name.version.as_ref().unwrap();
    let mut items = Vec::new();
    for (name, world) in &package.worlds {
        items.push((name.clone(), &resolve.worlds[*world].stability));
    }
    for (interface, id) in &package.interfaces {
        let id = &resolve.interfaces[*id];
        items.push((interface.clone(), &id.stability));
        for (name, function) in &id.functions {
            items.push((format!("{interface}.{name}"), &function.stability));
        }
        for (name, of_type) in &id.types {
            let stability = &resolve.types[*of_type].stability;
            items.push((format!("{interface}.{name}"), stability));
        }
    }
    assert!(items.len() > 150, "{}", items.len());
    for (name, stability) in items {
        match stability {
            Stability::Stable { since, .. } => assert!(since <= version, "{name}: {since}"),
            other => panic!("`{name}` has no `@since`: {other:?}"),
        }
    }
}

/// What is in a folder of the contract: the names of its files and what they hold.
fn digest(folder: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_unstable();
    let mut all = Vec::new();
    for file in files {
        let content = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        all.extend(format!("{name} {}\n", content.len()).into_bytes());
        all.extend(content);
    }
    Hash::of(&all).to_string()
}

#[test]
fn the_released_contract_never_changes() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let folders = fs::read_dir(&wit)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort_unstable();
    let line = |folder: &PathBuf| {
        let version = folder.file_name().unwrap().to_str().unwrap();
        format!("{version} {}\n", digest(folder))
    };
    let found: String = folders.iter().map(line).collect();
    let kept = wit.join("released.txt");
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        fs::write(&kept, &found).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&kept).unwrap_or_default(),
        found,
        "a released version of the contract never changes: put what is new into a folder of a \
         higher version beside it. If this version is not released yet, or the folder is new: \
         WAYPOST_BLESS=1 cargo test --workspace --lib the_released_contract_never_changes"
    );
}
