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
mod section;
mod read;
pub mod model;
pub mod problem;
mod show;
mod schema;
mod reference;

use std::path::Path;

use serde_json::{Map, Value as Json};

use self::files::Document;
pub(crate) use self::files::reason;
use self::model::{AdminConfig, Config, UpstreamServer, UpstreamTls};
use self::problem::{Place, Problem, Problems};
pub use self::read::admin_address;
pub use self::reference::reference;
pub use self::schema::schema;
pub use self::show::show;
use self::system::{System, ThisMachine};

/// The plugins that come with Waypost, by name: policies that need no `[plugin.NAME]`.
pub const STOCK_POLICIES: [&str; 6] = declared::STOCK_POLICIES;

/// Reads a file and what it includes.
///
/// # Errors
/// All problems, in the order of the files, from top to bottom.
pub fn load(path: &Path) -> Result<Config, Vec<Problem>> {
    load_on(path, &ThisMachine)
}

/// As [`load`], on a machine of the caller's: for tests.
pub fn load_on(path: &Path, system: &dyn System) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::read(path, system, &problems);
    meaning(&document, system, problems)
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

/// As [`load`], for a text that stands for the file of this name.
pub fn parse(text: &str, path: &Path) -> Result<Config, Vec<Problem>> {
    parse_on(text, path, &ThisMachine)
}

/// As [`parse`], on a machine of the caller's: for tests.
pub fn parse_on(text: &str, path: &Path, system: &dyn System) -> Result<Config, Vec<Problem>> {
    let problems = Problems::default();
    let document = files::parse(text, path, system, &problems);
    meaning(&document, system, problems)
}

/// Reads one of `servers`, for an upstream with this policy and this TLS, as if it stood in a file:
/// with the same checks, defaults and words. Problems are placed in a file `request`.
///
/// # Errors
/// All problems.
pub fn server(
    keys: &Map<String, Json>,
    policy: &str,
    tls: Option<&UpstreamTls>,
) -> Result<UpstreamServer, Vec<Problem>> {
    let unusable = |message: String| vec![Problem::new(&Place::default(), message)];
    let server = toml::Value::try_from(keys).map_err(|error| unusable(error.to_string()))?;
    // What a policy allows of its servers is only known of the stock ones; `hash` needs its key
    // besides.
    let policy = match policy {
        "hash" => r#"{ plugin = "hash", key = "$uri" }"#.to_owned(),
        stock if STOCK_POLICIES.contains(&stock) => format!("{stock:?}"),
        _ => r#""round_robin""#.to_owned(),
    };
    let tls = match tls {
        None => "false".to_owned(),
        Some(UpstreamTls {
            verify,
            server_name,
            ..
        }) => match server_name {
            Some(name) => format!("{{ verify = {verify}, server_name = {name:?} }}"),
            None => format!("{{ verify = {verify} }}"),
        },
    };
    let text = format!(
        "listen = [{{ address = \"127.0.0.1:0\" }}]\n[upstream.it]\npolicy = {policy}\ntls = {tls}\nservers = [\"127.0.0.1:1\", {server}]\n"
    );
    let mut upstreams = parse(&text, Path::new("request"))?.upstreams;
    let server = upstreams.first_mut().and_then(|it| it.servers.pop());
    server.ok_or_else(|| unusable("not a server".to_owned()))
}

fn meaning(
    document: &Document,
    system: &dyn System,
    problems: Problems,
) -> Result<Config, Vec<Problem>> {
    let config = read::config(document, system, &problems);
    match problems.into_sorted(&document.files) {
        problems if problems.is_empty() => Ok(config),
        problems => Err(problems),
    }
}
