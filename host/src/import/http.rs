//! `http`: its servers become listeners, and routes with a host.
//!
//! An address of nginx has a first `server`, which also answers all hosts that no other one has: its
//! routes have no `host`. Where another server's wildcard could take its own names from it, it has
//! routes with its names besides.

use std::collections::HashSet;

use super::Translator;
use super::acme;
use super::breaking::Breaking;
use super::fallback::{OF_LISTENER, OF_PLACES};
use super::guards::closed;
use super::hoist::{hoist, hoist_answers, hoist_requests};
use super::hosts::{Address, Server, Target, addresses, server_of};
use super::listen::{self, Listen};
use super::listener_rules::{Others, others_of};
use super::matching::Location;
use super::named::led_to;
use super::process;
use super::real_ip;
use super::scope::Scope;
use super::stamps::{is_of_one_host, of_gates, of_hosts, stamped};
use super::steps::Gate;
use super::tls;
use super::values;
use super::words::Around;
use super::writer::{Block, Table, text, texts};
use crate::config::size_text;
use crate::http::variable::Phase;

impl<'a> Translator<'a> {
    /// Translates what stands in `http`.
    pub(super) fn http(&mut self, http: &'a Scope<'a>) {
        OF_PLACES.iter().for_each(|name| self.accounts.ask(name));
        self.words.declare(http.children, Phase::Request);
        self.upstreams.declare(http, Phase::Request);
        self.zones.declare(http);
        let mut servers: Vec<Server<'_>> = Vec::new();
        for directive in http.own("server") {
            let scope = http.within(directive);
            self.accounts
                .translated(directive, "`[[route]]`s of its listeners and hosts");
            servers.push(self.named_server(scope));
        }
        self.serve(http, servers);
    }

    /// Translates what stands in a `server` that has no braces around it.
    pub(super) fn part(&mut self, scope: &'a Scope<'a>) {
        OF_PLACES.iter().for_each(|name| self.accounts.ask(name));
        self.words.declare(scope.children, Phase::Request);
        let server = self.named_server(scope.at(&scope.constants));
        self.serve(scope, vec![server]);
    }

    fn serve(&mut self, http: &Scope<'_>, mut servers: Vec<Server<'_>>) {
        let addresses = addresses(&servers);
        self.tells_hosts = addresses.iter().any(|address| address.servers.len() > 1);
        self.drop_repeated_names(&mut servers);
        listen::check_overlaps(&servers, &addresses, self.accounts);
        let ports = servers.iter().flat_map(|server| &server.listens);
        let usual = |listen: &Listen| {
            let port = listen.address.rsplit(':').next().unwrap_or_default();
            matches!(port, "80" | "443") || listen.address.starts_with("unix:")
        };
        self.has_usual_ports = ports.clone().all(usual);
        let scopes: Vec<&Scope<'_>> = servers.iter().map(|server| &server.scope).collect();
        self.traces(http);
        let listeners = self.listeners(&servers, &addresses);
        acme::unused(http, self.accounts);
        for server in &servers {
            self.hand_on(&server.scope);
        }
        for (index, server) in servers.iter().enumerate() {
            let targets = self.targets(index, &servers, &addresses);
            self.words.around = around(server, &targets);
            let others = || others_of(index, &servers, &addresses);
            let is_own = |listen: &str, host: &str| {
                let mut all = addresses.iter().filter(|address| address.name == listen);
                all.any(|address| server_of(host, address, &servers) == Some(index))
            };
            self.server(server, (&targets, listeners), &others, &is_own);
        }
        self.words.around = Around::default();
        hoist(&mut self.out.routes, &mut self.out.server.keys);
        hoist_answers(&mut self.out.routes, &mut self.out.server);
        let is_of_route = |name: &str| self.words.is_of_route(name);
        hoist_requests(&mut self.out.routes, &mut self.out.server, &is_of_route);
        let mut logs = vec![http];
        logs.extend(&scopes);
        process::error_log(&logs, &mut self.out.server.keys, self.accounts);
        let resolves = self.uses_resolver || names_resolved_again(http);
        process::resolvers(http, resolves, &mut self.out.server.keys, self.accounts);
        for scope in scopes
            .iter()
            .filter(|scope| !scope.own("resolver").is_empty())
        {
            process::resolvers(scope, resolves, &mut self.out.server.keys, self.accounts);
        }
        let zones = self.zone_blocks();
        self.out.hooks.extend(zones);
    }

