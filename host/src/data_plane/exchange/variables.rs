//! Read access to an exchange: nginx variables for templates and logs, getters for plugins.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::content;
use super::state::{AttemptStats, Exchange};
use crate::data_plane::downstream::append_binary;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::data_plane::upstream::{BalanceState, Balanceable, DescriptorSource, HeldByClient};
use crate::http::clock;
use crate::http::head::{FieldName, Version};
use crate::http::variable::{Capture, Defined, Name, Variable, VariableSource};
use crate::http::{headers, target};
use crate::plugin::{self, AttemptFacts, HttpVersion};

impl VariableSource for Exchange {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        match variable {
            Variable::RemoteAddr => out.extend_from_slice(self.remote_address().as_bytes()),
            Variable::BinaryRemoteAddr => append_binary(self.remote_ip(), out),
            Variable::RemotePort
            | Variable::RealipRemoteAddr
            | Variable::RealipRemotePort
            | Variable::ProxyProtocolAddr
            | Variable::ProxyProtocolPort
            | Variable::ProxyProtocolServerAddr
            | Variable::ProxyProtocolServerPort
            | Variable::ServerAddr
            | Variable::ServerPort
            | Variable::Connection => return self.client.append(variable, out),
            Variable::RemoteUser => return remote_user(self, out),
            Variable::Host if self.host.is_empty() => {
                out.extend_from_slice(self.server_name().as_bytes())
            }
            Variable::Host => out.extend_from_slice(self.host.as_bytes()),
            Variable::Request => out.extend_from_slice(self.request.line()),
            Variable::RequestMethod => out.extend_from_slice(self.request.method()),
            Variable::RequestUri => out.extend_from_slice(self.received_uri()),
            Variable::Uri => out.extend_from_slice(self.normalised()),
            Variable::Args => out.extend_from_slice(self.query().unwrap_or_default()),
            Variable::IsArgs => {
                out.extend_from_slice(if self.query().is_some_and(|query| !query.is_empty()) {
                    b"?"
                } else {
                    b""
                })
            }
            Variable::Scheme => out.extend_from_slice(self.scheme().as_bytes()),
            Variable::Https
            | Variable::SslProtocol
            | Variable::SslCipher
            | Variable::SslServerName
            | Variable::SslAlpnProtocol
            | Variable::SslSessionReused
            | Variable::SslEarlyData
            | Variable::SslClientVerify
            | Variable::SslClientSDn
            | Variable::SslClientIDn
            | Variable::SslClientSerial
            | Variable::SslClientFingerprint
            | Variable::SslClientEscapedCert => return self.client.append(variable, out),
            Variable::ServerProtocol => out.extend_from_slice(match self.request.version() {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
                Version::Http2 => b"HTTP/2.0",
            }),
            Variable::ContentLength => {
                return join(
                    self.request.fields().known(FieldName::ContentLength),
                    b", ",
                    out,
                );
            }
            Variable::ContentType => {
                return join(self.request.fields().named(b"content-type"), b", ", out);
            }
            Variable::RequestLength => number(
                self.request.len() as u64 + self.stats.body_received.get(),
                out,
            ),
            Variable::RequestId => {
                for half in self.worker.request_ids.id(self.client.serial, self.serial) {
                    // Writing to a vector cannot fail.
                    let _ = std::io::Write::write_fmt(out, format_args!("{half:016x}"));
                }
            }
            Variable::OtelTraceId
            | Variable::OtelSpanId
            | Variable::OtelParentId
            | Variable::OtelParentSampled => return self.append_trace(variable, out),
            Variable::ServerName => out.extend_from_slice(self.server_name().as_bytes()),
            Variable::Hostname => out.extend_from_slice(self.worker.process.hostname.as_bytes()),
            Variable::Pid => number(std::process::id(), out),
            Variable::ConnectionRequests => number(self.serial, out),
            Variable::ConnectionTime => clock::append_seconds(self.client.accepted.elapsed(), out),
            Variable::Msec => clock::append_msec(out),
            Variable::TimeIso8601 => clock::append_time_iso8601(out),
            Variable::TimeLocal => clock::append_time_local(out),
            Variable::RequestTime => clock::append_seconds(self.began.elapsed(), out),
            Variable::Status => match self.stats.status.get() {
                0 => out.extend_from_slice(b"000"),
                status => number(status, out),
            },
            Variable::BytesSent => number(
                self.stats.header_sent.get() + self.stats.body_sent.get(),
                out,
            ),
            Variable::BodyBytesSent => number(self.stats.body_sent.get(), out),
            Variable::RequestCompletion => out.extend_from_slice(if self.stats.complete.get() {
                b"OK"
            } else {
                b""
            }),
            Variable::ProxyHost => match &*self.proxy_host.borrow() {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => return false,
            },
            Variable::ProxyPort => match self
                .proxy_host
                .borrow()
                .as_deref()
                .map(|name| name.rsplit_once(':'))
            {
                Some(Some((_, port))) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    out.extend_from_slice(port.as_bytes());
                }
                Some(_) if self.to_tls.get() => out.extend_from_slice(b"443"),
                Some(_) => out.extend_from_slice(b"80"),
                None => return false,
            },
            Variable::ProxyAddXForwardedFor => {
                if join(
                    self.request.fields().known(FieldName::XForwardedFor),
                    b", ",
                    out,
                ) {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(self.remote_address().as_bytes());
            }
            Variable::UpstreamAddr => {
                return self.each_attempt(out, |attempt, out| {
                    out.extend_from_slice(attempt.address.as_bytes());
                });
            }
            Variable::UpstreamStatus => {
                return self.each_attempt(out, |attempt, out| match attempt.status {
                    0 => out.push(b'-'),
                    status => number(status, out),
                });
            }
            Variable::UpstreamConnectTime => {
                return self.each_attempt(out, |attempt, out| time(attempt.connect, out));
            }
            Variable::UpstreamHeaderTime => {
                return self.each_attempt(out, |attempt, out| time(attempt.header, out));
            }
            Variable::UpstreamResponseTime => {
                return self.each_attempt(out, |attempt, out| time(Some(attempt.response), out));
            }
            Variable::UpstreamResponseLength => {
                return self.each_attempt(out, |attempt, out| number(attempt.response_length, out));
            }
            Variable::UpstreamBytesReceived => {
                return self.each_attempt(out, |attempt, out| number(attempt.bytes_received, out));
            }
            Variable::UpstreamBytesSent => {
                return self.each_attempt(out, |attempt, out| number(attempt.bytes_sent, out));
            }
            Variable::Header(name) => {
                let separator: &[u8] = if name.as_bytes() == b"cookie" {
                    b"; "
                } else {
                    b", "
                };
                return join(
                    self.request.fields().of_variable(name.as_bytes()),
                    separator,
                    out,
                );
            }
            Variable::Argument(name) => {
                match target::argument(self.query().unwrap_or_default(), name.as_bytes()) {
                    Some(value) => out.extend_from_slice(value),
                    None => return false,
                }
            }
            Variable::Cookie(name) => match self.cookie_value(name.as_bytes()) {
                Some(value) => out.extend_from_slice(value),
                None => return false,
            },
            Variable::SentHeader(name) => {
                return sent_header(&self.sent_header.borrow(), name, out);
            }
            Variable::UpstreamHeader(name) => {
                return self.response().is_some_and(|head| {
                    join(head.fields().of_variable(name.as_bytes()), b", ", out)
                });
            }
            Variable::UpstreamCookie(name) => {
                return self.response().is_some_and(|head| {
                    let value = head
                        .fields()
                        .named(b"set-cookie")
                        .find_map(|line| headers::set_cookie(line, name.as_bytes()));
                    value
                        .inspect(|value| out.extend_from_slice(value))
                        .is_some()
                });
            }
            Variable::HookAttribute(name) => {
                return self.hooked.append_attribute(name.as_str(), out);
            }
            Variable::UpstreamDecision => return self.append_decisions(out),
            Variable::PluginNote => return self.hooked.append_notes(out),
            Variable::Defined(defined) => return self.append_defined(*defined, out),
            Variable::Capture(capture) => return self.append_capture(capture, out),
            Variable::Named(name) => {
                let definitions = &self.worker_config.snapshot.config.variables;
                return match definitions.declared(name.as_str()) {
                    Some(defined) => self.append_defined(defined, out),
                    None => self.append_capture(&Capture::Name(name.clone()), out),
                };
            }
            Variable::Protocol
            | Variable::BytesReceived
            | Variable::SessionTime
            | Variable::SslPrereadServerName => return false,
        }
        debug_assert!(out.len() >= before);
        true
    }
}

