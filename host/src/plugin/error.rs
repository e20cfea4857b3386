//! What goes wrong with plugins: while they load, while they take their settings, and while they
//! serve.

use std::path::PathBuf;

use wasmtime::{FrameInfo, Trap, WasmBacktrace};

use crate::config::reason;

use super::debug_lines::DebugLines;
use super::hash::Hash;
use super::untrusted::{MESSAGE, Untrusted, few};
use super::world::{COMPONENT, Kind};

/// Functions that a backtrace names, those that Rust panics with not counted.
const FRAMES: usize = 8;

/// Why a plugin cannot be used at all. Names the plugin, the thing at fault and the way out.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("cannot read plugin `{plugin}` from {}: {}", file.display(), reason(error))]
    Read {
        plugin: String,
        file: PathBuf,
        error: std::io::Error,
    },
    #[error(
        "plugin `{plugin}` is not what its entry pins: its SHA-256 is {hash}, and `sha256` has `{pinned}`; \
         add it there if you trust it"
    )]
    Pinned {
        plugin: String,
        hash: Hash,
        pinned: String,
    },
    #[error("plugin `{plugin}` is not signed by a key of its `signed_by`: {reason}")]
    Unsigned { plugin: String, reason: String },
    #[error("plugin `{plugin}` is no webassembly that can be read: {reason}")]
    Malformed { plugin: String, reason: Untrusted },
    #[error(
        "plugin `{plugin}` is precompiled machine code, which is never loaded: give the .wasm it was made of"
    )]
    Precompiled { plugin: String },
    #[error("plugin `{plugin}` {what}: raise its `limits.{key}` if you trust it with more")]
    Bound {
        plugin: String,
        what: String,
        key: &'static str,
    },
    #[error(
        "plugin `{plugin}` is neither a component nor a core module that can become one: {reason}; \
         build it with the waypost sdk, or pass it through `wasm-tools component embed`"
    )]
    Encode { plugin: String, reason: Untrusted },
    #[error("plugin `{plugin}` does not compile: {reason}")]
    Compile { plugin: String, reason: Untrusted },
    #[error(
        "plugin `{plugin}` imports `{import}`, which plugins are not given: they may import {}",
        super::interfaces::IMPORTS
    )]
    Import { plugin: String, import: Untrusted },
    #[error("{}", not_granted(plugin, imports, grants))]
    Grant {
        plugin: String,
        /// Those that are not granted.
        imports: Vec<Untrusted>,
        /// The words that its entry needs, those that it has included.
        grants: Vec<&'static str>,
        /// What it can be used as: [`Plugin::uses`](super::Plugin::uses).
        uses: Vec<&'static str>,
    },
    #[error(
        "plugin `{plugin}` {verb} `{found}`, and this waypost has `{wanted}`: build the plugin against that version"
    )]
    Version {
        plugin: String,
        /// `imports` or `exports`.
        verb: &'static str,
        found: Untrusted,
        wanted: String,
    },
    #[error(
        "plugin `{plugin}` does not fit the interfaces it imports: {reason}; build it against waypost:plugin@0.2.0"
    )]
    Link { plugin: String, reason: Untrusted },
    #[error(
        "plugin `{plugin}` does not export `{export}` as the contract has it: {reason}; \
         build it with the waypost sdk, or give it a world of `wit/` with `wasm-tools component embed`"
    )]
    Export {
        plugin: String,
        export: String,
        reason: Untrusted,
    },
    #[error(
        "plugin `{plugin}` exports none of `waypost:plugin/balancer`, `filter`, `scorer` and `hook`, \
         nor `wasi:http/incoming-handler`: build it with the waypost sdk, or give it a world of `wit/` \
         with `wasm-tools component embed`"
    )]
    NoKind { plugin: String },
    #[error("plugin `{plugin}` cannot be instantiated: {fault}")]
    Start { plugin: String, fault: PluginFault },
    #[error("the engine cannot run on this machine: {reason}")]
    Engine { reason: String },
}

