//! What is said of connections where requests are passed on, and belongs to the upstream here.

use super::Translator;
use super::scope::Scope;
use super::target::Target;
use super::values;
use super::writer::{Table, text};
use crate::config::size_text;

/// Header bytes that an upstream's answer may have by default.
const RESPONSE_HEADER: u64 = 32 << 10;
impl Translator<'_> {
    /// What belongs to the upstream here, and is said where requests are passed on in nginx.
    pub(super) fn of_upstream(&self, scope: &Scope<'_>, target: &Target) -> Table {
        let accounts = self.accounts;
        let mut extra = Table::new();
        if target.is_tls {
            let prefix = if target.is_grpc { "grpc" } else { "proxy" };
            extra.set("tls", self.tls_to_server(scope, target, prefix).inline());
        }
        if target.is_grpc {
            extra.set("http2", "true");
        }
        for version in scope.nearest("proxy_http_version") {
            match version.argument(0) {
                "2" | "2.0" => {
                    extra.set("http2", "true");
                    accounts.translated(version, "`http2 = true` in the upstream");
                }
                _ => accounts.built_in(version, "servers are spoken to in HTTP/1.1"),
            }
        }
        for name in ["proxy_buffer_size", "grpc_buffer_size"] {
            for size in scope.nearest(name) {
                match values::size(size.argument(0)) {
                    Some(bytes) if bytes > RESPONSE_HEADER => {
                        extra.set("response_header_size", text(&size_text(bytes)));
                        accounts.translated(size, "`response_header_size` in the upstream");
                    }
                    Some(_) => accounts.built_in(size, "a server's header may have 32 KiB"),
                    None => accounts.lost(size, "it is no size"),
                }
            }
        }
        extra
    }

    fn tls_to_server(&self, scope: &Scope<'_>, target: &Target, prefix: &str) -> Table {
        let accounts = self.accounts;
        let names: [&'static str; 8] = match prefix {
            "grpc" => [
                "grpc_ssl_verify",
                "grpc_ssl_trusted_certificate",
                "grpc_ssl_crl",
                "grpc_ssl_name",
                "grpc_ssl_certificate",
                "grpc_ssl_certificate_key",
                "grpc_ssl_protocols",
                "grpc_ssl_server_name",
            ],
            _ => [
                "proxy_ssl_verify",
                "proxy_ssl_trusted_certificate",
                "proxy_ssl_crl",
                "proxy_ssl_name",
                "proxy_ssl_certificate",
                "proxy_ssl_certificate_key",
                "proxy_ssl_protocols",
                "proxy_ssl_server_name",
            ],
        };
        let [
            verify,
            ca,
            crl,
            name,
            certificate,
            key,
            protocols,
            sends_name,
        ] = names;
        let mut table = Table::new();
        let verifies = scope.is_on(verify);
        if !verifies {
            table.set("verify", "false");
        }
        if let Some(directive) = scope.one(verify) {
            accounts.translated(directive, "`verify` in `tls` of the upstream");
        }
        for (directive, key) in [
            (ca, "ca"),
            (crl, "crl"),
            (certificate, "certificate"),
            (key, "key"),
        ] {
            let Some(directive) = scope.one(directive) else {
                continue;
            };
            match matches!(key, "ca" | "crl") && !verifies {
                true => accounts.harmless(directive, "the server is not verified"),
                false => {
                    table.set(key, text(directive.argument(0)));
                    accounts.translated(directive, format!("`{key}` in `tls` of the upstream"));
                }
            }
        }
        let sends = scope.is_on(sends_name);
        if let Some(directive) = scope.one(sends_name) {
            match sends {
                true => accounts.built_in(directive, "a server's name is sent wherever it has one"),
                false => accounts.changed(directive, "a server's name is sent wherever it has one"),
            }
        }
        match scope.one(name) {
            Some(directive) => match self.words.inline(directive.argument(0), &scope.constants) {
                Ok(host) if host == "$proxy_host" => {
                    accounts.built_in(directive, "it is the default");
                }
                Ok(host) if !host.contains('$') => {
                    table.set("server_name", text(&host));
                    accounts.translated(directive, "`server_name` in `tls` of the upstream");
                }
                Ok(_) => accounts.lost(
                    directive,
                    "the name of a server is fixed: `server_name` in `tls`",
                ),
                Err(why) => accounts.lost(directive, why),
            },
            None if (sends || verifies) && self.upstreams.is_declared(&target.server) => {
                table.set("server_name", text(&target.server));
            }
            None => {}
        }
        for directive in scope.nearest(protocols) {
            let has = |version: &str| directive.arguments.iter().any(|each| each == version);
            match has("TLSv1.2") {
                true => accounts.built_in(directive, "TLS 1.2 and 1.3 are spoken"),
                false if has("TLSv1.3") => {
                    table.set("min_version", text("1.3"));
                    accounts.translated(directive, "`min_version` in `tls` of the upstream");
                }
                false => accounts.lost(directive, "TLS 1.2 and 1.3 are spoken (RFC 8996)"),
            }
        }
        table
    }
}