impl Exchange {
    /// Of the trace that it belongs to, where it has one.
    fn append_trace(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let Some(trace) = self.trace() else {
            return false;
        };
        // Writing to a vector cannot fail.
        let mut write = |id: &dyn std::fmt::Display| {
            let _ = std::io::Write::write_fmt(out, format_args!("{id}"));
        };
        match (variable, &trace.parent) {
            (Variable::OtelTraceId, _) => write(&trace.id),
            (Variable::OtelSpanId, _) => write(&trace.span),
            (Variable::OtelParentId, Some(parent)) => write(&parent.span),
            (Variable::OtelParentSampled, Some(parent)) => write(&u8::from(parent.sampled)),
            _ => return false,
        }
        true
    }

    fn append_defined(&self, variable: Defined, out: &mut Vec<u8>) -> bool {
        let definitions = &self.worker_config.snapshot.config.variables;
        definitions.append(variable, self, &self.kept, out)
    }

    fn append_capture(&self, capture: &Capture, out: &mut Vec<u8>) -> bool {
        self.taken_route().is_some_and(|route| {
            let path = self.normalised();
            self.captures.append(capture, route, &self.host, path, out)
        })
    }

    fn cookie_value(&self, name: &[u8]) -> Option<&[u8]> {
        headers::cookie(self.request.fields().known(FieldName::Cookie), name)
    }

