//! The folder of a plugin, and how the plugin is made there.

use std::path::PathBuf;

use crate::stock::Kind;

/// What `waypost-plugin.toml` says. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginProject {
    pub folder: PathBuf,
    pub name: String,
    pub kind: Kind,
    pub component: PathBuf,
    pub sources: Vec<PathBuf>,
    pub prepare: Option<Preparation>,
    pub build: Vec<String>,
    /// As within the braces of an inline table.
    pub settings: String,
    pub place: String,
}

/// Commands that are run unless something is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    pub unless: PathBuf,
    pub run: Vec<String>,
}
