//! `stream`: connections that are balanced as they are.

use super::Translator;
use super::listen;
use super::scope::Scope;
use super::tls;
use super::tree::Directive;
use super::values;
use super::writer::{Block, Table, text};
use crate::config::duration_text;
use crate::http::variable::Phase;

impl<'a> Translator<'a> {
    /// Translates what stands in `stream`.
    pub(super) fn stream(&mut self, stream: &'a Scope<'a>) {
        self.words.declare(stream.children, Phase::Choice);
        self.upstreams.declare(stream, Phase::Choice);
        self.zones.declare(stream);
        for directive in stream.own("server") {
            let scope = stream.within(directive);
            self.accounts.translated(directive, "`[[stream]]`");
            let listens = listen::listens(&scope, "[[stream]]", self.accounts);
            for (index, listen) in listens.iter().enumerate() {
                let mut block = Block::new("[[stream]]");
                if index == 0 {
                    block.range = Some((directive.id, directive.last));
                    block.comments = super::comments::of_block(directive);
                }
                block.keys.set("address", text(&listen.address));
                if listen.proxy_protocol {
                    block.keys.set("proxy_protocol", "true");
                }
                if let Some(backlog) = listen.backlog {
                    block.keys.set("backlog", backlog.to_string());
                }
                if listen.tls {
                    let Some(mut tls) = tls::tls(&[(&scope, Vec::new())], self.accounts) else {
                        self.accounts
                            .lost(directive, "TLS without an `ssl_certificate`");
                        continue;
                    };
                    if let Some(directive) = scope.one("ssl_handshake_timeout") {
                        self.time(directive, "handshake_timeout", 60, &mut tls);
                    }
                    block.tables.push(("tls", tls));
                }
                if self.session(&scope, &mut block) {
                    self.out.streams.push(block);
                }
            }
        }
        let zones = self.zone_blocks();
        self.out.hooks.extend(zones);
        process_wide(self, stream);
    }

    /// What is done with the connections of a server. False where nothing can be.
    fn session(&mut self, scope: &Scope<'_>, block: &mut Block) -> bool {
        let accounts = self.accounts;
        let Some(pass) = scope.own("proxy_pass").first().copied() else {
            if let Some(server) = scope.directive {
                accounts.lost(server, "a `[[stream]]` passes its connections on");
            }
            return false;
        };
        let extra = self.of_stream_upstream(scope);
        let mut sni = Vec::new();
        let written = pass.argument(0);
        let table = written
            .strip_prefix('$')
            .and_then(|name| self.words.tables.get(name));
        let target = match table {
            Some(table) => match self.by_name(table, &extra, &mut sni) {
                Ok(target) => target,
                Err(why) => {
                    accounts.lost(pass, why.clone());
                    accounts.lost(table, why);
                    return false;
                }
            },
            None if written.contains('$') => match self.words.inline(written, &scope.constants) {
                Ok(target) if !target.contains('$') => target,
                _ => {
                    accounts.lost(pass, "the server of a stream is fixed, or chosen by `sni`");
                    return false;
                }
            },
            None => written.to_owned(),
        };
        self.health_check(scope, &target, "tcp");
        let proxy = self.upstreams.find(&target, &extra).unwrap_or(target);
        accounts.translated(pass, format!("`proxy = \"{proxy}\"`"));
        block.keys.set("proxy", text(&proxy));
        if !sni.is_empty() {
            block.lists.push(("sni", sni));
        }
        for preread in scope.nearest("ssl_preread") {
            match table.is_some() {
                true => accounts.translated(preread, "`sni` in `[[stream]]`"),
                false => accounts.harmless(preread, "no server is chosen by the name"),
            }
        }
        for (name, key, default) in [("proxy_timeout", "idle_timeout", 600)] {
            if let Some(directive) = scope.one(name) {
                self.time(directive, key, default, &mut block.keys);
            }
        }
        for name in ["preread_timeout", "proxy_protocol_timeout"] {
            if let Some(directive) = scope.one(name) {
                self.time(directive, "preread_timeout", 30, &mut block.keys);
            }
        }
        if let Some(log) = self.access_log(scope, Phase::Session) {
            block.keys.set("access_log", log);
        }
        for name in ["proxy_buffer_size", "preread_buffer_size", "tcp_nodelay"] {
            for directive in scope.nearest(name) {
                accounts.built_in(directive, "there is nothing to tune");
            }
        }
        let hooks = self.guards(scope);
        if self.is_guard_lost(scope) {
            if let Some(server) = scope.directive {
                accounts.lost(server, "what keeps connections out is lost: it is left out");
            }
            return false;
        }
        block.extend_list("hooks", hooks);
        accounts.general(
            "A stream's session of which one side has ended goes on for up to 10 s in the other direction.",
        );
        true
    }