    /// What each attempt has to say, joined as nginx does; false before the first.
    fn each_attempt(&self, out: &mut Vec<u8>, write: impl Fn(&AttemptStats, &mut Vec<u8>)) -> bool {
        let attempts = self.stats.attempts.borrow();
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            write(attempt, out);
        }
        !attempts.is_empty()
    }
}

fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn time(time: Option<Duration>, out: &mut Vec<u8>) {
    match time {
        Some(time) => clock::append_seconds(time, out),
        None => out.push(b'-'),
    }
}

/// Appends all values; false where there is none.
fn join<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &[u8], out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for value in values {
        if any {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        any = true;
    }
    any
}

fn sent_header(lines: &[u8], name: &Name, out: &mut Vec<u8>) -> bool {
    let values = lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        line[..colon]
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| line[colon + 1..].trim_ascii())
    });
    join(values, b", ", out)
}

/// The user of Basic authentication (RFC 7617), for the log: nothing here checks the password.
fn remote_user(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    use base64::Engine;
    let Some(credentials) = exchange.request.fields().named(b"authorization").next() else {
        return false;
    };
    let Some((scheme, encoded)) = credentials.split_at_checked(6) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Ok(pair) = base64::engine::general_purpose::STANDARD.decode(encoded.trim_ascii()) else {
        return false;
    };
    let Some(colon) = memchr::memchr(b':', &pair) else {
        return false;
    };
    out.extend_from_slice(&pair[..colon]);
    colon > 0
}

impl Balanceable for Exchange {
    fn balance(&self) -> &BalanceState {
        &self.balance
    }

    fn descriptors(&self) -> Rc<dyn DescriptorSource> {
        self.worker.clone()
    }

    fn ends(&self) -> Option<AddressPair> {
        self.client.ends(self.remote_ip())
    }

