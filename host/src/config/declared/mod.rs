//! Every key of the file. One word per thing, nginx's names and defaults (1.29.7) unless a line
//! says otherwise.

mod acme;
mod log;
mod server;
mod admin;
mod tls;
mod health;
mod upstream;
mod files;
mod source;
mod metrics;
mod overload;
mod proxied;
mod route;
mod stream;
mod hook;
mod plugin;
mod project;
mod store;
mod traces;
mod variable;
mod component;
mod compression;

pub(super) use self::acme::{ACME, EAB};
pub(super) use self::admin::{ADMIN, TOKEN};
pub(super) use self::component::COMPONENT_TABLE;
pub(crate) use self::compression::COMPRESSED_TYPES;
pub(super) use self::compression::{CODINGS, COMPRESSION_TABLE};
pub(super) use self::files::FILES_TABLE;
pub(super) use self::health::{HEALTH_CHECK, OUTLIERS};
pub(super) use self::hook::{HOOK, HOOK_USE};
pub(super) use self::log::{
    ACCESS_LOG, ERROR_LOG, LOG_WHEN, STREAM_LOG, STREAM_LOG_FORMAT, STREAM_LOG_WHEN,
};
pub(super) use self::metrics::METRICS;
pub(super) use self::overload::{QUEUE, RETRY_BUDGET, UPSTREAM_LIMITS};
pub(super) use self::plugin::{CANARY, GRANTS, LIMITS, PLUGIN, SHADOW};
pub(super) use self::project::{PLUGIN_PROJECT, PREPARE};
pub(crate) use self::proxied::COOKIE_FLAGS;
pub(super) use self::proxied::COOKIES;
pub(super) use self::route::{ERROR_PAGE, HEADERS, RESPONSE_HEADERS, RETURN, ROUTE, WHEN};
pub(super) use self::server::{HTTP2, LISTEN, LISTENER_SHARED, SERVER};
pub(super) use self::source::SERVER_SOURCE;
pub(super) use self::store::STORE;
pub(super) use self::stream::{SNI, STREAM};
pub(super) use self::tls::{CERTIFICATE, TLS, UPSTREAM_TLS};
pub(super) use self::traces::{STREAM_TRACE_RULE, TRACE_RULE, TRACES};
pub(super) use self::upstream::{
    FILTER, NEXT_CONDITIONS, POLICY, PROXY_LIMITS, RESOLVER, SCORER, UPSTREAM, UPSTREAM_HTTP2,
    UPSTREAM_SERVER,
};
pub(super) use self::variable::VARIABLE;
use super::key::{Key, Table, ValueKind};

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// A wait that may not be zero. A year is far beyond use and far from overflowing a clock.
const WAIT: ValueKind = ValueKind::Duration {
    min: 1,
    max: 365 * DAY,
};
/// How long an answer holds. Shorter ones would keep name servers busy.
const TTL: ValueKind = ValueKind::Duration {
    min: 100,
    max: 365 * DAY,
};
/// A duration whose zero has a meaning.
const TIME: ValueKind = ValueKind::Duration {
    min: 0,
    max: 365 * DAY,
};
const BODY_SIZE: ValueKind = ValueKind::Size {
    min: 0,
    max: i64::MAX as u64,
};
const HEADER_SIZE: ValueKind = ValueKind::Size {
    min: 1 << 10,
    max: 1 << 20,
};
const COUNT: ValueKind = ValueKind::Integer {
    min: 0,
    max: u32::MAX as i64,
};
const POSITIVE: ValueKind = ValueKind::Integer {
    min: 1,
    max: u32::MAX as i64,
};
const PERCENT: ValueKind = ValueKind::Integer { min: 0, max: 100 };
const TEXTS: ValueKind = ValueKind::List(&ValueKind::Text);
const TEXT_OR_TEXTS: ValueKind = ValueKind::Either(&[ValueKind::Text, TEXTS]);

