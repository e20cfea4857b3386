//! Configurations by example: `tests/config/invalid/*.toml` with the whole report that each must
//! give, and `tests/config/valid/*.toml`, which must survive being shown and read again.
//!
//! `WAYPOST_BLESS=1 cargo test` writes the reports anew: read the difference before you commit it.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use waypost::config;
use waypost::config::model::{
    Action, Address, CompileLimits, Config, DynamicProxy, ErrorPage, Fallback, Grants, HookUse,
    Lookup, Manner, PathPattern, Percent, PluginCache, PluginLimits, Proxy, ProxyUpstream,
    ProxyUri, ScorerUse, ServerLocation, ServerName, SettingsPlace, UpstreamConfig,
};
use waypost::config::problem::{Place, Problem};
use waypost::config::system::System;

/// Files are real; names and the environment are the same everywhere.
struct SameEverywhere;

impl System for SameEverywhere {
    fn variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "WORKERS" => "3",
            "PORT" => "3000",
            "ZERO" => "0",
            "NOT_A_NUMBER" => "many",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

/// Another machine: each variable has another value.
struct Elsewhere;

impl System for Elsewhere {
    fn variable(&self, name: &str) -> Option<String> {
        let value = match name {
            "WORKERS" => "4",
            "PORT" => "3001",
            "STAGE" => "test",
            "DOMAIN" => "example.net",
            "OTHER" => "127.0.0.1:4001",
            "DATABASE" => "10.0.0.2:5432",
            "FOLDER" => "folder",
            "IDLE" => "3s",
            "SWITCH" => "false",
            "NETWORK" => "10.4.0.0/16",
            "CONDITION" => "http_503",
            "POLICY" => "least_conn",
            "BODY" => "3m",
            "HSTS" => "10d",
            "HOOK" => "other",
            "ON_ERROR" => "fail",
            "FALLBACK" => "random",
            "BACKEND" => "https://back.example:443",
            _ => return None,
        };
        Some(value.to_owned())
    }
}

/// Reads nothing but the text it is given.
struct NoFiles;

impl System for NoFiles {
    fn variable(&self, name: &str) -> Option<String> {
        SameEverywhere.variable(name)
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new("../tests/config").join(name)
}

/// The cases of a folder; a folder without any is a mistake of this file.
fn cases(name: &str) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no case in {}", folder(name).display());
    cases
}

fn report(problems: &[Problem], folder: &Path) -> String {
    let text: String = problems
        .iter()
        .map(|problem| format!("{problem}\n\n"))
        .collect();
    let prefix = format!("{}/", folder.display());
    text.trim_end().replace(&prefix, "") + "\n"
}

#[test]
fn every_invalid_configuration_gives_its_whole_report() {
    let mut wrong = Vec::new();
    for case in cases("invalid") {
        let report = match config::load_on(&case, &SameEverywhere) {
            Ok(_) => "valid\n".to_owned(),
            Err(problems) => report(&problems, &folder("invalid")),
        };
        assert_ne!(report, "valid\n", "{}", case.display());
        let expected = case.with_extension("txt");
        if std::env::var_os("WAYPOST_BLESS").is_some() {
            std::fs::write(&expected, &report).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if report != expected {
            wrong.push(format!(
                "=== {}: expected\n{expected}\n=== but was\n{report}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_report_belongs_to_a_case() {
    for entry in std::fs::read_dir(folder("invalid")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            assert!(path.with_extension("toml").exists(), "{}", path.display());
        }
    }
}

fn valid(case: &Path) -> Config {
    config::load_on(case, &SameEverywhere)
        .unwrap_or_else(|problems| panic!("{}", report(&problems, Path::new(""))))
}

fn forget_places(upstream: &mut UpstreamConfig) {
    let policy = &mut upstream.policy;
    let scorers = policy.scorers.iter_mut().map(|scorer| &mut scorer.scorer);
    let plugins = policy.filters.iter_mut().chain(scorers);
    for place in plugins.map(|plugin| &mut plugin.place) {
        *place = SettingsPlace::default();
    }
    policy.place = SettingsPlace::default();
    for server in &mut upstream.servers {
        server.place = Place::default();
    }
}

/// All that a configuration means, places aside.
fn meaning(mut config: Config) -> String {
    let routes = Arc::make_mut(&mut config.routes);
    for route in routes.iter_mut() {
        if let Action::Proxy(Proxy {
            upstream: ProxyUpstream::Dynamic(dynamic),
            ..
        }) = &mut route.action
        {
            let mut same = DynamicProxy::clone(dynamic);
            forget_places(&mut same.model);
            *dynamic = Arc::new(same);
        }
    }
    let upstreams = config.upstreams.iter_mut();
    upstreams.map(Arc::make_mut).for_each(forget_places);
    for plugin in &mut config.plugins {
        plugin.place = Place::default();
        if let Some(trial) = &mut plugin.trial {
            trial.place = Place::default();
        }
    }
    for component in &mut config.components {
        component.place = Place::default();
    }
    for hook in &mut config.hooks {
        hook.place = SettingsPlace::default();
    }
    let of_listeners = config
        .listeners
        .iter_mut()
        .map(|listener| &mut listener.hooks);
    let of_routes = routes.iter_mut().map(|route| &mut route.hooks);
    let of_streams = config.streams.iter_mut().map(|stream| &mut stream.hooks);
    let uses = of_listeners.chain(of_routes).chain(of_streams);
    for hook_use in uses.chain([&mut config.server.hooks]).flatten() {
        hook_use.place = SettingsPlace::default();
    }
    let pages = |pages: &mut [ErrorPage]| {
        for page in pages {
            page.place = Place::default();
        }
    };
    for listener in &mut config.listeners {
        listener.place = Place::default();
        pages(&mut listener.error_pages);
    }
    for stream in &mut config.streams {
        stream.place = Place::default();
    }
    if let Some(admin) = &mut config.admin {
        admin.place = Place::default();
    }
    let routes = Arc::make_mut(&mut config.routes);
    for route in routes.iter_mut() {
        route.place = Place::default();
        pages(&mut route.error_pages);
    }
    let of_listeners = config
        .listeners
        .iter_mut()
        .map(|listener| &mut listener.access_logs);
    let of_routes = routes
        .iter_mut()
        .filter_map(|route| route.access_logs.as_mut());
    let of_streams = config
        .streams
        .iter_mut()
        .map(|stream| &mut stream.access_logs);
    let of_server = std::iter::once(&mut config.server.access_logs);
    let logs = of_server
        .chain(of_listeners)
        .chain(of_routes)
        .chain(of_streams);
    for log in logs.flatten() {
        log.place = Place::default();
    }
    config.server.error_log.place = Place::default();
    config.warnings.clear();
    format!("{config:#?}")
}

#[test]
fn what_is_shown_means_the_same_when_read_again() {
    for case in cases("valid") {
        let config = valid(&case);
        let shown = config::show(&config);
        let again = config::parse_on(&shown, Path::new("shown.toml"), &SameEverywhere)
            .unwrap_or_else(|problems| panic!("{shown}\n{}", report(&problems, Path::new(""))));
        assert_eq!(config::show(&again), shown);
        assert_eq!(meaning(again), meaning(config), "{}", case.display());
    }
}

/// And what happens to be the same as a value from the environment is shown as it is.
#[test]
fn what_came_from_the_environment_is_shown_as_it_was_written() {
    let written = |case: &Path| {
        config::show_as_written_on(case, &SameEverywhere)
            .unwrap_or_else(|problems| panic!("{}", report(&problems, Path::new(""))))
    };
    for case in cases("valid") {
        let shown = written(&case);
        let again = config::parse_on(&shown, &case, &SameEverywhere)
            .unwrap_or_else(|problems| panic!("{shown}\n{}", report(&problems, Path::new(""))));
        assert_eq!(meaning(again), meaning(valid(&case)), "{shown}");
    }
    let case = folder("valid").join("environment.toml");
    let here = std::path::absolute(folder("valid")).unwrap();
    let shown = written(&case).replace(&here.display().to_string(), "");
    let expected = folder("shown").join("environment.toml");
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(&expected, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(expected).unwrap());
}

#[test]
fn what_is_shown_means_on_another_machine_what_the_file_means_there() {
    let case = folder("valid").join("environment.toml");
    let shown = config::show_as_written_on(&case, &SameEverywhere).unwrap();
    let [file, shown] = [
        config::load_on(&case, &Elsewhere),
        config::parse_on(&shown, &case, &Elsewhere),
    ]
    .map(|config| config.unwrap_or_else(|problems| panic!("{}", report(&problems, Path::new("")))));
    assert_eq!(meaning(shown), meaning(file));
}

#[test]
fn every_default_is_shown() {
    let shown = config::show(&valid(&folder("valid").join("minimal.toml")));
    let expected = folder("shown").join("minimal.toml");
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(&expected, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(expected).unwrap());
}

#[test]
fn a_file_means_what_it_says() {
    let config = valid(&folder("valid").join("everything.toml"));

    assert_eq!(config.server.workers, 3);
    let [first, second, _] = config.listeners.as_slice() else {
        panic!("three listeners")
    };
    assert_eq!(first.keepalive_timeout.as_secs(), 0);
    assert_eq!(
        second.keepalive_timeout.as_secs(),
        10,
        "[server] has the listeners' defaults"
    );
    assert_eq!(
        second.send_timeout.as_secs(),
        7,
        "an included file may have them too"
    );
    assert_eq!(
        (first.client_max_body_size, second.client_max_body_size),
        (Some(10 << 20), None)
    );
    assert!(second.access_logs.is_empty());

    let names: Vec<&str> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    let implicit = ["unix:/run/php.sock", "app.example:3000"];
    assert_eq!(names[..3], ["backend", "spare", "127.0.0.1:4000"]);
    assert_eq!(
        names[3..],
        implicit,
        "one for each address, after those with a name"
    );
    let backend = &config.upstreams[0];
    let location = ServerLocation::Name(ServerName {
        host: "app.example".to_owned(),
        lookup: Lookup::Addresses(80),
        resolver: backend.resolver.clone(),
    });
    assert_eq!(backend.servers[0].location, location, "not resolved here");
    assert_eq!(
        backend.servers[4].spelling, "10.0.0.9",
        "lists of included files are appended"
    );
    assert_eq!(
        backend.policy.settings.to_string(),
        r#"{"key":"$request_uri","consistent":true,"nested":{"odd key":[1,2.5,{"a":"b"}]}}"#
    );

    let hosts: Vec<String> = config
        .routes
        .iter()
        .map(|route| route.host.spelling())
        .collect();
    assert_eq!(
        hosts[..6],
        [
            "",
            "example.com",
            "example.org",
            "*.example.org",
            "www.example.*",
            "~^(?<sub>.+)\\.example\\.net$"
        ]
    );
    assert_eq!(config.routes[1].listeners, [1]);
    let with_uri = &config.routes[6];
    assert!(matches!(&with_uri.path, PathPattern::PrefixNoRegex(path) if path == "/static/"));
    assert!(matches!(&with_uri.action,
        Action::Proxy(proxy) if matches!(proxy.upstream, ProxyUpstream::Fixed(0))
            && matches!(&proxy.uri, Some(ProxyUri::Part(part)) if part == "/files/")));
    let redirect = config.routes.iter().find_map(|route| match &route.action {
        Action::Return(answer) if answer.location.is_some() => Some(answer.status),
        _ => None,
    });
    assert_eq!(redirect, Some(302), "a location without a status");

    let plugin = &config.plugins[1];
    assert!(plugin.file.is_absolute());
    assert!(
        plugin
            .file
            .ends_with("tests/config/valid/plugins/mine.wasm")
    );
    assert_eq!(plugin.grants.names(), ["request", "exchange"]);
    assert!(plugin.watch);
    let (trust, digits) = (&plugin.trust, "0123456789abcdef");
    let trial = plugin.trial.as_ref().unwrap();
    assert_eq!(trial.terms.manner, Manner::Canary(Percent(500)));
    let rails = trial.terms.rails;
    assert_eq!(
        (rails.after, rails.faults, rails.imbalance),
        (7, None, None)
    );
    assert_eq!(rails.errors, Some(Percent(2000)));
    assert_eq!(rails.latency, Some(Percent(200_000)));
    let shadow = config.plugins[0].trial.as_ref().unwrap();
    assert_eq!(shadow.terms.manner, Manner::Shadow);
    assert_eq!(trust.sha256.len(), 2);
    assert_eq!(trust.sha256[0], digits.repeat(4), "in lowercase");
    assert_eq!(trust.signed_by.len(), 1);
    let signature = trust.signature_of(&plugin.file);
    assert!(signature.ends_with("tests/config/valid/plugins/signatures/mine"));
    assert_eq!(
        (plugin.max_faults, plugin.fault_window),
        (Some(0), Duration::from_secs(300))
    );
    let limits = PluginLimits {
        memory: Some(32 << 20),
        deadline: Some(Duration::from_millis(10)),
        table_elements: 20_000,
        core_instances: 4,
        state: 0,
        instances: Some(8),
        wait: Duration::from_secs(5),
    };
    assert_eq!(plugin.limits, limits);
    let compile = CompileLimits {
        file_size: 1 << 30,
        functions: 1000,
        time: Duration::from_secs(3600),
        memory: 256 << 20,
    };
    assert_eq!(plugin.compile, compile);
    assert!(
        matches!(&config.server.plugin_cache, PluginCache::Directory(path) if path.is_absolute()
            && path.ends_with("tests/config/valid/cache"))
    );
    let address = Address::Unix("/run/waypost/admin.sock".into());
    assert_eq!(config.admin.map(|admin| admin.address), Some(address));
}

#[test]
fn a_plugin_is_granted_nothing_and_the_admin_interface_is_off_unless_the_file_says_so() {
    let text = "[[listen]]\naddress = \"127.0.0.1:8080\"\n[plugin.mine]\nfile = \"mine.wasm\"";
    let config = config::parse_on(text, Path::new("waypost.toml"), &SameEverywhere).unwrap();
    assert_eq!(config.plugins[0].grants, Grants::default());
    assert!(config.admin.is_none());
    assert_eq!(config.server.plugin_cache, PluginCache::Default);
    let config = valid(&folder("valid").join("admin_on_loopback.toml"));
    assert_eq!(config.plugins[0].grants, Grants::ALL);
    assert_eq!(config.server.plugin_cache, PluginCache::Off);
}

#[test]
fn hooks_add_up_and_each_place_that_uses_one_has_its_number() {
    let config = valid(&folder("valid").join("everything.toml"));
    let uses = |uses: &[HookUse]| -> Vec<String> {
        let of = |place: &HookUse| {
            let hook = &config.hooks[place.hook];
            let settings = match place.settings.as_object().is_some_and(|all| all.is_empty()) {
                true => hook.settings.to_string(),
                false => place.settings.to_string(),
            };
            let (hook, number) = (&hook.name, place.place_number);
            format!("{hook} {number} {settings} {}", place.on_error.spelling())
        };
        uses.iter().map(of).collect()
    };
    let of_server = ["trace 0 {} fail", "other 0 {} fail"];
    assert_eq!(uses(&config.server.hooks), of_server);
    let of_second = uses(&config.listeners[1].hooks);
    assert_eq!(of_second, of_server, "the same places, of no other number");
    assert_eq!(
        uses(&config.listeners[0].hooks),
        [
            of_server[0],
            of_server[1],
            r#"limit 0 {"burst":20,"nested":[{"a":1}]} fail"#,
            "other 1 {} fail",
        ]
    );
    let route = &config.routes[0];
    assert_eq!(
        uses(&route.hooks),
        [
            r#"limit 1 {"rate":"10r/s","odd key":{"a":1}} skip"#,
            r#"other 0 {"rules":["deny all"]} fail"#,
            r#"other 0 {"rules":["deny all"]} skip"#,
            "other 2 {} skip",
            r#"limit 2 {"burst":5} fail"#,
        ]
    );
    assert!(!route.inherits_hooks && config.routes[1].inherits_hooks);
    let names: Vec<(&str, &str)> = config
        .hooks
        .iter()
        .map(|hook| (&*hook.name, &*hook.plugin))
        .collect();
    // Those with settings are as many as there are places.
    let other = ("other", "other");
    assert_eq!(
        names,
        [("limit", "other"), ("trace", "other"), other, other, other]
    );
    let places = config.listeners[0].hooks.iter();
    let keys: Vec<String> = places
        .map(|place| place.place.problem("nested[0].a", "no good").place.key)
        .collect();
    assert_eq!(
        keys,
        [
            "server.hooks[0]",
            "server.hooks[1]",
            "listen[0].hooks[0].nested[0].a",
            "listen[0].hooks[1]"
        ]
    );
    let internal: Vec<&str> = config
        .routes
        .iter()
        .filter(|route| route.internal)
        .filter_map(|route| route.name.as_deref())
        .collect();
    assert_eq!(internal, ["turned-away", "led"]);
}

#[test]
fn filters_scorers_and_fallbacks_are_the_hosts_words_in_a_policys_table() {
    let config = valid(&folder("valid").join("everything.toml"));
    let policy = &config.upstreams[0].policy;
    let filters: Vec<String> = policy
        .filters
        .iter()
        .map(|filter| format!("{} {}", filter.plugin, filter.settings))
        .collect();
    assert_eq!(filters, ["other {}", r#"other {"zone":"a"}"#]);
    let scorers: Vec<String> = policy
        .scorers
        .iter()
        .map(|scorer| {
            let ScorerUse { scorer, weight } = scorer;
            format!("{} {weight} {}", scorer.plugin, scorer.settings)
        })
        .collect();
    assert_eq!(
        scorers,
        ["other 1 {}", "other 3 {}", r#"other 1 {"half_life":"10s"}"#]
    );
    assert_eq!(policy.fallback, Some(Fallback::Refuse));
    let least_conn = Fallback::Policy("least_conn".to_owned());
    assert_eq!(config.upstreams[1].policy.fallback, Some(least_conn));
    assert_eq!(config.upstreams[2].policy.fallback, None);
    assert_eq!(config.plugins[0].fallback, Fallback::Refuse);
    let labels = [("version", "v2"), ("zone", "a")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(config.upstreams[0].servers[2].labels, labels);
}

/// What `waypost check` warns about, in a file with a listener, a plugin `mine` and these lines
/// from the fifth on.
fn warnings(lines: &str) -> Vec<String> {
    let path = Path::new("waypost.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:8080\"\n[plugin.mine]\nfile = \"mine.wasm\"\n{lines}"
    );
    let config = config::parse_on(&text, path, &SameEverywhere)
        .unwrap_or_else(|problems| panic!("{}", report(&problems, Path::new(""))));
    config::warnings(&config, path)
        .iter()
        .map(|warning| format!("{}", warning.as_warning()))
        .collect()
}

#[test]
fn a_hook_that_no_place_uses_is_warned_about() {
    let lines = "[hook.idle]\nplugin = \"mine\"\n[hook.busy]\nplugin = \"mine\"\n\
                 [server]\nhooks = [\"busy\"]\n[[route]]\nreturn = { status = 204 }";
    let expected = "warning: hook `idle` is used nowhere\n  --> waypost.toml:5:1   (hook.idle)\n\
                    hint: name it in `hooks` of `[server]`, `[[listen]]`, `[[route]]` or \
                    `[[stream]]`";
    assert_eq!(warnings(lines), [expected]);
}

#[test]
fn a_header_that_names_clients_is_warned_about_where_no_proxy_is_trusted() {
    let lines = "[server]\nreal_ip_header = \"X-Real-IP\"\n[[route]]\nreturn = { status = 204 }\n\
                 [[listen]]\naddress = \"127.0.0.1:8081\"\n";
    let expected = "warning: `real_ip_header = \"X-Real-IP\"` without `trusted_proxies`\n  --> \
                    waypost.toml   (real_ip_header)\nhint: nobody is believed: name the proxies in \
                    front, `trusted_proxies = [\"10.0.0.0/8\"]`, or leave it out";
    assert_eq!(warnings(lines), [expected]);
    for trusted in ["10.0.0.0/8", "unix:"] {
        let lines = format!("{lines}trusted_proxies = [\"{trusted}\"]\n");
        assert_eq!(warnings(&lines), [] as [&str; 0]);
    }
}

#[test]
fn a_text_that_is_the_same_for_all_requests_is_warned_about_where_a_variable_was_meant() {
    let lines = "[variable.site]\nfrom = \"uri\"\nmap = { \"/\" = \"1\" }\n\
                 [[route]]\nreturn = { status = 204 }\n\
                 [variable.part]\nfrom = \"one two\"\nsplit = { \"a\" = \"50%\" }";
    let warning = |text: &str, place: &str, hint: &str| {
        format!(
            "warning: `from` is the text `{text}` for all requests\n  --> waypost.toml:{place}.from)\n\
             hint: {hint}"
        )
    };
    let of_name = "a variable begins with a `$`: `from = \"$uri\"`";
    let of_text = "name a variable: `from = \"$uri\"`";
    assert_eq!(
        warnings(lines),
        [
            warning("uri", "6:8   (variable.site", of_name),
            warning("one two", "11:8   (variable.part", of_text),
        ]
    );
}

#[test]
fn several_names_in_one_text_are_warned_about() {
    let lines = "[[route]]\nfiles = { root = \"/\", index = \"index.php index.html\" }";
    let expected = "warning: `index.php index.html` in `index` is one name\n  \
                    --> waypost.toml:6:31   (route[0].files.index)\n\
                    hint: for several names write `index = [\"index.php\", \"index.html\"]`";
    assert_eq!(warnings(lines), [expected]);
}

#[test]
fn a_network_that_does_not_begin_where_it_seems_to_is_warned_about() {
    let lines = "[server]\ntrusted_proxies = [\"10.0.0.1/8\", \"10.0.0.1\"]\n\
                 [variable.office]\nnetworks = { \"192.168.1.1/16\" = \"1\", \"::1/128\" = \"2\" }\n\
                 [[route]]\nwhen = { client = \"!2001:db8::1/32\" }\nproxy = \"http://$arg_to\"\n\
                 proxy_allow = [\"172.16.0.1/12:8080\", \"[fd00::1/8]:80\"]\n\
                 [[listen]]\naddress = \"127.0.0.1:8081\"\n";
    let warning = |written: &str, place: &str, network: &str| {
        let address = written.split('/').next().unwrap();
        format!(
            "warning: low address bits of `{written}` are meaningless\n  --> waypost.toml:{place}\n\
             hint: the network is `{network}`; one address is `{address}`"
        )
    };
    let of_variable = "8:14   (variable.office.networks.\"192.168.1.1/16\")";
    let expected = [
        warning(
            "10.0.0.1/8",
            "6:20   (server.trusted_proxies[0])",
            "10.0.0.0/8",
        ),
        warning("192.168.1.1/16", of_variable, "192.168.0.0/16"),
        warning(
            "2001:db8::1/32",
            "10:19   (route[0].when.client)",
            "2001:db8::/32",
        ),
        warning(
            "172.16.0.1/12",
            "12:16   (route[0].proxy_allow[0])",
            "172.16.0.0/12",
        ),
        warning("fd00::1/8", "12:38   (route[0].proxy_allow[1])", "fd00::/8"),
    ];
    assert_eq!(warnings(lines), expected);
}

#[test]
fn a_hook_that_is_asked_twice_with_nothing_else_to_say_is_warned_about() {
    let lines = "[server]\nhooks = [\"mine\", { plugin = \"mine\", a = 1 }]\n\
                 [hook.here]\nplugin = \"mine\"\n\
                 [[route]]\nhost = [\"a.example\", \"b.example\"]\nreturn = { status = 204 }\n\
                 hooks = [\"mine\", \"here\", { use = \"here\", a = 1 }, { plugin = \"mine\", a = 1 }]\n\
                 [[route]]\nreturn = { status = 204 }\nhooks = [\"mine\"]\ninherit_hooks = false\n\
                 [[stream]]\naddress = \"127.0.0.1:8081\"\nproxy = \"127.0.0.1:8082\"\n\
                 hooks = [{ use = \"here\", a = 1 }, { on_error = \"skip\", use = \"here\", a = 1 }]";
    let warning = |hook: &str, place: &str| {
        format!(
            "warning: hook `{hook}` is asked twice, with the same settings\n  --> waypost.toml:{place}\n\
             hint: the hooks of `[server]`, `[[listen]]` and `[[route]]` add up: leave one out, or \
             say `inherit_hooks = false` in the route"
        )
    };
    assert_eq!(
        warnings(lines),
        [
            warning("mine", "12:10   (route[0].hooks[0])"),
            warning("here", "20:35   (stream[0].hooks[1])"),
        ]
    );
}

#[test]
fn an_internal_route_is_warned_about_where_no_hook_can_lead_to_it() {
    let lines = "[[route]]\nname = \"x\"\ninternal = true\nreturn = { status = 204 }";
    let expected = "warning: nothing leads to route `x`: it is `internal`\n  \
                    --> waypost.toml:5:1   (route[0])\n\
                    hint: hooks, error pages and fallbacks of files lead to such a route by its name";
    assert_eq!(warnings(lines), [expected]);
    let hooks = "\n[server]\nhooks = [\"mine\"]";
    assert!(warnings(&format!("{lines}{hooks}")).is_empty());
    let server = "\n[[route]]\nproxy = \"http://127.0.0.1:1\"\naccel_redirect = true";
    assert!(warnings(&format!("{lines}{server}")).is_empty());
}

#[test]
fn a_policys_own_problem_is_reported_at_the_line_of_its_setting() {
    let config = valid(&folder("valid").join("everything.toml"));
    let place = &config.upstreams[0].policy.place;
    let column = |key: &str| {
        let problem = place.problem(key, "no good");
        assert_eq!(problem.place.line, 45);
        (problem.place.column, problem.place.key)
    };
    assert_eq!(
        column("key"),
        (35, "upstream.backend.policy.key".to_owned())
    );
    assert_eq!(
        column("consistent"),
        (64, "upstream.backend.policy.consistent".to_owned())
    );
    let nested = "upstream.backend.policy.nested.\"odd key\"[2].a".to_owned();
    assert_eq!(column("nested.\"odd key\"[2].a"), (108, nested));
    let item = "upstream.backend.policy.nested.\"odd key\"[1]".to_owned();
    assert_eq!(column("nested.\"odd key\"[1]"), (97, item));
    assert_eq!(
        column("nested.gone"),
        column("nested"),
        "what is missing is missing in its table"
    );
    assert_eq!(column("gone"), (10, "upstream.backend.policy".to_owned()));
    assert_eq!(column(""), column("gone"));
}

#[test]
fn the_page_of_nginxs_directives_is_not_stale() {
    let (path, page) = ("../docs/nginx-directives.md", config::nginx_directives());
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(present, page, "run with WAYPOST_BLESS=1 to write it anew");
}

#[test]
fn the_reference_in_the_documentation_is_not_stale() {
    const BEGIN: &str = concat!(
        "<!-- reference: made by WAYPOST_BLESS=1 cargo test -p waypost --test host config_cases ",
        "-->\n"
    );
    const END: &str = "<!-- end of reference -->\n";
    let path = "../docs/configuration.md";
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (present, after) = rest.split_once(END).unwrap();
    let reference = format!("\n{}", config::reference());
    if std::env::var_os("WAYPOST_BLESS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{reference}{END}{after}")).unwrap();
    } else {
        assert_eq!(
            present, reference,
            "run with WAYPOST_BLESS=1 to write it anew"
        );
    }
}

/// Every case there is, as the stuff that hostile files are made of.
fn texts() -> Vec<String> {
    let all = cases("valid").into_iter().chain(cases("invalid"));
    all.map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

fn read(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(config) = config::parse_on(&text, Path::new("mutated.toml"), &NoFiles) {
        let shown = config::show(&config);
        let again = config::parse_on(&shown, Path::new("mutated.toml"), &NoFiles);
        let again = again
            .unwrap_or_else(|problems| panic!("{shown}\n{}", report(&problems, Path::new(""))));
        assert_eq!(meaning(again), meaning(config));
    }
}

proptest! {
    // A failure that matters becomes a case above.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic_the_loader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn mutated_files_never_panic_the_loader_and_survive_being_shown(
        case in any::<prop::sample::Index>(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..6, "[ -~\n]{0,4}"), 0..4),
    ) {
        let texts = texts();
        let mut bytes = case.get(&texts).clone().into_bytes();
        for (at, removed, inserted) in cuts {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted.into_bytes());
        }
        read(&bytes);
    }

    #[test]
    fn lines_of_several_files_thrown_together_never_panic_the_loader(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..30),
    ) {
        let texts = texts();
        let line = |(case, line): &(prop::sample::Index, prop::sample::Index)| {
            let lines: Vec<&str> = case.get(&texts).lines().collect();
            if lines.is_empty() { String::new() } else { format!("{}\n", line.get(&lines)) }
        };
        read(picks.iter().map(line).collect::<String>().as_bytes());
    }
}
