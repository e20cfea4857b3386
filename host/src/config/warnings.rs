//! What a configuration may say, and hardly means.

use std::path::Path;

use super::model::{
    Action, Config, FileFallback, HookUse, PageContent, RealIp, RealIpHeader, Route, TrustedProxies,
};
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
    let of_listeners = config
        .listeners
        .iter()
        .map(|listener| &listener.real_ip.trusted);
    let all = std::iter::once(&config.server.trusted_proxies).chain(of_listeners);
    let mut told = Vec::new();
    for network in all.flat_map(|trusted| &trusted.networks) {
        if network.prefix_len() == 0 && !told.contains(&network) {
            told.push(network);
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
    warnings.extend(idle_real_ip_headers(config, &of_file));
    for upstream in &config.upstreams {
        if let Some(first) = upstream.servers.first()
            && upstream.servers.iter().all(|server| server.down)
        {
            let message = format!("all servers of upstream `{}` are `down`", upstream.name);
            warnings.push(Problem::new(&first.place, message).hint("its requests get a 502"));
        }
    }
    let export = config.traces.as_ref().map(|traces| &traces.export);
    if let Some(export) = export
        && let Some(doubt) = export.doubt_about_port()
    {
        let place = Place {
            key: "traces.endpoint".to_owned(),
            ..of_file.clone()
        };
        let word = export.protocol.word();
        let message = format!("spans go to port {} by `{word}`", export.url.port);
        warnings.push(Problem::new(&place, message).hint(doubt));
    }
    warnings.extend(unused_hooks(config));
    warnings.extend(unreachable_routes(config));
    for warning in repeated_hooks(config) {
        // One of a route comes again with each of its hosts and listeners.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Headers that nobody is believed to name a client in: no listener that looks at one trusts a proxy.
fn idle_real_ip_headers(config: &Config, of_file: &Place) -> Vec<Problem> {
    let believes = |real_ip: &RealIp| real_ip.trusted != TrustedProxies::default();
    let all = || config.listeners.iter().map(|listener| &listener.real_ip);
    let mut idle = Vec::new();
    for header in all().map(|real_ip| &real_ip.header) {
        let mut alike = all().filter(|other| other.header == *header);
        if *header != RealIpHeader::Usual && !idle.contains(&header) && !alike.any(believes) {
            idle.push(header);
        }
    }
    let warning = |header: &RealIpHeader| {
        let name = match header {
            RealIpHeader::Named(name) => name,
            _ => "proxy_protocol",
        };
        let message = format!("`real_ip_header = \"{name}\"` without `trusted_proxies`");
        let place = Place {
            key: "real_ip_header".to_owned(),
            ..of_file.clone()
        };
        let hint = "nobody is believed: name the proxies in front, `trusted_proxies = \
                    [\"10.0.0.0/8\"]`, or leave it out";
        Problem::new(&place, message).hint(hint)
    };
    idle.into_iter().map(warning).collect()
}

fn unused_hooks(config: &Config) -> impl Iterator<Item = Problem> {
    let hooks = config.hooks.iter().enumerate();
    let unused = hooks
        .filter(|(index, _)| !config.hook_uses().any(|hook_use| hook_use.hook == *index))
        .map(|(_, hook)| hook);
    unused.map(|hook| {
        let message = format!("hook `{}` is used nowhere", hook.name);
        let hint = "name it in `hooks` of `[server]`, `[[listen]]`, `[[route]]` or `[[stream]]`";
        Problem::new(&hook.place.table, message).hint(hint)
    })
}

/// Internal routes that nothing can lead to: no hook and no server, because there is none that may.
fn unreachable_routes(config: &Config) -> impl Iterator<Item = Problem> {
    let hooks = config.hook_uses().next().is_some();
    let servers = config.routes.iter().any(|route| route.accel_redirect);
    let routes = config.routes.iter();
    let led_to = |route: &Route| {
        let name = route.name.as_deref();
        let by_page = config.error_pages().any(|page| match &page.content {
            PageContent::Route(to) => Some(to.as_str()) == name,
            _ => false,
        });
        by_page
            || config.routes.iter().any(|other| match &other.action {
                Action::Files(files) => match &files.fallback {
                    FileFallback::Route(to) => Some(to.as_str()) == name,
                    _ => false,
                },
                _ => false,
            })
    };
    let internal =
        routes.filter(move |route| route.internal && !hooks && !servers && !led_to(route));
    internal.map(|route| {
        let name = route.name.as_deref().unwrap_or_default();
        let message = format!("nothing leads to route `{name}`: it is `internal`");
        let hint = "hooks, error pages and fallbacks of files lead to such a route by its name";
        Problem::new(&route.place, message).hint(hint)
    })
}

/// Hooks that are asked again for the same requests, with nothing else to say.
fn repeated_hooks(config: &Config) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut note = |before: &[HookUse], own: &[HookUse]| {
        for (at, again) in own.iter().enumerate() {
            let is_same =
                |other: &HookUse| (other.hook, &other.settings) == (again.hook, &again.settings);
            if let Some(hook) = config.hooks.get(again.hook)
                && before.iter().chain(&own[..at]).any(is_same)
            {
                let message = format!(
                    "hook `{}` is asked twice, with the same settings",
                    hook.name
                );
                let hint = "the hooks of `[server]`, `[[listen]]` and `[[route]]` add up: leave \
                            one out, or say `inherit_hooks = false` in the route";
                warnings.push(Problem::new(&again.place.table, message).hint(hint));
            }
        }
    };
    for listener in &config.listeners {
        note(&[], &listener.hooks);
    }
    for route in config.routes.iter() {
        let listeners = route.listeners.iter();
        let listeners = listeners.filter_map(|index| config.listeners.get(*index));
        for listener in listeners.filter(|_| route.inherits_hooks) {
            note(&listener.hooks, &route.hooks);
        }
        note(&[], &route.hooks);
    }
    for stream in &config.streams {
        note(&[], &stream.hooks);
    }
    warnings
}
