//! Headers on their way to servers and back: what Waypost does not do by itself.

use super::Translator;
use super::report::Outcome;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::Piece;
use super::variables::pieces_of;
use super::writer::{Headers, text};
use crate::config::model::WITH_HEADERS;
use crate::http::headers::{is_framing, is_token};
use crate::http::variable::Phase;

pub(super) const CONTENT_TYPE: &str = "Content-Type";
/// Headers that must not be sent with errors: they would be kept.
const OF_CACHING: [&str; 5] = [
    "cache-control",
    "expires",
    "pragma",
    "age",
    "surrogate-control",
];
const WITHOUT_ALWAYS: &str = "also with statuses other than 200, 201, 204, 206, 301, 302, 303, 304, \
                              307 and 308, which nginx leaves out without `always`";

impl Translator<'_> {
    /// `request_headers` of a route with a `proxy`.
    pub(super) fn request_headers(&self, scope: &Scope<'_>, directive: &'static str) -> Headers {
        let mut headers = Headers::default();
        let mut names_host = false;
        let all = scope.nearest(directive);
        for header in all {
            let name = header.argument(0);
            names_host |= name.eq_ignore_ascii_case("host");
            let same = |other: &&&Directive| other.argument(0).eq_ignore_ascii_case(name);
            if is_as_it_was(header)
                && all.iter().filter(same).count() == 1
                && scope.value("proxy_pass_request_headers") != Some("off")
            {
                self.accounts.built_in(header, "it is passed on as it is");
                continue;
            }
            self.request_header(scope, header, &mut headers);
        }
        if !names_host {
            headers.set.set("Host", text("$proxy_host"));
        }
        headers
    }

    fn request_header(&self, scope: &Scope<'_>, header: &Directive, headers: &mut Headers) {
        let accounts = self.accounts;
        let (name, value) = (header.argument(0), header.argument(1));
        let lower = name.to_ascii_lowercase();
        let single = match pieces_of(value).as_slice() {
            [Piece::Variable(name)] => Some(name.to_ascii_lowercase()),
            _ => None,
        };
        let single = single.as_deref();
        if !is_token(name.as_bytes()) {
            return accounts.lost(header, "it is no name of a header");
        }
        if is_framing(name.as_bytes()) {
            return match &*lower {
                "upgrade" if !value.is_empty() && !value.contains('$') => accounts.changed(
                    header,
                    "upgrades pass where clients ask for them, and no other request asks for one",
                ),
                "connection" | "upgrade" => {
                    accounts.built_in(header, "upgrades such as WebSocket pass by themselves");
                    // The `map` that goes with it.
                    for name in super::variables::names_in(value) {
                        if let Some(table) = self.words.tables.get(name) {
                            accounts
                                .built_in(table, "upgrades such as WebSocket pass by themselves");
                        }
                    }
                }
                _ if value.is_empty() => accounts.built_in(header, "it is not passed on"),
                _ => accounts.lost(header, "what frames a message is written by the proxy"),
            };
        }
        let trusts = !scope.nearest("set_real_ip_from").is_empty();
        let by_default = match (&*lower, single) {
            ("host", Some("http_host")) => Some(Outcome::BuiltIn),
            ("host" | "x-forwarded-host", Some("host")) if self.has_usual_ports => {
                Some(Outcome::Changed)
            }
            ("x-forwarded-host", Some("http_host")) if !trusts => Some(Outcome::BuiltIn),
            ("x-real-ip", Some("remote_addr")) => Some(Outcome::BuiltIn),
            ("x-forwarded-for", Some("proxy_add_x_forwarded_for")) => Some(Outcome::Changed),
            ("x-forwarded-for", Some("remote_addr")) if !trusts => Some(Outcome::BuiltIn),
            ("x-forwarded-proto", Some("scheme")) if !trusts => Some(Outcome::BuiltIn),
            _ => None,
        };
        match by_default {
            Some(Outcome::Changed) if lower == "x-forwarded-for" => {
                let how = match trusts {
                    true => {
                        "sent by default: its last address is the trusted proxy's, where nginx has \
                         the client's once more"
                    }
                    false => {
                        "sent by default; what a client sends itself is believed of \
                         `trusted_proxies` alone"
                    }
                };
                return accounts.changed(header, how);
            }
            Some(Outcome::Changed) => {
                return accounts.changed(
                    header,
                    "sent by default as the client wrote it: with a port, if it names one",
                );
            }
            Some(_) => return accounts.built_in(header, "sent by default"),
            None => {}
        }
        if self.is_forwarded_map(&lower, value) {
            return accounts.changed(
                header,
                "sent by default: what `trusted_proxies` say, else how the client asked",
            );
        }
        match self.words.text(value, &scope.constants, Phase::Request) {
            Ok(value) if value.is_empty() && lower == "host" => {
                accounts.lost(header, "a request has a `Host`");
            }
            Ok(value) if value.is_empty() => {
                if !headers
                    .remove
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name))
                {
                    headers.remove.push(name.to_owned());
                }
                accounts.translated(header, "`remove` in `request_headers`");
            }
            Ok(value) => {
                let value = text(&one_line(&value));
                let known = headers
                    .set
                    .pairs()
                    .any(|(known, _)| known.eq_ignore_ascii_case(name));
                match known && lower != "host" {
                    true => headers.add.set(name, value),
                    false => headers
                        .set
                        .set(if lower == "host" { "Host" } else { name }, value),
                }
                accounts.translated(header, "`set` in `request_headers`");
            }
            Err(why) => {
                accounts.lost(header, why);
                // The server would believe what the client says there.
                if lower != "host" {
                    headers.remove.push(name.to_owned());
                }
            }
        }
    }

    /// Whether a header has the value of a `map` that takes what a proxy before this one said.
    fn is_forwarded_map(&self, name: &str, value: &str) -> bool {
        let suffix = match name.strip_prefix("x-forwarded-") {
            Some("proto" | "host") => name.replace('-', "_"),
            _ => return false,
        };
        let [Piece::Variable(variable)] = *pieces_of(value) else {
            return false;
        };
        let Some(table) = self.words.tables.get(variable) else {
            return false;
        };
        let from = table.argument(0).trim_start_matches('$');
        let own = |entry: &Directive| {
            matches!(entry.argument(0), "$scheme" | "$host" | "$http_host")
                || entry.argument(0).trim_start_matches('$') == from
        };
        let fits = from == format!("http_{suffix}") && table.children().iter().all(own);
        if fits {
            self.accounts.changed(
                table,
                "what `trusted_proxies` say is passed on, else how the client asked",
            );
        }
        fits
    }

    /// `response_headers` of a route, which answers with `status` if that is known, and what has to stand elsewhere: the `Content-Type` that an
    /// answer of the route itself is given.
    pub(super) fn response_headers(
        &self,
        scope: &Scope<'_>,
        phase: Phase,
        status: Option<u16>,
    ) -> (Headers, Option<String>) {
        let accounts = self.accounts;
        let mut headers = Headers::default();
        let mut content_type = None;
        if phase == Phase::Response {
            for name in ["proxy_hide_header", "grpc_hide_header"] {
                for header in scope.nearest(name) {
                    let name = header.argument(0);
                    if !headers
                        .remove
                        .iter()
                        .any(|known| known.eq_ignore_ascii_case(name))
                    {
                        headers.remove.push(name.to_owned());
                    }
                    accounts.translated(header, "`remove` in `response_headers`");
                }
            }
        }
        for header in scope.nearest("add_header") {
            let (name, value) = (header.argument(0), header.argument(1));
            let value = match self.words.text(value, &scope.constants, phase) {
                Ok(value) => one_line(&value),
                Err(why) => {
                    accounts.lost(header, why);
                    continue;
                }
            };
            let may_be_typed = status.is_none_or(|status| WITH_HEADERS.contains(&status))
                || header.argument(2) == "always";
            if phase == Phase::Return
                && may_be_typed
                && name.eq_ignore_ascii_case("content-type")
                && !value.contains('$')
            {
                accounts.changed(
                    header,
                    "`content_type` in `return`: nginx sends two of them",
                );
                content_type = Some(value);
                continue;
            }
            // What answers to preflight requests of CORS have in many a tutorial.
            if name.eq_ignore_ascii_case("content-length") {
                accounts.changed(header, "left out: answers have the length that they have");
                continue;
            }
            if !is_token(name.as_bytes()) || is_framing(name.as_bytes()) {
                accounts.lost(header, "what frames a message is written by the proxy");
                continue;
            }
            let lower = name.to_ascii_lowercase();
            let is_sent = status.is_none_or(|status| WITH_HEADERS.contains(&status));
            if value.is_empty() {
                accounts.harmless(header, "it is empty here, and such a one is not sent");
                continue;
            }
            match header.argument(2) {
                "always" => accounts.translated(header, "`response_headers` in `[[route]]`"),
                _ if !is_sent => {
                    accounts.harmless(header, "nginx leaves it out with this status");
                    headers.withheld.set(name, text(&value));
                    continue;
                }
                _ if status.is_some() => {
                    accounts.translated(header, "`response_headers` in `[[route]]`");
                }
                _ if OF_CACHING.contains(&&*lower) => {
                    accounts.translated(header, "`response_headers` with `statuses`");
                }
                _ => accounts.changed(header, WITHOUT_ALWAYS),
            }
            let value = text(&value);
            let is_for_good =
                status.is_none() && header.argument(2) != "always" && OF_CACHING.contains(&&*lower);
            let table = match is_for_good {
                true => &mut headers.add_to_good,
                false => &mut headers.add,
            };
            match &*lower {
                "etag" | "last-modified" => headers.set.set(name, value),
                _ => match table.get(name).map(str::to_owned) {
                    Some(known) if known.starts_with('[') => {
                        let known = known.trim_end_matches(']').to_owned();
                        table.set(name, format!("{known}, {value}]"));
                    }
                    Some(known) => table.set(name, format!("[{known}, {value}]")),
                    None => table.set(name, value),
                },
            }
        }
        (headers, content_type)
    }
}

/// A header's value without what would end its line.
fn one_line(value: &str) -> String {
    let value = value.replace(|c: char| c.is_control() && c != '\t', " ");
    value.trim_matches([' ', '\t']).to_owned()
}

/// Whether a header of requests is set to what it is: `Range $http_range`. Those that tell of the
/// client are believed of some only.
fn is_as_it_was(header: &Directive) -> bool {
    let name = header.argument(0).to_ascii_lowercase();
    let is_of_client = name.starts_with("x-forwarded")
        || matches!(&*name, "forwarded" | "host" | "x-real-ip")
        || is_framing(name.as_bytes());
    let itself = format!("$http_{}", name.replace('-', "_"));
    let value = header.argument(1).to_ascii_lowercase();
    !is_of_client && !name.contains('_') && value == itself
}