    /// The `[[listen]]` of each address. Returns how many there are.
    fn listeners(&mut self, servers: &[Server<'_>], addresses: &[Address]) -> usize {
        let mut blocks = Vec::new();
        for address in addresses {
            let of_address = |index: &usize| servers.get(*index);
            let members: Vec<&Server<'_>> = address.servers.iter().filter_map(of_address).collect();
            let Some(first) = members.first() else {
                continue;
            };
            let mut block = Block::new("[[listen]]");
            block.keys.set("address", text(&address.name));
            let listens = members.iter().flat_map(|server| &server.listens);
            let listens: Vec<&Listen> = listens
                .filter(|listen| listen.address == address.name)
                .collect();
            if listens.iter().any(|listen| listen.tls) {
                let with_names: Vec<(&Scope<'_>, Vec<String>)> = members
                    .iter()
                    .map(|server| (&server.scope, server.names_at(&address.name)))
                    .collect();
                match tls::tls(&with_names, self.accounts) {
                    Some(tls) => block.tables.push(("tls", tls)),
                    None => {
                        for directive in first.scope.own("listen") {
                            self.accounts
                                .lost(directive, "TLS without an `ssl_certificate`");
                        }
                    }
                }
            }
            if listens.iter().any(|listen| listen.proxy_protocol) {
                block.keys.set("proxy_protocol", "true");
            }
            if let Some(backlog) = listens.iter().find_map(|listen| listen.backlog) {
                block.keys.set("backlog", backlog.to_string());
            }
            self.http2(&members, &mut block.keys);
            let scopes: Vec<&Scope<'_>> = members.iter().map(|server| &server.scope).collect();
            let serving: Vec<&Scope<'_>> = scopes
                .iter()
                .filter(|scope| !tls::rejects(scope))
                .copied()
                .collect();
            real_ip::real_ip(&serving, &mut block.keys, self.accounts);
            self.of_listener(&first.scope, &mut block.keys);
            blocks.push(block);
        }
        hoist(&mut blocks, &mut self.out.server.keys);
        let count = blocks.len();
        self.out.listens.extend(blocks);
        count
    }

    fn http2(&self, members: &[&Server<'_>], keys: &mut Table) {
        let directives: Vec<_> = members
            .iter()
            .flat_map(|server| server.scope.nearest("http2"))
            .collect();
        let is_off =
            !directives.is_empty() && directives.iter().all(|each| each.argument(0) == "off");
        if is_off {
            keys.set("http2", "false");
        }
        for directive in directives {
            match is_off {
                true => self
                    .accounts
                    .translated(directive, "`http2 = false` in `[[listen]]`"),
                false => self
                    .accounts
                    .built_in(directive, "`http2` is on by default"),
            }
        }
        self.accounts
            .general("HTTP/2 is offered to clients on every listener.");
    }

    /// What the first server of an address says of its clients.
    fn of_listener(&self, scope: &Scope<'_>, keys: &mut Table) {
        let accounts = self.accounts;
        for (name, key, default) in [
            ("client_header_timeout", "client_header_timeout", 60),
            ("keepalive_timeout", "keepalive_timeout", 75),
            ("keepalive_time", "keepalive_time", 3600),
            ("send_timeout", "send_timeout", 60),
        ] {
            debug_assert!(OF_LISTENER.contains(&name));
            if let Some(directive) = scope.one(name) {
                self.time(directive, key, default, keys);
            }
        }
        for (name, default) in [("keepalive_requests", "1000"), ("max_headers", "1000")] {
            if let Some(directive) = scope.one(name) {
                match directive.argument(0) {
                    value if value == default => accounts.built_in(directive, "it is the default"),
                    value if value.parse::<u32>().is_ok_and(|value| value > 0) => {
                        keys.set(name, value);
                        accounts.translated(directive, format!("`{name}`"));
                    }
                    _ => accounts.lost(directive, "it is no number from 1"),
                }
            }
        }
        if let Some(directive) = scope.one("underscores_in_headers") {
            match directive.argument(0) {
                "on" => {
                    keys.set("underscores_in_headers", "true");
                    accounts.translated(directive, "`underscores_in_headers`");
                }
                _ => accounts.built_in(directive, "off is the default"),
            }
        }
        if let Some(directive) = scope.one("large_client_header_buffers") {
            let number: Option<u64> = directive.argument(0).parse().ok();
            let size = values::size(directive.argument(1));
            match number
                .zip(size)
                .and_then(|(number, size)| number.checked_mul(size))
            {
                Some(bytes) if bytes == 32 << 10 => {
                    accounts.built_in(directive, "it is the default");
                }
                Some(bytes) => {
                    keys.set("client_header_size", text(&size_text(bytes)));
                    accounts.translated(directive, "`client_header_size`, for the whole header");
                }
                None => accounts.lost(directive, "it is a number and a size"),
            }
        }
        if let Some(directive) = scope.one("client_header_buffer_size") {
            accounts.built_in(
                directive,
                "`client_header_size` bounds a header, 32 KiB by default",
            );
        }
    }

    /// The routes of a server, for each of its targets. `is_own`: whether a host comes to it at a
    /// listener.
    fn server(
        &mut self,
        server: &Server<'_>,
        (targets, listeners): (&[Target], usize),
        others: &dyn Fn() -> Vec<Others>,
        is_own: &dyn Fn(&str, &str) -> bool,
    ) {
        let scope = &server.scope;
        let steps = self.steps(scope, None);
        self.breaking = Breaking::of(&steps.rules);
        let all_gates = steps.gates;
        let gates: Vec<Gate> = all_gates
            .iter()
            .filter(|gate| !is_of_one_host(gate))
            .cloned()
            .collect();
        let mut routes = Vec::new();
        match steps.answer {
            Some(answer) => {
                routes.extend(of_gates(&gates));
                routes.push(answer);
                for location in scope.own("location") {
                    self.accounts
                        .harmless(location, "never reached: the server answers before");
                    self.accounts.with_children(location);
                }
            }
            None => {
                for location in scope.own("location") {
                    let inner = scope.within(location);
                    self.location(&inner, None, &gates, &mut routes);
                }
                super::nesting::sort(&mut routes);
                let roots = [text("/"), text("^~ /")];
                let has_root = routes.iter().any(|route| {
                    let path = route.keys.get("path");
                    let is_root = path.is_some_and(|path| roots.iter().any(|root| root == path));
                    is_root && route.keys.get("when").is_none()
                });
                if !has_root {
                    routes.extend(of_gates(&gates));
                    let is_alone = routes.is_empty();
                    let rest = self.rest(scope, gates.is_empty());
                    routes.extend(rest.into_iter().map(|block| Block {
                        is_rest: !is_alone,
                        ..block
                    }));
                }
            }
        }
        let named = self.named_routes(scope);
        let is_unsure = self.is_unsure(scope);
        // What is closed leads nowhere.
        let rules = match steps.is_closed || is_unsure {
            true => &[][..],
            false => &steps.rules,
        };
        // A rule may lead requests to where they are kept out.
        let are_rules_lost = !self.rules_of_server(server, rules, others);
        if steps.is_closed || is_unsure || are_rules_lost {
            routes = if is_unsure {
                Vec::new()
            } else {
                of_gates(&gates)
            };
            routes.push(closed(scope));
        }
        let hosts = if is_unsure { Vec::new() } else { all_gates };
        let of_hosts_alone = hosts.iter().map(|gate| &gate.block);
        let named = led_to(
            named,
            &self.for_names(scope),
            routes.iter().chain(of_hosts_alone),
        );
        if let (Some(first), Some(directive)) = (routes.first_mut(), scope.directive) {
            first
                .comments
                .splice(0..0, super::comments::of_block(directive));
        }
        let mut answered = HashSet::new();
        for target in targets {
            let mut all = Vec::new();
            if target.is_closed {
                all.push(stamped(closed(scope), target));
            } else {
                let target = of_hosts(&hosts, target, is_own, &mut answered, &mut all);
                let stamped = |route: &Block| Some(stamped(route.clone(), target.as_ref()?));
                all.extend(routes.iter().filter_map(stamped));
                self.named.rename_repeated(&mut all);
            }
            for route in &mut all {
                let is_everywhere = target.listen.len() == listeners
                    && route.keys.get("listen") == Some(&*texts(&target.listen));
                if is_everywhere {
                    route.keys.remove("listen");
                }
            }
            if let Some(first) = all.first_mut()
                && target.hosts.is_none()
                && !server.names.is_empty()
                && targets.len() == 1
                && self.tells_hosts
            {
                let names = server.names.join(", ");
                first
                    .comments
                    .insert(0, format!("{names}, and all other hosts"));
            }
            self.out.routes.extend(all);
        }
        // Whatever hosts there are, only a name leads to them.
        let addresses: Vec<String> = targets
            .iter()
            .flat_map(|target| target.listen.clone())
            .collect();
        for mut block in named.into_iter().filter(|_| !addresses.is_empty()) {
            if addresses.len() < listeners {
                let listen = Table::new().with("listen", texts(&addresses));
                block.keys = listen.followed_by(block.keys);
            }
            self.out.routes.push(block);
        }
    }

    /// What a server does with paths that no location has: files, if it has a directory for them.
    fn rest(&mut self, scope: &Scope<'_>, is_first: bool) -> Vec<Block> {
        let has = |name| !scope.nearest(name).is_empty();
        if has("root") || !scope.own("try_files").is_empty() {
            let all = Location::Prefix("/".to_owned());
            return self.whole(scope, &all, &[], (is_first, &Table::new()));
        }
        self.accounts.general(
            "A path that no location has is a 404 where there is no `root`: nginx looks into its own \
             folder `html`.",
        );
        // A path without a route is a 404 as well, but one without headers and pages.
        let block = self.refusal(scope, 404);
        let has_headers = block.headers.iter().any(|(_, headers)| !headers.is_empty());
        let is_more = has_headers || block.get("error_pages").is_some();
        if is_more { vec![block] } else { Vec::new() }
    }
}

/// What texts of a server are written with.
fn around(server: &Server<'_>, targets: &[Target]) -> Around {
    let is_tls = |expected: bool| server.listens.iter().all(|listen| listen.tls == expected);
    Around {
        server_name: server.names.first().cloned(),
        names: server.names.clone(),
        has_hosts: targets.iter().all(|target| target.hosts.is_some()),
        scheme: match (is_tls(true), is_tls(false)) {
            (true, false) => Some("https"),
            (false, true) => Some("http"),
            _ => None,
        },
    }
}

/// Whether names of servers are resolved again in nginx, too.
fn names_resolved_again(http: &Scope<'_>) -> bool {
    let groups = http.own("upstream").iter();
    groups.flat_map(|group| group.children()).any(|server| {
        server
            .arguments
            .iter()
            .any(|argument| argument == "resolve")
    })
}
