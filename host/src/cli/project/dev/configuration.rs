//! The proxy's configuration: one listener, one upstream, the plugin in its place.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::decisions;
use super::servers::Servers;
use crate::config::model::{Address, PluginProject};
use crate::config::{self, toml_text};
use crate::control_plane;
use crate::scaffold;

/// The upstream's name.
pub(super) const UPSTREAM: &str = "dev";

pub(super) struct Configuration {
    /// All but what needs a folder.
    text: String,
    folder: PathBuf,
}

impl Configuration {
    /// Everything is granted, and no call is too long in all: that is for production to bound.
    pub(super) fn new(
        project: &PluginProject,
        servers: &Servers,
        listen: SocketAddr,
    ) -> Configuration {
        let PluginProject { kind, name, .. } = project;
        let (policy, hooks, line) = scaffold::used(*kind, name, &project.settings, &project.place);
        let grants = [
            "request", "response", "exchange", "changes", "checks", "files",
        ];
        let file = toml_text(&project.component.display().to_string());
        let mut text = format!(
            "{line}[[listen]]\naddress = \"{listen}\"\n\n\
             [plugin.{name}]\nfile = {file}\ngrants = {grants:?}\nbudget = 100\n\
             limits = {{ compile_time = \"120s\" }}\n\n\
             [upstream.{UPSTREAM}]\npolicy = {policy}\nservers = [\n"
        );
        for (address, _, zone) in servers.all() {
            let _ = writeln!(
                text,
                "  {{ address = \"{address}\", labels = {{ zone = \"{zone}\" }} }},"
            );
        }
        let _ = write!(
            text,
            "]\n\n[[route]]\npath = \"/\"\nhooks = {hooks}\nproxy = \"{UPSTREAM}\"\n\n\
             [server]\nworkers = 1\n"
        );
        Configuration {
            text,
            folder: PathBuf::new(),
        }
    }

    /// Where the proxy's socket and its log are.
    pub(super) fn within(&mut self, folder: &Path) {
        folder.clone_into(&mut self.folder);
    }

    /// Whether the plugin loads, takes its settings and can serve.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let file = Path::new("the demo's configuration");
        let text = format!("{}access_log = false\n", self.text);
        let problems = match config::parse(&text, file) {
            Ok(config) => control_plane::check_config(&config, file).problems,
            Err(problems) => problems,
        };
        match &problems[..] {
            [] => Ok(()),
            problems => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                anyhow::bail!("{}", problems.join("\n\n"))
            }
        }
    }

    pub(super) fn text(&self) -> String {
        let (log, admin) = (self.log(), self.admin().to_string());
        format!(
            "{}error_log = {{ level = \"info\" }}\n\n\
             [server.access_log]\npath = {}\nbuffer = 0\n\n\
             [server.access_log.fields]\n{}\n[admin]\naddress = {}\n",
            self.text,
            toml_text(&log.display().to_string()),
            decisions::FIELDS,
            toml_text(&admin),
        )
    }

    /// The pipe that the access log is written to.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("decisions")
    }

    pub(super) fn admin(&self) -> Address {
        Address::Unix(self.folder.join("admin.sock"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use crate::stock::Kind;

    #[test]
    fn it_is_one_for_each_kind_with_settings_and_a_place() {
        let servers = Servers::start(2).unwrap();
        for kind in [Kind::Policy, Kind::Filter, Kind::Scorer, Kind::Hook] {
            let project = PluginProject {
                folder: PathBuf::from("/folder"),
                name: "my-own".to_owned(),
                kind,
                component: PathBuf::from("/folder/\"a\".wasm"),
                sources: Vec::new(),
                prepare: None,
                build: Vec::new(),
                settings: "header = \"x-a\"".to_owned(),
                place: "only = [\"acme\"]".to_owned(),
            };
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let mut configuration = Configuration::new(&project, &servers, listen);
            configuration.within(Path::new("/folder"));
            let text = configuration.text();
            let parsed = config::parse(&text, Path::new("waypost.toml"));
            assert!(parsed.is_ok(), "{:?}: {:?}\n{text}", kind, parsed.err());
        }
    }
}