impl PluginError {
    /// What to do in the configuration, where the message does not say so itself.
    pub fn hint(&self) -> Option<&'static str> {
        let PluginError::Read { error, .. } = self else {
            return None;
        };
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Some("build it, or correct `file`, which is relative to the file that names it")
            }
            std::io::ErrorKind::PermissionDenied => {
                Some("the user that runs waypost has to be allowed to read it")
            }
            _ => None,
        }
    }

    /// What is told in its place where the plugin that lacks a grant is used as what it is not: to
    /// grant it something would be no help. `wanted`: none for a route's `component`.
    pub fn misuse(&self, name: &str, wanted: Option<Kind>) -> Option<ConfigureError> {
        let PluginError::Grant { plugin, uses, .. } = self else {
            return None;
        };
        let is_used_well = uses.contains(&wanted.map_or(COMPONENT, Kind::name));
        let is_told = plugin == name && !is_used_well && !uses.is_empty();
        is_told.then(|| match wanted {
            Some(wanted) => ConfigureError::is_no(plugin, wanted, uses.clone()),
            None => ConfigureError::NoHandler {
                plugin: plugin.clone(),
                uses: uses.clone(),
            },
        })
    }
}

fn not_granted(plugin: &str, imports: &[Untrusted], grants: &[&str]) -> String {
    let imports = few(imports, "` and `");
    format!(
        "plugin `{plugin}` imports `{imports}`, which its entry does not grant: \
         add `grants = {grants:?}` to `[plugin.{plugin}]`"
    )
}

/// Why a plugin does not take its settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It is a plugin of another kind.
    #[error(
        "plugin `{plugin}` is {}, and no {}: it does not export `waypost:plugin/{}`",
        used_as(uses), wanted.name(), wanted.interface()
    )]
    Kind {
        plugin: String,
        wanted: Kind,
        /// What it can be used as: [`Plugin::uses`](super::Plugin::uses).
        uses: Vec<&'static str>,
    },
    /// It does not answer requests.
    #[error(
        "plugin `{plugin}` is {}, and no route's `component`: it does not export `wasi:http/incoming-handler`",
        used_as(uses)
    )]
    NoHandler {
        plugin: String,
        uses: Vec<&'static str>,
    },
    /// The plugin's own verdict: see `types.settings-error` in the WIT.
    #[error("{}", refusal(plugin, key, message))]
    Refused {
        plugin: String,
        key: Untrusted,
        message: Untrusted,
    },
    /// The plugin's verdict on what a place says for itself: see `hook.attach` in the WIT.
    #[error("{}", refusal(plugin, key, message))]
    RefusedPlace {
        place: u32,
        plugin: String,
        key: Untrusted,
        message: Untrusted,
    },
    /// The plugin trapped, or overran a bound, before it could say anything.
    #[error("plugin `{plugin}` failed {when}: {fault}")]
    Faulted {
        plugin: String,
        /// `while it was configured`, `in a trial \`pick\`` or `in \`import-state\``.
        when: &'static str,
        fault: PluginFault,
    },
}

impl ConfigureError {
    /// A plugin is not of a kind of our contract.
    pub(super) fn is_no(plugin: &str, wanted: Kind, uses: Vec<&'static str>) -> ConfigureError {
        ConfigureError::Kind {
            plugin: plugin.to_owned(),
            wanted,
            uses,
        }
    }

    /// A refusal that is about one place of a hook.
    pub(super) fn at_place(self, place: u32) -> ConfigureError {
        match self {
            ConfigureError::Refused {
                plugin,
                key,
                message,
            } => ConfigureError::RefusedPlace {
                place,
                plugin,
                key,
                message,
            },
            error => error,
        }
    }
}

/// `a filter and a scorer`.
fn used_as(uses: &[&str]) -> String {
    let uses = uses.iter().map(|used| match *used {
        COMPONENT => format!("a route's `{COMPONENT}`"),
        kind => format!("a {kind}"),
    });
    uses.collect::<Vec<_>>().join(" and ")
}

fn refusal(plugin: &str, key: &Untrusted, message: &Untrusted) -> String {
    match key.as_str() {
        "" => format!("plugin `{plugin}` refuses its settings: {message}"),
        key => format!("plugin `{plugin}` refuses its setting `{key}`: {message}"),
    }
}

/// What a call did that cost the plugin its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It stopped itself: a panic, an access out of bounds, a stack overflow, an exit.
    Trap,
    /// It ran past its deadline.
    Deadline,
    /// It asked for more memory, or longer tables, than its limit.
    Memory,
    /// Its answer makes no sense, such as an index that is no candidate.
    Answer,
}

