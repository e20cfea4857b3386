//! What goes wrong with plugins: while they load, while they take their settings, and while they serve.

use std::path::PathBuf;

use wasmtime::{Trap, WasmBacktrace};

/// Why a plugin cannot be used at all. Names the plugin, the thing at fault and the way out.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("cannot read plugin `{plugin}` from {}: {source}", file.display())]
    Read {
        plugin: String,
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "plugin `{plugin}` is neither a component nor a core module that can become one: {reason}; \
         build it with the waypost sdk, or pass it through `wasm-tools component embed`"
    )]
    Encode { plugin: String, reason: String },
    #[error("plugin `{plugin}` does not compile: {reason}")]
    Compile { plugin: String, reason: String },
    #[error(
        "plugin `{plugin}` imports `{import}`, which policies are not given: they may import {}",
        super::component::IMPORTS
    )]
    Import { plugin: String, import: String },
    #[error(
        "plugin `{plugin}` does not fit the interfaces it imports: {reason}; build it against waypost:plugin@0.1.0"
    )]
    Link { plugin: String, reason: String },
    #[error(
        "plugin `{plugin}` does not export `{export}` as a policy must: {reason}; \
         build it with the waypost sdk, or give it the world `policy` with `wasm-tools component embed`"
    )]
    Export {
        plugin: String,
        export: String,
        reason: String,
    },
    #[error("plugin `{plugin}` cannot be instantiated: {fault}")]
    Start { plugin: String, fault: Fault },
    #[error("the engine cannot run on this machine: {reason}")]
    Engine { reason: String },
}

/// Why a policy does not take its settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The policy's own verdict: see `balancer.settings-error` in the WIT.
    #[error("{}", refusal(plugin, key, message))]
    Refused {
        plugin: String,
        key: String,
        message: String,
    },
    /// The plugin trapped, or overran a bound, before it could say anything.
    #[error("plugin `{plugin}` failed {when}: {fault}")]
    Faulted {
        plugin: String,
        /// `while it was configured`, `in a trial \`pick\`` or `in \`import-state\``.
        when: &'static str,
        fault: Fault,
    },
}

fn refusal(plugin: &str, key: &str, message: &str) -> String {
    match key {
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
    /// It asked for more memory than its limit.
    Memory,
    /// It answered an index that is no candidate.
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
pub struct Fault {
    pub kind: FaultKind,
    pub detail: String,
    /// Names of the plugin's functions, innermost first; as many as the engine keeps.
    pub backtrace: Vec<String>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.detail)?;
        match self.backtrace.is_empty() {
            true => Ok(()),
            false => write!(f, " (in {})", self.backtrace.join(" < ")),
        }
    }
}

impl Fault {
    /// An answer that names no candidate.
    pub(super) fn answer(index: u32) -> Fault {
        let detail = format!("picked {index}, which is no candidate");
        Fault {
            kind: FaultKind::Answer,
            detail,
            backtrace: Vec::new(),
        }
    }

    /// A state that is larger than the plugin's `limits.state`, in bytes.
    pub(super) fn state(length: usize, limit: u64) -> Fault {
        Fault {
            kind: FaultKind::Memory,
            detail: format!("has a state of {length} bytes, its limit is {limit}"),
            backtrace: Vec::new(),
        }
    }

    /// Reads the engine's error: a trap carries its code and a backtrace, our own limits their own types.
    pub(super) fn from_engine(error: &wasmtime::Error) -> Fault {
        let kind = match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => FaultKind::Deadline,
            _ if error.is::<super::limits::MemoryRefused>() => FaultKind::Memory,
            _ => FaultKind::Trap,
        };
        let detail = match kind {
            FaultKind::Deadline => "ran past its deadline".to_owned(),
            _ => error.root_cause().to_string(),
        };
        let frames = error
            .downcast_ref::<WasmBacktrace>()
            .map_or(&[][..], WasmBacktrace::frames);
        let backtrace = frames.iter().map(|frame| match frame.func_name() {
            Some(name) => format!("{:#}", rustc_demangle::demangle(name)),
            None => format!("function {}", frame.func_index()),
        });
        Fault {
            kind,
            detail,
            backtrace: backtrace.collect(),
        }
    }
}
