//! Serves a configuration that was read anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::blocking::{FILES, run_blocking};
use super::dynamic;
use super::loading::{Loaded, loading_limit};
use super::operator::{ChangeRefused, ChangeResult, Changed, Held, Operator, Published};
use super::publish::Plan;
use super::resolve::{self, Unknown};
use super::state::{self, Written};
use super::tls_files::TlsFiles;
use crate::config;
use crate::config::model::{Address, Config};
use crate::config::problem::Problem;
use crate::discovery::HeldSources;
use crate::fault_injection;
use crate::names::Learned;

/// A configuration that was read.
pub(super) struct NewConfig {
    /// As the file has it.
    pub(super) config: Config,
    pub(super) asked: Instant,
    /// What its names stand for.
    pub(super) learned: Learned,
    pub(super) sources: HeldSources,
    /// Its plugins that were not loaded yet.
    pub(super) loaded: Loaded,
}

impl NewConfig {
    /// What is looked after as long as this is there.
    pub(super) fn held(&self) -> Held {
        Held {
            _names: Some(self.learned.clone()),
            _sources: Some(self.sources.clone()),
        }
    }
}

/// A configuration that was read, and what it is to be served with.
struct Read {
    config: Config,
    written: Written,
    plan: Plan,
    warnings: Vec<String>,
}

impl Operator {
    /// Serves a configuration that was read anew.
    pub(super) async fn reload(
        &mut self,
        read: Result<Box<NewConfig>, ChangeRefused>,
    ) -> ChangeResult {
        let asked = read.as_ref().ok().map(|new| new.asked);
        let present = self.published.load_full();
        let outcome = async {
            let Read {
                config,
                written,
                plan,
                warnings: of_names,
            } = self.plan(*read?, &present).await?;
            for warning in config::warnings(&config, &self.file) {
                tracing::warn!("{}", warning.as_warning());
            }
            let served = &present.snapshot.config;
            let of_servers = self.written.warnings(served, &config, &written);
            let warnings = [of_names, of_servers, self.cannot_change(&config)].concat();
            let store_size = usize::try_from(config.store.size).unwrap_or(usize::MAX);
            let generation = self.publish(config, plan).await?;
            let runtime = &self.published.load().registry.runtime;
            runtime.store().set_size(store_size);
            self.written = written;
            self.sources.look_again();
            Ok(Changed {
                generation,
                warnings,
            })
        };
        let mut outcome: ChangeResult = outcome.await;
        if let Err(ChangeRefused::Overtaken) = outcome {
            return outcome; // it is prepared again
        }
        if let Err(ChangeRefused::Problems { summary, problems }) = &mut outcome {
            *summary = match problems.len() {
                1 => "the configuration has 1 problem".to_owned(),
                number => format!("the configuration has {number} problems"),
            };
        }
        let mut reloads = present.reloads.clone();
        reloads.last_failed = outcome.is_err();
        match &outcome {
            Ok(changed) => {
                reloads.succeeded += 1;
                let took = asked.map_or(Duration::ZERO, |asked| asked.elapsed());
                tracing::info!("reloaded: generation {} ({took:.0?})", changed.generation);
                for warning in &changed.warnings {
                    tracing::warn!("{warning}");
                }
            }
            Err(refusal) => {
                reloads.failed += 1;
                reloads.last_error = Some(refusal.in_one_line());
                tracing::error!("reload refused, everything stays as it was: {refusal}");
                if let ChangeRefused::Problems { problems, .. } = refusal {
                    problems
                        .iter()
                        .for_each(|problem| tracing::error!("{problem}"));
                }
            }
        }
        self.republish(|published| published.reloads = reloads);
        outcome
    }

    /// A new configuration with all that it is served with as things stand now; and names that are
    /// not known.
    async fn plan(&mut self, new: NewConfig, present: &Published) -> Result<Read, ChangeRefused> {
        let NewConfig {
            mut config,
            learned,
            loaded,
            ..
        } = new;
        let restore = move || {
            let written = state::restore(&mut config)?;
            Ok::<_, Vec<Problem>>((config, written))
        };
        let restored = run_blocking("reading the state of upstreams", FILES, restore);
        let (mut config, written) = restored.await??;
        self.list_servers(&mut config);
        dynamic::carry_over(&present.snapshot.config, &mut config);
        if !present.registry.awaits(&loaded, &config) {
            return Err(ChangeRefused::Overtaken);
        }
        let config = Arc::new(config);
        let (of_plugins, registry) = (config.clone(), present.registry.clone());
        let limit = loading_limit(&config.plugins);
        let plugins = run_blocking("loading plugins", limit, move || {
            fault_injection::waits("plugins");
            registry.for_config(&of_plugins, loaded)
        });
        let plugins = plugins.await?;
        let Unknown {
            mut problems,
            warnings,
        } = Unknown::of(&config, &learned.unanswered);
        let registry = match plugins {
            Ok(registry) if problems.is_empty() => registry,
            plugins => {
                problems.extend(plugins.err().into_iter().flatten());
                return Err(problems.into());
            }
        };
        // What has come meanwhile was not learned with it.
        let supposed = resolve::supposed(&present.snapshot.config, &present.resolution, &config);
        let names = resolve::names(&config);
        let resolution = present.resolution.only(&names).supposing(&supposed);
        let resolution = resolution.updated(&learned.resolution);
        let resolution = resolution.updated(&self.names.resolution().only(&names));
        self.supposed = supposed;
        let plan = Plan {
            registry,
            resolution,
            files: TlsFiles::Read,
        };
        let warnings = warnings.iter().map(Problem::in_one_line);
        Ok(Read {
            config: Config::clone(&config),
            written,
            plan,
            warnings: warnings.collect(),
        })
    }

    /// What a configuration says that only a new process can do, and what it gives away.
    fn cannot_change(&self, config: &Config) -> Vec<String> {
        let present = self.published.load();
        let before = &present.snapshot.config;
        let changed = [
            ("workers", config.server.workers != before.server.workers),
            (
                "error_log",
                config.server.error_log.path != before.server.error_log.path,
            ),
            (
                "plugin_cache",
                config.server.plugin_cache != before.server.plugin_cache,
            ),
            ("[store]", config.store.remote != before.store.remote),
            ("[metrics]", config.metrics != before.metrics),
            ("[admin]", admin_listens(config) != admin_listens(before)),
        ];
        let changed = changed.into_iter().filter(|(_, changed)| *changed);
        changed
            .map(|(key, _)| format!("`{key}` has changed, which takes effect with `waypost upgrade` or at the next start"))
            .chain(open_to_all(config, before))
            .collect()
    }
}

/// A warning where a reload takes away the last token that a port asks for.
fn open_to_all(config: &Config, before: &Config) -> Option<String> {
    let asks = |config: &Config| {
        let admin = config.admin.as_ref();
        admin.is_some_and(|admin| !admin.tokens.is_empty())
    };
    match &config.admin.as_ref()?.address {
        address @ Address::Tcp(_)
            if asks(before) && !asks(config) && admin_listens(config) == admin_listens(before) =>
        {
            Some(format!(
                "`[admin]` has no `tokens` any more: whoever reaches `{address}` may do everything"
            ))
        }
        _ => None,
    }
}

/// Where, and whether by TLS.
fn admin_listens(config: &Config) -> Option<(&Address, bool)> {
    let admin = config.admin.as_ref()?;
    Some((&admin.address, admin.tls.is_some()))
}