impl FaultKind {
    /// As log and metrics spell it.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Trap => "trap",
            FaultKind::Deadline => "deadline",
            FaultKind::Memory => "memory",
            FaultKind::Answer => "answer",
        }
    }
}

/// One fault: its kind, what happened in words, and where in the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFault {
    pub kind: FaultKind,
    pub detail: Untrusted,
    /// The plugin's functions, innermost first, eight at most: `function`, or
    /// `function (src/lib.rs:12)`.
    pub backtrace: Vec<Untrusted>,
}

impl std::fmt::Display for PluginFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.detail)?;
        match self.backtrace.is_empty() {
            true => Ok(()),
            false => write!(f, " (in {})", few(&self.backtrace, " < ")),
        }
    }
}

impl PluginFault {
    /// An answer that names no candidate.
    pub(super) fn answer(index: u32) -> PluginFault {
        let detail = format_args!("picked {index}, which is no candidate");
        PluginFault {
            kind: FaultKind::Answer,
            detail: Untrusted::message(detail),
            backtrace: Vec::new(),
        }
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(detail: &str) -> PluginFault {
        PluginFault {
            kind: FaultKind::Answer,
            detail: Untrusted::message(detail),
            backtrace: Vec::new(),
        }
    }

    /// It was busy for so long that it could not be told what had ended.
    pub(super) fn untold() -> PluginFault {
        PluginFault {
            kind: FaultKind::Deadline,
            detail: Untrusted::message("was too busy to be told what had ended"),
            backtrace: Vec::new(),
        }
    }

    /// A state that is larger than the plugin's `limits.state`, in bytes.
    pub(super) fn state(length: usize, limit: u64) -> PluginFault {
        PluginFault {
            kind: FaultKind::Memory,
            detail: Untrusted::message(format_args!(
                "has a state of {length} bytes, its limit is {limit}"
            )),
            backtrace: Vec::new(),
        }
    }

    /// Reads the engine's error: a trap carries its code and a backtrace, our own limits their own
    /// types.
    pub(super) fn from_engine(error: &wasmtime::Error, lines: &DebugLines) -> PluginFault {
        let kind = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => FaultKind::Deadline,
            _ if error.is::<super::limits::BoundExceeded>() => FaultKind::Memory,
            _ => FaultKind::Trap,
        };
        let detail = match kind {
            FaultKind::Deadline => "ran past its deadline".to_owned(),
            _ => match error.root_cause().to_string() {
                // Of instances, memories and tables: one limit bounds them all.
                detail if detail.starts_with("resource limit exceeded") => {
                    format!("{detail}; its `limits.core_instances` would raise it")
                }
                detail => detail,
            },
        };
        let frames = error
            .downcast_ref::<WasmBacktrace>()
            .map_or(&[][..], WasmBacktrace::frames);
        let backtrace: Vec<Untrusted> = frames.iter().map(|frame| function(frame, lines)).collect();
        let own = backtrace.iter().skip(machinery(&backtrace)).take(FRAMES);
        PluginFault {
            kind,
            detail: Untrusted::message(detail),
            backtrace: own.cloned().collect(),
        }
    }
}

/// The function of a frame; with file and line where the plugin was built with them.
fn function(frame: &FrameInfo, lines: &DebugLines) -> Untrusted {
    let name = match frame.func_name() {
        // A longer one was not made by a compiler for people to read.
        Some(name) if name.len() > MESSAGE => Untrusted::name(name),
        Some(name) => Untrusted::name(format_args!("{:#}", rustc_demangle::demangle(name))),
        None => Untrusted::name(format_args!("function {}", frame.func_index())),
    };
    match frame.module_offset().and_then(|offset| lines.at(offset)) {
        Some((file, line)) => Untrusted::message(format_args!("{name} ({file}:{line})")),
        None => name,
    }
}

/// How many of the innermost functions are Rust's way to end a panic, which says nothing of where
/// it began.
fn machinery(backtrace: &[Untrusted]) -> usize {
    let last = backtrace.iter().rposition(|name| {
        [
            "__rust_end_short_backtrace",
            "rust_begin_unwind",
            "core::panicking::panic_fmt",
        ]
        .iter()
        .any(|part| name.as_str().contains(part))
    });
    // All of it, if the backtrace does not reach further.
    last.map_or(0, |last| last + 1) % backtrace.len().max(1)
}