    /// A trusted proxy that names no client speaks for many.
    fn hold(&self) -> Option<HeldByClient> {
        let is_shared = self.request.version() == Version::Http2;
        let is_known = !self.peer_trusted || self.real_client.is_some();
        let client = self.remote_ip().filter(|_| is_shared && is_known)?;
        Some(self.worker.client_connections.hold(client))
    }

    fn worker(&self) -> usize {
        self.worker.index
    }

    fn speaks_http(&self) -> bool {
        true
    }

    fn warn(&self, message: &str, upstream: &str) {
        Exchange::warn(self, message, upstream);
    }
}

impl plugin::ExchangeContext for Exchange {
    fn candidates(&self, word: u32) -> u64 {
        self.balance.candidates(word)
    }

    fn narrow(&self, words: Option<&[u64]>) {
        self.balance.narrow(words);
    }

    fn method(&self) -> &str {
        text(self.request.method())
    }

    fn authority(&self) -> &[u8] {
        Exchange::authority(self)
    }

    fn path(&self) -> &str {
        text(Exchange::path(self))
    }

    fn query(&self) -> &str {
        text(Exchange::query(self).unwrap_or_default())
    }

    fn scheme(&self) -> &str {
        self.client_scheme()
    }

    fn version(&self) -> HttpVersion {
        match self.request.version() {
            Version::Http10 => HttpVersion::Http10,
            Version::Http11 => HttpVersion::Http11,
            Version::Http2 => HttpVersion::Http2,
        }
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.request.fields().named(name.as_bytes()).for_each(each);
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for field in self.request.fields().iter() {
            each(field.name, field.value);
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.cookie_value(name.as_bytes())
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.remote_ip()
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.client.certificate_fingerprint()
    }

    fn memo(&self) -> u64 {
        self.balance.memo.get()
    }

    fn set_memo(&self, value: u64) {
        self.balance.memo.set(value);
    }

    fn add_response_header(&self, name: &str, value: &[u8]) -> bool {
        let allowed = headers::is_token(name.as_bytes())
            && headers::is_value(value)
            && !headers::is_framing(name.as_bytes());
        if allowed {
            self.balance.add_response_header(name.as_bytes(), value);
        }
        allowed
    }

    fn forget_response_headers(&self) {
        self.balance.forget_response_headers();
    }

    fn attempt_facts(&self) -> AttemptFacts {
        let attempts = self.stats.attempts.borrow();
        let bytes = attempts
            .last()
            .map(|attempt| (attempt.bytes_sent, attempt.bytes_received));
        self.balance.attempt_facts(bytes)
    }

    fn response_status(&self) -> u16 {
        match self.response() {
            Some(head) => head.status(),
            None => self.stats.status.get(),
        }
    }

    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        let own = self.own_head.borrow();
        if !own.is_empty() {
            let lines = content::fields(&own);
            lines
                .filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
                .for_each(|(_, value)| each(value));
        } else if let Some(head) = self.response() {
            head.fields().named(name.as_bytes()).for_each(each);
        }
    }

    fn is_response_local(&self) -> bool {
        self.response().is_none() && self.stats.status.get() > 0
    }

    fn route_named(&self, name: &str) -> Option<usize> {
        let snapshot = &self.worker_config.snapshot;
        snapshot.routers[self.listener].named(name)
    }

    fn upstream_named(&self, name: &str) -> Option<usize> {
        self.worker_config.snapshot.upstream_index(name)
    }

    fn attribute(&self, name: &str, out: &mut Vec<u8>) -> bool {
        self.hooked.append_attribute(name, out)
    }

    fn note(&self, text: &str) {
        self.hooked.note(text);
    }

    fn is_note_wanted(&self) -> bool {
        self.worker_config.snapshot.shows_notes || self.is_recorded()
    }

    fn log_context(&self) -> String {
        self.context(None)
    }
}

/// Methods and targets were checked to be ASCII when they were parsed.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
