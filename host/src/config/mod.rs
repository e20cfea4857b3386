//! From TOML as written to a configuration as meant; every problem with its place and a hint.
//!
//! [`load`] reads a file, [`show`] writes what it means. Declared in the order in which a file
//! becomes a [`Config`].

pub mod system;
mod environment;
mod tree;
mod files;
mod key;
mod declared;
mod units;
mod scalar;
mod nginx;
mod hints;
mod section;
mod read;
pub mod model;
pub mod problem;
mod list;
mod show;
mod warnings;
mod schema;
mod reference;

use std::path::Path;

use serde_json::{Map, Value as Json};

pub(crate) use self::declared::{COMPRESSED_TYPES, COOKIE_FLAGS};
use self::files::Document;
pub(crate) use self::files::reason;
pub use self::list::{CheckedList, ListFormat, check_list, is_same_server, list_item, list_items};
use self::model::{AdminConfig, Config, PluginProject, UpstreamConfig, UpstreamServer};
pub use self::nginx::nginx_directives;
pub(crate) use self::nginx::{
    Twin as NginxTwin, is_directive as is_nginx_directive, twin as nginx_twin,
};
use self::problem::{Place, Problem, Problems};
pub(crate) use self::read::{DEEPEST_VARIABLES, REDIRECTS};
pub use self::read::{admin_address, plugin_name};
pub use self::reference::reference;
pub use self::schema::schema;
pub use self::show::show;
pub(crate) use self::show::text as toml_text;
use self::system::{System, ThisMachine};
use self::tree::Node;
pub(crate) use self::units::{duration_text, size_text};
pub use self::warnings::warnings;

/// A configuration and what is wrong with it. Where that is anything, the configuration is good for
/// looking for more problems, and for nothing else.
pub fn load_with_problems(path: &Path) -> (Config, Vec<Problem>) {
    let problems = Problems::default();
    let document = files::read(path, &ThisMachine, &problems);
    let config = read::config(&document, &problems);
    (config, problems.into_sorted(&document.files))
}

/// What stands within the braces of an inline table, as a plugin gets its settings.
///
/// # Errors
/// What TOML does not allow, in a few lines.
pub fn inline_table(text: &str) -> Result<Map<String, Json>, String> {
    let table = toml::from_str(&format!("it = {{ {text} }}"));
    let mut table: Map<String, Json> = table.map_err(|error| error.message().to_owned())?;
    match table.remove("it") {
        Some(Json::Object(table)) => Ok(table),
        _ => Err("it is no table".to_owned()),
    }
}

/// Reads a file and what it includes.
///
/// # Errors
/// All problems, in the order of the files, from top to bottom.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    load_on(path, &ThisMachine)
}

/// What a file means, as [`show`] has it, but with what came from the environment as the file
/// writes it: `${env:NAME}`. Most often that is a secret, and what is shown is pasted somewhere.
///
/// # Errors
/// As [`load`].
pub fn show_as_written(path: &Path) -> Result<String, Vec<Problem>> {
    show_as_written_on(path, &ThisMachine)
}

/// As [`show_as_written`], on a machine of the caller's: for tests.
pub fn show_as_written_on(path: &Path, system: &dyn System) -> Result<String, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::read(path, system, &problems);
    let config = meaning(&document, problems)?;
    Ok(show::as_written(&config, &document.root))
}

/// As [`load`], on a machine of the caller's: for tests.
pub fn load_on(path: &Path, system: &dyn System) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::read(path, system, &problems);
    meaning(&document, problems)
}

/// What a file says of `[admin]`, though the rest of it may be wrong: a process that serves an
/// older text can still be asked. `None` where it says nothing.
///
/// # Errors
/// All problems met, where they may be the reason that no address was found.
pub fn load_admin(path: &Path) -> Result<Option<AdminConfig>, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::read(path, &ThisMachine, &problems);
    match read::admin_alone(&document, &problems) {
        Some(admin) => Ok(Some(admin)),
        None => match problems.into_sorted(&document.files) {
            problems if problems.is_empty() => Ok(None),
            problems => Err(problems),
        },
    }
}

/// Reads a `waypost-plugin.toml`.
///
/// # Errors
/// All problems, from top to bottom.
pub fn load_plugin_project(path: &Path) -> Result<PluginProject, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::read(path, &ThisMachine, &problems);
    let project = read::plugin_project(&document, &problems);
    match problems.into_sorted(&document.files) {
        problems if problems.is_empty() => Ok(project),
        problems => Err(problems),
    }
}

/// As [`load`], for a text that stands for the file of this name.
pub fn parse(text: &str, path: &Path) -> Result<Config, Vec<Problem>> {
    parse_on(text, path, &ThisMachine)
}

/// As [`parse`], on a machine of the caller's: for tests.
pub fn parse_on(text: &str, path: &Path, system: &dyn System) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::parse(text, path, system, &problems);
    meaning(&document, problems)
}

/// Reads a further one of an upstream's `servers` as if it stood in the file, with the same checks,
/// defaults and words. Problems are placed in a file `request`.
///
/// # Errors
/// All problems.
pub fn server(
    keys: Map<String, Json>,
    upstream: &UpstreamConfig,
) -> Result<UpstreamServer, Vec<Problem>> {
    let problems = Problems::default();
    let place = Place {
        file: "request".into(),
        ..Place::default()
    };
    let node = Node::of_json(&Json::Object(keys), place, &problems);
    let server = read::further_server(&node, upstream, &problems);
    let problems = problems.into_sorted(&[]);
    server.filter(|_| problems.is_empty()).ok_or(problems)
}

fn meaning(document: &Document, problems: Problems) -> Result<Config, Vec<Problem>> {
    let config = read::config(document, &problems);
    match problems.into_sorted(&document.files) {
        problems if problems.is_empty() => Ok(config),
        problems => Err(problems),
    }
}
