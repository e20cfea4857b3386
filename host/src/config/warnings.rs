//! What a configuration may say, and hardly means.

use std::path::Path;

use super::model::Config;
use super::problem::{Place, Problem};

/// Warnings about a configuration that can be served. Those about the file as a whole are placed at
/// the file.
pub fn warnings(config: &Config, file: &Path) -> Vec<Problem> {
    let mut warnings = config.warnings.clone();
    let of_file = Place {
        file: file.display().to_string().into(),
        ..Place::default()
    };
    // Such a listener answers every request itself.
    let redirects = |port: Option<u16>| port.is_some();
    let mut listeners = config.listeners.iter();
    if config.routes.is_empty() && listeners.any(|listener| !redirects(listener.redirect_to_https))
    {
        let problem = Problem::new(
            &of_file,
            "no `[[route]]`: every request is answered with 404",
        );
        warnings.push(problem.hint("add a `[[route]]` with `proxy` or `return`"));
    }
    for network in &config.server.trusted_proxies.networks {
        if network.prefix_len() == 0 {
            let message = format!(
                "`trusted_proxies` has `{network}`: any client may claim any address as its own"
            );
            let place = Place {
                key: "server.trusted_proxies".to_owned(),
                ..of_file.clone()
            };
            let hint = "name the networks of the proxies in front of this one";
            warnings.push(Problem::new(&place, message).hint(hint));
        }
    }
    for upstream in &config.upstreams {
        if let Some(first) = upstream.servers.first()
            && upstream.servers.iter().all(|server| server.down)
        {
            let message = format!("all servers of upstream `{}` are `down`", upstream.name);
            warnings.push(Problem::new(&first.place, message).hint("its requests get a 502"));
        }
    }
    for (index, hook) in config.hooks.iter().enumerate() {
        if !config.hook_uses().any(|hook_use| hook_use.hook == index) {
            let message = format!("hook `{}` is used nowhere", hook.name);
            let hint =
                "name it in `hooks` of `[server]`, `[[listen]]`, `[[route]]` or `[[stream]]`";
            warnings.push(Problem::new(&hook.place.table, message).hint(hint));
        }
    }
    warnings
}
