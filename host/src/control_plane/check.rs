//! What is wrong with a configuration beyond what its file alone tells: names, certificates, logs,
//! plugins, and the settings of policies.

use std::path::Path;
use std::sync::Arc;

use super::assemble::{balanced_for_check, narrowing, problem, refusal, rehearsed, traits};
use super::bind_problem;
use super::components;
use super::hooks;
use super::loading::Loaded;
use super::log_files;
use super::missing;
use super::plugins::{PluginRegistry, Selection, compiler};
use super::refused_lists;
use super::resolve::{self, Unknown};
use super::servers;
use super::state;
use super::tls_files::{Secured, TlsFiles};
use super::trials;
use crate::config;
use crate::config::model::Config;
use crate::config::problem::Problem;
use crate::data_plane::worker_config::PageFiles;
use crate::discovery;
use crate::names::{Names, Resolution};
use crate::plugin::{Kind, PolicyContext, Runtime, UpstreamTraits};
use crate::store::Store;
use crate::tls::Warnings;

/// What a check has found.
pub struct Checked {
    pub problems: Vec<Problem>,
    /// What can be served all the same.
    pub warnings: Vec<Problem>,
}

/// Reads a configuration file. Where it has problems, those that policies find in their settings
/// are among them.
///
/// # Errors
/// All problems.
pub fn load(file: &Path) -> Result<Config, Vec<Problem>> {
    let (config, mut problems) = config::load_with_problems(file);
    if problems.is_empty() {
        return Ok(config);
    }
    add_new(&mut problems, settings_problems(&config));
    Err(problems)
}

/// All that `waypost check` finds: what the file says, whether names can be resolved, logs written
/// and certificates used, plugins load, policies take their settings and can pick. Keeps the code
/// of plugins that it compiles, so that the next start need not.
///
/// Where the file itself has problems, policies have no servers to pick, and nothing is warned of.
pub fn check(file: &Path) -> Checked {
    let (mut config, mut problems) = config::load_with_problems(file);
    if problems.is_empty() {
        problems.extend(state::restore(&mut config).err().into_iter().flatten());
    }
    if problems.is_empty() {
        return check_config(&config, file);
    }
    // That a listener has no certificate is a problem of the file, and noted.
    let of_listeners = config
        .listeners
        .iter_mut()
        .map(|listener| &mut listener.tls);
    let of_streams = config.streams.iter_mut().map(|stream| &mut stream.tls);
    for tls in of_listeners.chain(of_streams) {
        tls.take_if(|tls| tls.certificates.is_empty() && tls.acme.is_none());
    }
    let outside = Outside::of(&config, &mut Warnings::new());
    add_new(&mut problems, outside.problems);
    add_new(&mut problems, settings_problems(&config));
    Checked {
        problems,
        warnings: Vec::new(),
    }
}

/// As [`check`], of a configuration that was read, and that this file stands for.
pub fn check_config(config: &Config, file: &Path) -> Checked {
    let mut checked = check_valid(config);
    let of_config = config::warnings(config, file);
    checked.warnings.splice(0..0, of_config);
    checked
}

/// Adds problems of places that have none yet: what is wrong there may be the reason.
fn add_new(problems: &mut Vec<Problem>, more: Vec<Problem>) {
    let known = problems.len();
    for problem in more {
        let mut of_file = problems.iter().take(known);
        if of_file.all(|known| known.place != problem.place) {
            problems.push(problem);
        }
    }
}

/// What name servers and files have to do with a configuration.
struct Outside {
    /// With the servers that files list.
    listed: Config,
    resolution: Resolution,
    /// None where a certificate cannot be used.
    secured: Option<Secured>,
    problems: Vec<Problem>,
}

impl Outside {
    fn of(config: &Config, warnings: &mut Warnings) -> Outside {
        let mut listed = config.clone();
        let unread = list_servers(&mut listed);
        let (resolution, unknown) = resolution(&listed);
        let mut problems = unknown.problems;
        warnings.extend(unknown.warnings);
        warnings.extend(unread);
        warnings.extend(missing::directories(config));
        warnings.extend(log_files::unwritable_audit(config));
        problems.extend(log_files::unwritable(config));
        problems.extend(bind_problem::of_admin(config));
        let sources = config.upstreams.iter();
        let sources = sources.filter_map(|upstream| upstream.source.as_ref());
        problems.extend(sources.flat_map(discovery::problems));
        let secured = Secured::read(config, None, TlsFiles::Read, warnings);
        let secured = secured.map_err(|of_files| problems.extend(of_files)).ok();
        Outside {
            listed,
            resolution,
            secured,
            problems,
        }
    }
}

/// Gives upstreams the servers that files list for them; the files that cannot be used. Other sources
/// are not asked: they may be out of reach of whoever checks.
pub(super) fn list_servers(config: &mut Config) -> Vec<Problem> {
    let mut unread = Vec::new();
    for upstream in &mut config.upstreams {
        let why = match discovery::listed_in_file(upstream) {
            None => continue,
            Some(Ok(listed)) => {
                servers::list(Arc::make_mut(upstream), &listed);
                continue;
            }
            Some(Err(why)) => why,
        };
        let Some(source) = &upstream.source else {
            continue;
        };
        let name = &upstream.name;
        let message = format!("no list of servers for upstream `{name}` from {source}: {why}");
        let hint = "it has no others until there is a list";
        unread.push(Problem::new(&source.place.0, message).hint(hint));
    }
    unread
}

