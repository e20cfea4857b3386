//! What a plugin's file is, told from the headings of its sections, before anything is compiled or
//! run.
//!
//! Takes time in proportion to the file and next to no memory, whatever the file says of itself.

use std::collections::BTreeSet;

use wasmparser::{CustomSectionReader, Encoding, KnownCustom, Name, Parser, Payload};

use super::cache;
use super::error::PluginError;
use super::untrusted::Untrusted;

/// Modules and components within one another, and of them in all. Far above what toolchains make.
const DEPTH: usize = 16;
const PARTS: usize = 1000;
/// Names of interfaces that are looked at; policies import and export a dozen.
const INTERFACES: usize = 1000;
/// Bytes of a function's name. The engine copies the names of a whole backtrace whenever a call
/// fails; the longest that compilers make of generic code have some 10,000.
const FUNCTION_NAME: usize = 64 << 10;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    pub kind: PluginKind,
    /// Functions of all core modules, and those that the component itself defines.
    pub functions: u32,
    /// Interfaces, as the file names them; sorted, and 1,000 at most.
    pub imports: Vec<Untrusted>,
    pub exports: Vec<Untrusted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    Component,
    /// As most toolchains emit it: a component is made of it when it is loaded.
    CoreModule,
}

impl Inspection {
    /// Looks at the bytes of the plugin `name`.
    ///
    /// # Errors
    /// Bytes that are not WebAssembly, or more nested than any toolchain makes it. Code inside of
    /// functions is not looked at.
    pub fn of(name: &str, bytes: &[u8]) -> Result<Inspection, PluginError> {
        // What `Engine::precompile_component` makes is an ELF object.
        if bytes.starts_with(b"\x7fELF") || bytes.starts_with(cache::MAGIC) {
            return Err(PluginError::Precompiled {
                plugin: name.to_owned(),
            });
        }
        let surveyed = match bytes.starts_with(b"\0asm") {
            true => look(bytes).map_err(|error| error.to_string()),
            false if bytes.is_empty() => Err("the file is empty: build it again".to_owned()),
            false => Err("it begins with other bytes than a component or a core module".to_owned()),
        };
        surveyed
            .and_then(|found| found)
            .map_err(|reason| PluginError::Malformed {
                plugin: name.to_owned(),
                reason: Untrusted::message(reason),
            })
    }
}

/// The outer error is the parser's, the inner one ours.
fn look(bytes: &[u8]) -> wasmparser::Result<Result<Inspection, String>> {
    let (mut kind, mut functions) = (PluginKind::CoreModule, 0_u32);
    let (mut imports, mut exports) = (BTreeSet::new(), BTreeSet::new());
    let (mut depth, mut parts) = (0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        let outermost = depth == 1;
        match payload? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding == Encoding::Component {
                    kind = PluginKind::Component;
                }
                depth += 1;
                parts += 1;
                if depth > DEPTH || parts > PARTS {
                    return Ok(Err(format!(
                        "it nests modules more than {DEPTH} deep, or has more than {PARTS} of them"
                    )));
                }
            }
            Payload::End(_) => depth -= 1,
            Payload::FunctionSection(section) => {
                functions = functions.saturating_add(section.count());
            }
            // Each is compiled to a function that crosses between the component and its host.
            Payload::ComponentCanonicalSection(section) => {
                functions = functions.saturating_add(section.count());
            }
            Payload::ImportSection(section) if outermost => {
                for import in section.into_imports() {
                    add(&mut imports, import?.module);
                }
            }
            Payload::ComponentImportSection(section) if outermost => {
                for import in section {
                    add(&mut imports, import?.name.name);
                }
            }
            Payload::ExportSection(section) if outermost => {
                for export in section {
                    // As component toolchains spell them: `interface#function`. Others are for the
                    // encoder, or unused.
                    match export?.name.split_once('#') {
                        Some((interface, _)) if !interface.starts_with("cabi_") => {
                            add(&mut exports, interface);
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) if outermost => {
                for export in section {
                    add(&mut exports, export?.name.name);
                }
            }
            Payload::CustomSection(section) => {
                if let Some(length) = long_function_name(&section) {
                    return Ok(Err(format!(
                        "it names a function with {length} bytes, more than {FUNCTION_NAME}: \
                         strip its names"
                    )));
                }
            }
            _ => {}
        }
    }
    let owned = |names: BTreeSet<&str>| names.into_iter().map(Untrusted::name).collect();
    Ok(Ok(Inspection {
        kind,
        functions,
        imports: owned(imports),
        exports: owned(exports),
    }))
}

fn add<'a>(names: &mut BTreeSet<&'a str>, name: &'a str) {
    if names.len() < INTERFACES {
        names.insert(name);
    }
}

/// The length of a function's name that is too long, if a name section has one. Of a section that
/// makes no sense the engine reads no more than this does.
fn long_function_name(section: &CustomSectionReader<'_>) -> Option<usize> {
    let KnownCustom::Name(names) = section.as_known() else {
        return None;
    };
    let functions = names
        .into_iter()
        .map_while(Result::ok)
        .filter_map(|name| match name {
            Name::Function(functions) => Some(functions),
            _ => None,
        });
    let names = functions.flat_map(|functions| functions.into_iter().map_while(Result::ok));
    let mut lengths = names.map(|naming| naming.name.len());
    lengths.find(|length| *length > FUNCTION_NAME)
}