/// The file as a whole.
pub(super) static ROOT: Table = Table {
    title: "top level",
    doc: "",
    groups: &[&[
        Key::new(
            "include",
            TEXT_OR_TEXTS,
            "Further files, relative to this one: `[\"conf.d/*.toml\"]`. `*` and `?` stand in file names only, and \
             what they match is read in alphabetical order; a pattern that matches nothing is warned about, a name \
             without a file is a problem. Lists are appended and tables united.",
        ),
        Key::new(
            "server",
            ValueKind::Table(&SERVER),
            "What holds for the whole process.",
        ),
        Key::new(
            "listen",
            ValueKind::List(&ValueKind::Table(&LISTEN)),
            "Addresses that clients connect to. At least one is needed, or a `[[stream]]`.",
        ),
        Key::new(
            "upstream",
            ValueKind::Named(&ValueKind::Table(&UPSTREAM)),
            "Groups of servers, by name.",
        ),
        Key::new(
            "route",
            ValueKind::List(&ValueKind::Table(&ROUTE)),
            "What is done with requests, by host and path.",
        ),
        Key::new(
            "stream",
            ValueKind::List(&ValueKind::Table(&STREAM)),
            "Addresses whose connections are balanced as they are.",
        ),
        Key::new(
            "variable",
            ValueKind::Named(&ValueKind::Table(&VARIABLE)),
            "Variables of one's own, by name.",
        ),
        Key::new(
            "hook",
            ValueKind::Named(&ValueKind::Table(&HOOK)),
            "Hooks that several places use, by name.",
        ),
        Key::new(
            "plugin",
            ValueKind::Named(&ValueKind::Table(&PLUGIN)),
            "Plugins of your own, by name.",
        ),
        Key::new("store", ValueKind::Table(&STORE), "What plugins share."),
        Key::new(
            "metrics",
            ValueKind::Table(&METRICS),
            "What is counted for Prometheus.",
        ),
        Key::new(
            "traces",
            ValueKind::Table(&TRACES),
            "Where spans of requests go.",
        ),
        Key::new(
            "admin",
            ValueKind::Table(&ADMIN),
            "Where commands such as `waypost status` reach the process.",
        ),
    ]],
    open: false,
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use crate::config::key::Default;
    use crate::config::units;

    /// A default out of its own bounds would be a value that no file may have.
    #[test]
    fn every_default_is_within_its_bounds() {
        for table in [
            &SERVER,
            &LISTEN,
            &TLS,
            &ACME,
            &EAB,
            &UPSTREAM_TLS,
            &HTTP2,
            &UPSTREAM,
            &UPSTREAM_HTTP2,
            &QUEUE,
            &UPSTREAM_LIMITS,
            &RETRY_BUDGET,
            &METRICS,
            &TRACES,
            &TRACE_RULE,
            &STREAM_TRACE_RULE,
            &UPSTREAM_SERVER,
            &HEALTH_CHECK,
            &OUTLIERS,
            &RESOLVER,
            &SERVER_SOURCE,
            &POLICY,
            &FILTER,
            &SCORER,
            &ROUTE,
            &COOKIES,
            &STREAM,
            &SNI,
            &ACCESS_LOG,
            &STREAM_LOG,
            &WHEN,
            &RETURN,
            &ERROR_PAGE,
            &FILES_TABLE,
            &VARIABLE,
            &HOOK,
            &HOOK_USE,
            &COMPRESSION_TABLE,
            &PLUGIN,
            &LIMITS,
            &STORE,
            &ADMIN,
            &TOKEN,
        ] {
            for key in table.keys() {
                let within = match (&key.kind, key.default) {
                    (ValueKind::Duration { min, max }, Default::Text(text)) => {
                        let milliseconds = units::duration(text).unwrap().as_millis();
                        (u128::from(*min)..=u128::from(*max)).contains(&milliseconds)
                    }
                    (ValueKind::Size { min, max }, Default::Text(text)) => {
                        (*min..=*max).contains(&units::size(text).unwrap())
                    }
                    (ValueKind::Integer { min, max }, Default::Integer(value)) => {
                        (*min..=*max).contains(&value)
                    }
                    (ValueKind::Duration { .. } | ValueKind::Size { .. }, Default::Unset) => {
                        ["[[route]]", "resolver", "limits"].contains(&table.title)
                    }
                    _ => true,
                };
                assert!(within, "{}.{}", table.title, key.name);
            }
        }
    }
}