/// The lists of files that a policy does not take. `own`: the configuration without their servers.
fn refused_lists(
    listed: &Config,
    own: &Config,
    plugins: &Selection,
    resolution: &Resolution,
) -> Vec<Problem> {
    let refused = refused_lists::refused(listed, own, plugins, resolution).into_iter();
    let warnings = refused.filter_map(|(index, problem)| {
        let upstream = &own.upstreams[index];
        let (name, source, why) = (&upstream.name, upstream.source.as_ref()?, problem.message);
        let message = format!(
            "the list of servers for upstream `{name}` from {source} cannot be served: {why}"
        );
        let hint = "it has no others until there is a list that its policy takes";
        Some(Problem::new(&source.place.0, message).hint(hint))
    });
    warnings.collect()
}

/// What names stand for now, as far as they do.
pub(super) fn resolution(config: &Config) -> (Resolution, Unknown) {
    let names = resolve::names(config);
    if names.is_empty() {
        return Default::default();
    }
    match Names::start("") {
        Ok(resolver) => {
            let learned = resolver.learn_now(names);
            let unknown = Unknown::of(config, &learned.unanswered);
            (learned.resolution, unknown)
        }
        Err(error) => {
            let message = format!("cannot start the thread that resolves names: {error}");
            let unknown = Unknown {
                problems: vec![problem(message, "")],
                warnings: Vec::new(),
            };
            (Resolution::default(), unknown)
        }
    }
}

fn check_valid(config: &Config) -> Checked {
    let mut warnings = Warnings::new();
    let Outside {
        listed,
        resolution,
        secured,
        mut problems,
    } = Outside::of(config, &mut warnings);
    let (registry, unloadable) = match registry_for_check(config) {
        Ok(found) => found,
        Err(error) => {
            problems.push(problem(error, ""));
            return Checked { problems, warnings };
        }
    };
    problems.extend(unloadable);
    let selection = registry.selection();
    let traits = traits(config);
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if !selection.contains_key(&upstream.policy.plugin) {
            continue; // a problem already
        }
        let tls = secured
            .as_ref()
            .and_then(|secured| secured.upstreams[index].clone());
        let of_upstream = (index, traits[index]);
        let built = balanced_for_check(of_upstream, tls, config, &selection, &resolution);
        problems.extend(built.and_then(|built| rehearsed(&built)).err());
    }
    if problems.is_empty() {
        let trials = registry.trials();
        problems.extend(trials::problems(config, &selection, &trials, &resolution));
    }
    warnings.extend(refused_lists(&listed, config, &selection, &resolution));
    problems.extend(hooks::problems(config, &selection));
    problems.extend(components::problems(config, &selection));
    problems.extend(PageFiles::read(config).err().into_iter().flatten());
    Checked { problems, warnings }
}

/// What policies find in their settings, and plugins that cannot be loaded: all that can be told of
/// them where the file has problems.
fn settings_problems(config: &Config) -> Vec<Problem> {
    let Ok((registry, mut problems)) = registry_for_check(config) else {
        return Vec::new();
    };
    let selection = registry.selection();
    let upstreams = traits(config).into_iter().enumerate();
    problems
        .extend(upstreams.filter_map(|upstream| settings_problem(config, upstream, &selection)));
    problems.extend(hooks::problems(config, &selection));
    problems.extend(components::problems(config, &selection));
    problems
}

/// What the policy of an upstream has against its settings. Nothing if it is not there to ask.
fn settings_problem(
    config: &Config,
    (index, traits): (usize, UpstreamTraits),
    plugins: &Selection,
) -> Option<Problem> {
    let policy = &config.upstreams[index].policy;
    let plugin = plugins.get(&policy.plugin)?;
    let context = PolicyContext {
        traits,
        variables: config.variables.names().clone(),
        directory: policy.place.directory(),
        ..PolicyContext::default()
    };
    let tried = plugin.configure(Kind::Policy, &policy.settings, &context);
    let narrowing = || {
        narrowing(policy).try_for_each(|(kind, part)| match plugins.get(&part.plugin) {
            Some(plugin) => plugin.configure(kind, &part.settings, &context),
            None => Ok(()), // a problem already
        })
    };
    Some(refusal(
        &config.upstreams[index],
        &tried.and_then(|()| narrowing()).err()?,
    ))
}

/// The plugins of a configuration, and the problems of those that cannot be loaded.
fn registry_for_check(config: &Config) -> Result<(PluginRegistry, Vec<Problem>), String> {
    let compiler = compiler(config).map_err(|error| error.to_string())?;
    let store = Arc::new(Store::of(&config.store)); // nothing is asked of it
    let runtime = Runtime::with_store(compiler, store).map_err(|error| error.to_string())?;
    Ok(PluginRegistry::empty(runtime).gather(config, false, Loaded::default()))
}