    /// The servers that a `map` of `$ssl_preread_server_name` leads to, and the one for all else.
    fn by_name(
        &mut self,
        table: &Directive,
        extra: &Table,
        sni: &mut Vec<String>,
    ) -> Result<String, String> {
        if table.argument(0).trim_matches(['$', '{', '}']) != "ssl_preread_server_name" {
            return Err(
                "servers of a stream are chosen by `$ssl_preread_server_name` alone".to_owned(),
            );
        }
        let mut default = None;
        for entry in table.children() {
            let (host, target) = (entry.name.as_str(), entry.argument(0));
            match host {
                "hostnames" | "volatile" => continue,
                "default" => {
                    default = Some(target.to_owned());
                    continue;
                }
                host if host.starts_with('~') => {
                    return Err("`sni` has names, no regular expressions".to_owned());
                }
                _ => {}
            }
            if target.contains('$') || target.is_empty() {
                return Err("where `sni` leads is fixed".to_owned());
            }
            let proxy = self.upstreams.find(target, extra);
            let proxy = proxy.unwrap_or_else(|| target.to_owned());
            let hosts = match host.strip_prefix('.') {
                Some(domain) => vec![domain.to_owned(), format!("*.{domain}")],
                None => vec![host.to_owned()],
            };
            for host in hosts {
                let item = Table::new()
                    .with("host", text(&host))
                    .with("proxy", text(&proxy));
                sni.push(item.inline());
            }
        }
        self.accounts.translated(table, "`sni` in `[[stream]]`");
        default.ok_or_else(|| {
            "a `[[stream]]` has a server for connections that name none of these hosts: add a \
             `default`"
                .to_owned()
        })
    }

    /// What belongs to the upstream here.
    fn of_stream_upstream(&self, scope: &Scope<'_>) -> Table {
        let accounts = self.accounts;
        let mut extra = Table::new();
        if scope.is_on("proxy_ssl") {
            let mut tls = Table::new();
            if !scope.is_on("proxy_ssl_verify") {
                tls.set("verify", "false");
            }
            for (name, key) in [
                ("proxy_ssl_trusted_certificate", "ca"),
                ("proxy_ssl_name", "server_name"),
                ("proxy_ssl_certificate", "certificate"),
                ("proxy_ssl_certificate_key", "key"),
            ] {
                if let Some(directive) = scope.one(name) {
                    tls.set(key, text(directive.argument(0)));
                    accounts.translated(directive, format!("`{key}` in `tls` of the upstream"));
                }
            }
            for name in ["proxy_ssl", "proxy_ssl_verify"] {
                for directive in scope.nearest(name) {
                    accounts.translated(directive, "`tls` of the upstream");
                }
            }
            extra.set("tls", tls.inline());
        }
        if let Some(directive) = scope
            .one("proxy_protocol")
            .filter(|each| each.argument(0) == "on")
        {
            extra.set("proxy_protocol", text("v1"));
            accounts.translated(directive, "`proxy_protocol = \"v1\"` in the upstream");
        }
        if let Some(directive) = scope.one("proxy_connect_timeout") {
            self.time(directive, "connect_timeout", 60, &mut extra);
        }
        if let Some(directive) = scope.one("proxy_next_upstream") {
            match directive.argument(0) {
                "off" => {
                    extra.set("next_upstream", text("off"));
                    accounts.translated(directive, "`next_upstream` in the upstream");
                }
                _ => accounts.built_in(directive, "on is the default"),
            }
        }
        if let Some(directive) = scope.one("proxy_next_upstream_tries") {
            extra.set("next_upstream_tries", directive.argument(0));
            accounts.translated(directive, "`next_upstream_tries` in the upstream");
        }
        if let Some(directive) = scope.one("proxy_next_upstream_timeout")
            && let Some(time) = values::time(directive.argument(0))
        {
            extra.set("next_upstream_timeout", text(&duration_text(time)));
            accounts.translated(directive, "`next_upstream_timeout` in the upstream");
        }
        extra
    }
}

/// What `stream` says of the process.
fn process_wide(translator: &mut Translator<'_>, stream: &Scope<'_>) {
    let keys = &mut translator.out.server.keys;
    super::process::error_log(&[stream], keys, translator.accounts);
    super::process::resolvers(stream, false, keys, translator.accounts);
}
