//! From a configuration to a snapshot: loads the plugins, has each policy check its settings, opens the logs.
//!
//! Everything that can go wrong goes wrong here, before a single connection is accepted, and as problems at their place.

use std::collections::HashMap;
use std::sync::Arc;

use crate::access_log::AccessLogs;
use crate::config::model::{AccessLog, Config, LogFormat, PluginCache, Upstream as UpstreamConfig};
use crate::config::problem::{Place, Problem};
use crate::data_plane::upstream::Upstream;
use crate::data_plane::worker::{OpenLog, Snapshot};
use crate::http::variable::Variable;
use crate::plugin::{
    Balancer, Compiler, ConfigureError, Plugin, PluginError, Runtime, Terms,
    default_cache_directory,
};

/// The policy that answers where another one fails, unless a plugin's entry says otherwise.
const FALLBACK: &str = "round_robin";

/// What `waypost check` finds beyond what the file alone can tell: whether plugins load, and policies take their settings.
pub fn check(config: &Config) -> Vec<Problem> {
    let plugins = match Plugins::load(config) {
        Ok(plugins) => plugins,
        Err(problems) => return problems,
    };
    let refused = config.upstreams.iter().filter_map(|upstream| {
        let plugin = plugins.get(&upstream.policy.plugin)?;
        plugin
            .configure(&upstream.policy.settings)
            .err()
            .map(|error| refusal(upstream, &error))
    });
    refused.collect()
}

/// Builds the snapshot that a configuration describes.
///
/// # Errors
/// All problems that were found.
pub(super) fn assemble(config: Config, logs: &AccessLogs) -> Result<Snapshot, Vec<Problem>> {
    let plugins = Plugins::load(&config)?;
    let mut problems = Vec::new();
    let mut upstreams = Vec::new();
    for upstream in &config.upstreams {
        match balanced(upstream, &config, &plugins) {
            Ok(upstream) => upstreams.push(Arc::new(upstream)),
            Err(problem) => problems.push(problem),
        }
    }
    let mut open = |log: &Option<AccessLog>| {
        let log = log.as_ref()?;
        match logs.open(&log.path) {
            Ok(opened) => {
                return Some(OpenLog {
                    log: opened,
                    format: log.format.clone(),
                });
            }
            Err(error) => problems.push(problem(error.to_string(), "access_log")),
        }
        None
    };
    let listener_logs = config
        .listeners
        .iter()
        .map(|listener| open(&listener.access_log))
        .collect();
    let route_logs = config
        .routes
        .iter()
        .map(|route| route.access_log.as_ref().map(&mut open))
        .collect();
    if problems.is_empty() {
        let logs_sent_header = config.access_logs().any(|log| match &log.format {
            LogFormat::Template(template) => template
                .variables()
                .any(|variable| matches!(variable, Variable::SentHeader(_))),
            LogFormat::Combined | LogFormat::Json => false,
        });
        Ok(Snapshot {
            config,
            upstreams,
            listener_logs,
            route_logs,
            logs_sent_header,
        })
    } else {
        Err(problems)
    }
}

fn balanced(
    upstream: &UpstreamConfig,
    config: &Config,
    plugins: &Plugins,
) -> Result<Upstream, Problem> {
    let policy = &upstream.policy;
    let fallback = config
        .plugins
        .iter()
        .find(|plugin| plugin.name == policy.plugin)
        .map_or(FALLBACK, |plugin| &plugin.fallback);
    let (Some(plugin), Some(fallback)) = (plugins.get(&policy.plugin), plugins.get(fallback))
    else {
        return Err(problem(
            format!("unknown policy `{}`", policy.plugin),
            "policy",
        ));
    };
    Upstream::new(upstream.clone(), |fleet| {
        Balancer::new(plugin.clone(), &policy.settings, fallback.clone(), fleet)
    })
    .map_err(|error| refusal(upstream, &error))
}

/// Places a policy's refusal at the key it names.
fn refusal(upstream: &UpstreamConfig, error: &ConfigureError) -> Problem {
    match error {
        ConfigureError::Refused { key, message, .. } => upstream.policy.place.problem(key, message),
        ConfigureError::Faulted { .. } => upstream.policy.place.problem("", &error.to_string()),
    }
}

fn problem(message: String, key: &str) -> Problem {
    Problem {
        place: Place {
            key: key.into(),
            ..Place::default()
        },
        message,
        hint: None,
    }
}

/// The plugins that a configuration uses, by name.
struct Plugins(HashMap<String, Plugin>);

impl Plugins {
    fn load(config: &Config) -> Result<Plugins, Vec<Problem>> {
        let cache = match &config.server.plugin_cache {
            PluginCache::Default => default_cache_directory(),
            PluginCache::Directory(directory) => Some(directory.clone()),
            PluginCache::Off => None,
        };
        let unusable = |error: String| vec![problem(error, "")];
        let compiler = Compiler::aside(cache).map_err(|error| unusable(error.to_string()))?;
        let runtime = Runtime::new(compiler).map_err(|error| unusable(error.to_string()))?;
        let mut plugins = HashMap::new();
        let mut problems = Vec::new();
        let used = config
            .upstreams
            .iter()
            .map(|upstream| upstream.policy.plugin.as_str());
        let fallbacks = config.plugins.iter().map(|plugin| plugin.fallback.as_str());
        for name in used.chain(fallbacks).chain([FALLBACK]) {
            if let Some(plugin) = runtime.stock(name) {
                plugins.insert(name.to_owned(), plugin);
            }
        }
        for entry in &config.plugins {
            let terms = Terms::from(entry);
            let loaded = Runtime::read(&entry.name, &entry.file, &terms.compile)
                .and_then(|bytes| runtime.load(&entry.name, 1, &bytes, &terms));
            match loaded {
                Ok(plugin) => drop(plugins.insert(entry.name.clone(), plugin)),
                Err(error) => problems.push(plugin_problem(&entry.place, &error)),
            }
        }
        if problems.is_empty() {
            Ok(Plugins(plugins))
        } else {
            Err(problems)
        }
    }

    fn get(&self, name: &str) -> Option<&Plugin> {
        self.0.get(name)
    }
}

fn plugin_problem(place: &Place, error: &PluginError) -> Problem {
    Problem {
        place: place.clone(),
        message: error.to_string(),
        hint: None,
    }
}
