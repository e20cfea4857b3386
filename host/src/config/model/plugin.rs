//! `[plugin.NAME]`: where a custom plugin comes from, what it may do and what it may use up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Fallback, TrialConfig};
use crate::config::problem::Place;

/// `[plugin.NAME]`: a custom plugin from a file.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    pub name: String,
    pub file: PathBuf,
    /// Load the file again when it changes.
    pub watch: bool,
    /// What answers when it fails as a policy, default `round_robin`.
    pub fallback: Fallback,
    /// Whether the fallback serves while the plugin is compiled for the first time, default no.
    pub starts_with_fallback: bool,
    pub trust: Trust,
    /// A version that is tried beside it.
    pub trial: Option<TrialConfig>,
    pub grants: Grants,
    /// Faults within `fault_window` that put a version into quarantine; 0 never. None: 10, and 0 of
    /// one that answers requests itself.
    pub max_faults: Option<u32>,
    /// Default 60 s.
    pub fault_window: Duration,
    /// Hundredths of each worker's time that its calls may take; 100 without a bound. None: 50, and
    /// 100 of one that answers requests itself.
    pub budget: Option<u32>,
    pub limits: PluginLimits,
    pub compile: CompileLimits,
    pub place: Place,
}

impl PluginConfig {
    /// What its candidate has to hold, and who has to have signed it.
    pub fn trust_of_candidate(&self, trial: &TrialConfig) -> Trust {
        Trust {
            sha256: match trial.sha256.is_empty() {
                true => self.trust.sha256.clone(),
                false => trial.sha256.clone(),
            },
            signed_by: self.trust.signed_by.clone(),
            signature: trial.signature.clone(),
        }
    }
}

/// What a plugin's file has to hold, or who has to have signed it, for it to be loaded. Default:
/// nothing is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// SHA-256 of what may be loaded, in lowercase hex. None: anything may be.
    pub sha256: Vec<String>,
    /// Public keys of minisign, in base64: one of them has to have signed. None: nobody has to.
    pub signed_by: Vec<String>,
    /// Where the signature is; without it, beside the file as minisign leaves it.
    pub signature: Option<PathBuf>,
}

impl Trust {
    /// The file with the signature of a plugin's file.
    pub fn signature_of(&self, file: &Path) -> PathBuf {
        self.signature.clone().unwrap_or_else(|| {
            let mut beside = file.as_os_str().to_owned();
            beside.push(".minisig");
            beside.into()
        })
    }
}

/// Imports that a plugin is given besides `fleet`, `log` and the WASI that reaches nothing.
/// Default: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// Reads the request: its line, headers, cookies, the client's address, variables.
    pub request: bool,
    /// Reads the response's status and headers.
    pub response: bool,
    /// Keeps a value through an exchange's retries, and adds headers to its response.
    pub exchange: bool,
    /// Changes requests and responses, answers, delays, chooses routes and upstreams.
    pub changes: bool,
    /// Sees and replaces the bodies of requests and answers.
    pub bodies: bool,
    /// Has the host verify passwords.
    pub checks: bool,
    /// Reads the files that its settings name.
    pub files: bool,
    /// Asks the upstreams that its settings name, and waits for their answers.
    pub http: bool,
    /// Keeps counters and values that all of its instances share.
    pub store: bool,
}

impl Grants {
    /// What the stock plugins have.
    pub const ALL: Grants = Grants {
        request: true,
        response: true,
        exchange: true,
        changes: true,
        bodies: true,
        checks: true,
        files: true,
        http: true,
        store: true,
    };
}

/// Bounds on one plugin instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Linear memory. None: by the [size of the file](PluginLimits::memory_of).
    pub memory: Option<u64>,
    /// For one call in the data path, in processor time; looked at every 4 to 20 ms. None: by the
    /// [size of the file](PluginLimits::deadline_of).
    pub deadline: Option<Duration>,
    /// Elements of all tables together, default 10,000.
    pub table_elements: u32,
    /// Instances of core modules within the component, default 32.
    pub core_instances: u32,
    /// Bytes of state that are carried from one instance to the next, default 1 MiB.
    pub state: u64,
    /// Instances of a hook that waits, for each worker. None: by the
    /// [size of the file](PluginLimits::instances_of).
    pub instances: Option<u32>,
    /// For one call of a hook that waits, all in all; default 60 s.
    pub wait: Duration,
}

impl Default for PluginLimits {
    fn default() -> Self {
        PluginLimits {
            memory: None,
            deadline: None,
            table_elements: 10_000,
            core_instances: 32,
            state: 1 << 20,
            instances: None,
            wait: Duration::from_secs(60),
        }
    }
}

/// Bytes from which on a file is taken to bring an interpreter, or a garbage collector: Rust and C
/// make tens of kilobytes, Go megabytes, JavaScript and Python more than ten.
const LARGE: usize = 1 << 20;

impl PluginLimits {
    /// Linear memory for a file of so many bytes: unless it is said, 16 MiB, and 128 MiB where the
    /// file is large.
    pub fn memory_of(&self, file_size: usize) -> u64 {
        let by_size = if file_size < LARGE { 16 } else { 128 };
        self.memory.unwrap_or(by_size << 20)
    }

    /// Instances of a hook that waits, for a file of so many bytes: unless it is said, 256 for each
    /// worker, and 16 where the file is large.
    pub fn instances_of(&self, file_size: usize) -> usize {
        let by_size = if file_size < LARGE { 256 } else { 16 };
        self.instances.unwrap_or(by_size) as usize
    }

    /// Processor time of a call for a file of so many bytes: unless it is said, 5 ms, and 50 ms where
    /// the file is large, as garbage is collected then.
    pub fn deadline_of(&self, file_size: usize) -> Duration {
        let by_size = if file_size < LARGE { 5 } else { 50 };
        self.deadline.unwrap_or(Duration::from_millis(by_size))
    }
}

/// Bounds on turning a plugin's file into machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of the file, default 32 MiB.
    pub file_size: u64,
    /// Functions in all core modules together, default 50,000.
    pub functions: u32,
    /// Until the compiler is stopped, default 60 s.
    pub time: Duration,
    /// Memory of the compiler, default 2 GiB.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        CompileLimits {
            file_size: 32 << 20,
            functions: 50_000,
            time: Duration::from_secs(60),
            memory: 2 << 30,
        }
    }
}
