//! Every family that is told, in the order of the text: said here once. `docs/metrics.md` has them
//! all, and a test holds it against this list.

use super::family::Family;

/// Declares a static for each family, and the list of all of them for the reference.
macro_rules! families {
    ($($family:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(crate) static $family: Family = Family::$kind($name, &[$($label),*], $help);)*

        #[cfg(test)]
        static ALL: &[&Family] = &[$(&$family),*];
    };
}

families! {
    BUILD = info "waypost_build" ["version"]
        "The version that runs.";

    REQUESTS = counter "waypost_requests" ["route", "method", "code"]
        "Requests that have ended, refused ones included.";
    REQUEST_DURATION = histogram "waypost_request_duration_seconds" ["route"]
        "From the first byte of a request to the last of its response.";
    REQUEST_BYTES = counter "waypost_request_body_bytes" ["route"]
        "Bytes of the bodies of requests.";
    RESPONSE_BYTES = counter "waypost_response_bytes" ["route"]
        "Bytes of responses, headers included.";
    FAULTS = counter "waypost_faults" ["kind"]
        "Requests that could not be carried through, by why.";
    REQUESTS_IN_FLIGHT = gauge "waypost_requests_in_flight" []
        "Requests that are being answered.";
    CONNECTIONS = gauge "waypost_connections" ["state"]
        "Connections of clients: `reading` a request's header, `waiting` for a request, or at work.";
    CONNECTIONS_ACCEPTED = counter "waypost_connections_accepted" []
        "Connections that clients have made.";
    CROWDED = counter "waypost_connections_crowded" []
        "Connections that others had to make room for, as there were as many as there may be.";

    STREAM_SESSIONS = counter "waypost_stream_sessions" ["stream", "code"]
        "Sessions of streams that have ended, by the status that logs have for them.";
    STREAM_IN_FLIGHT = gauge "waypost_stream_sessions_in_flight" ["stream"]
        "Sessions of streams that are under way.";
    STREAM_DURATION = histogram "waypost_stream_session_duration_seconds" ["stream"]
        "How long sessions of streams lasted.";
    STREAM_RECEIVED = counter "waypost_stream_received_bytes" ["stream"]
        "Bytes that clients of streams have sent.";
    STREAM_SENT = counter "waypost_stream_sent_bytes" ["stream"]
        "Bytes that clients of streams were sent.";

    UPSTREAM_REQUESTS = counter "waypost_upstream_requests" ["upstream", "endpoint", "code"]
        "Attempts at endpoints that have ended, by the answer's status; `none` without an answer.";
    UPSTREAM_FAILURES = counter "waypost_upstream_failures" ["upstream", "endpoint", "reason"]
        "Attempts that count against their endpoint, by what has failed.";
    ENDPOINT_RETRIES = counter "waypost_endpoint_retries" ["upstream", "endpoint", "reason"]
        "Attempts at the endpoint that another one was made in place of, by why they failed.";
    UPSTREAM_IN_FLIGHT = gauge "waypost_upstream_requests_in_flight" ["upstream", "endpoint"]
        "Attempts at endpoints that are under way.";
    UPSTREAM_HEADER = histogram "waypost_upstream_header_duration_seconds" ["upstream"]
        "From the choice of an endpoint to the header of its response.";
    UPSTREAM_SENT = counter "waypost_upstream_sent_bytes" ["upstream"]
        "Bytes that endpoints were sent for answers that were passed on.";
    UPSTREAM_RECEIVED = counter "waypost_upstream_received_bytes" ["upstream"]
        "Bytes of answers that were passed on.";
    UPSTREAM_RETRIES = counter "waypost_upstream_retries" ["upstream", "reason"]
        "Further attempts, by why the one before has failed.";
    UPSTREAM_CONNECTS = counter "waypost_upstream_connections_used" ["upstream", "kind"]
        "Connections that attempts have got: `new`, or `reused` out of a pool.";
    UPSTREAM_REJECTED = counter "waypost_upstream_rejected" ["upstream", "limit"]
        "Requests, and retries, that a bound on the load of the upstream has refused.";
    UPSTREAM_CONNECTIONS = gauge "waypost_upstream_connections" ["upstream"]
        "Open connections to endpoints, idle ones included.";
    UPSTREAM_IDLE = gauge "waypost_upstream_idle_connections" ["upstream"]
        "Connections of HTTP/1 to endpoints that wait for another request.";
    UPSTREAM_QUEUE = gauge "waypost_upstream_queue_requests" ["upstream"]
        "Requests that wait for an endpoint to have room.";
    UPSTREAM_ENDPOINTS = gauge "waypost_upstream_endpoints" ["upstream", "state"]
        "Endpoints that requests are sent to (`in_rotation`), and those that get none (`out`).";
    ENDPOINT_IN_ROTATION = gauge "waypost_endpoint_in_rotation" ["upstream", "endpoint"]
        "Whether requests are sent to the endpoint.";
    ENDPOINT_OUT = gauge "waypost_endpoint_out" ["upstream", "endpoint", "reason"]
        "1 for each reason that keeps the endpoint out, or holds it back.";
    ENDPOINT_HEALTH = gauge "waypost_endpoint_health_ratio" ["upstream", "endpoint"]
        "The moving share of attempts and probes that went well.";
    HEALTH_CHECKS = counter "waypost_endpoint_health_checks" ["upstream", "endpoint", "outcome"]
        "Probes of the endpoint that have ended: `passed` or `failed`.";

    HANDSHAKES = counter "waypost_tls_handshakes" ["version", "resumed"]
        "Handshakes with clients that ended well.";
    HANDSHAKES_FAILED = counter "waypost_tls_handshakes_failed" []
        "Handshakes with clients that came to nothing.";
    CERTIFICATE_END = gauge "waypost_tls_certificate_not_after_timestamp_seconds" ["listener", "certificate"]
        "When the certificate of this file ends, since 1970.";
    CERTIFICATE_ORDERS = counter "waypost_certificate_orders" ["outcome"]
        "Certificates that were ordered, by whether they were `issued` or that `failed`.";
    CERTIFICATE_RENEWAL = gauge "waypost_certificate_renewal_timestamp_seconds" ["certificate"]
        "When the certificate of this file is ordered next, since 1970.";

    HOOKS = counter "waypost_hook_verdicts" ["hook", "verdict"]
        "What hooks have decided, each time that they were asked about a request or a session.";
    PLUGIN = info "waypost_plugin" ["plugin", "version", "hash"]
        "The version of a plugin that is in force.";
    PLUGIN_CALLS = counter "waypost_plugin_calls" ["plugin", "version"]
        "Calls of the plugin.";
    PLUGIN_TIMED_CALLS = counter "waypost_plugin_timed_calls" ["plugin", "version"]
        "Calls of the plugin that were timed: one in 64.";
    PLUGIN_TIMED_SECONDS = counter "waypost_plugin_timed_seconds" ["plugin", "version"]
        "What the calls took that were timed.";
    PLUGIN_INSTANCES = gauge "waypost_plugin_instances" ["plugin", "version"]
        "Instances of the plugin.";
    PLUGIN_MEMORY = gauge "waypost_plugin_memory_bytes" ["plugin", "version"]
        "Memory that its instances hold.";
    PLUGIN_QUARANTINED = gauge "waypost_plugin_quarantined" ["plugin", "version"]
        "Whether the plugin has failed so often that it is called no longer.";
    PLUGIN_BUDGET = gauge "waypost_plugin_budget_ratio" ["plugin", "version"]
        "The part of each worker's time that its calls may take.";
    PLUGIN_BUSY = gauge "waypost_plugin_worker_ratio" ["plugin", "version"]
        "The part of its time that the busiest worker spent on it in the last second.";
    PLUGIN_FAULTS = counter "waypost_plugin_faults" ["plugin", "version", "kind"]
        "Calls that failed, and choices that were left to the fallback as the budget was used up.";
    PLUGIN_COUNTER = counter "waypost_plugin_counter" ["plugin", "version", "counter"]
        "What the plugin counts itself.";

    WORKERS = gauge "waypost_workers" []
        "Workers that there are to be.";
    WORKER_REQUESTS = counter "waypost_worker_requests" ["worker"]
        "Requests that a worker has begun to answer.";
    WORKER_RESTARTS = counter "waypost_worker_restarts" []
        "Workers that died and were replaced.";
    PANICS = counter "waypost_panics" []
        "Panics, each of which the error log has.";
    GENERATION = gauge "waypost_config_generation" []
        "The number of the configuration that is served: it grows with each change.";
    RELOADS = counter "waypost_config_reloads" ["outcome"]
        "Reloads of the configuration: `succeeded` or `failed`.";
    RELOAD_SUCCEEDED = gauge "waypost_config_last_reload_succeeded" []
        "Whether the last reload went well; 1 before the first.";
    DNS_LOOKUPS = counter "waypost_dns_lookups" ["outcome"]
        "Questions about names of servers.";
    DNS_NAMES = gauge "waypost_dns_names" ["state"]
        "Names of servers by whether the last question had an answer: `answered` or `failing`.";
    DNS_WITHOUT_ADDRESS = gauge "waypost_dns_names_without_address" []
        "Names of servers that stand for no address.";
    TRACE_SPANS = counter "waypost_trace_spans" ["outcome"]
        "Spans by what has become of them.";
    TRACE_FAILURES = counter "waypost_trace_export_failures" []
        "Requests to collectors of traces that came to nothing.";
    TRACE_QUEUE = gauge "waypost_trace_queue_spans" []
        "Spans that wait to be sent.";

    START_TIME = gauge "process_start_time_seconds" []
        "When the process began, since 1970.";
    CPU = counter "process_cpu_seconds" []
        "Processor time that the process has used.";
    RESIDENT_MEMORY = gauge "process_resident_memory_bytes" []
        "Memory that the process has in use.";
    OPEN_FDS = gauge "process_open_fds" []
        "Descriptors that are open.";
    MAX_FDS = gauge "process_max_fds" []
        "Descriptors that may be open.";
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

    use super::super::family::Kind;
    use super::*;

    const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/alerts.yml");
    const BEGINS: &str = "| family | kind | labels | what it tells |\n| --- | --- | --- | --- |\n";

    /// The table of the reference.
    fn table() -> String {
        let mut table = BEGINS.to_owned();
        for family in ALL {
            let labels: Vec<_> = family
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            let (name, suffix) = (family.name, family.kind.suffix());
            let (kind, labels) = (family.kind.name(), labels.join(", "));
            writeln!(
                table,
                "| `{name}{suffix}` | {kind} | {labels} | {} |",
                family.help
            )
            .unwrap();
        }
        table
    }

    #[test]
    fn the_reference_has_every_family_as_it_is_told() {
        let docs = std::fs::read_to_string(DOCS).unwrap();
        let (before, rest) = docs.split_once(BEGINS).unwrap();
        let after = rest.split_once("\n\n").unwrap().1;
        let now = format!("{before}{}\n{after}", table());
        if std::env::var_os("WAYPOST_BLESS").is_some() {
            std::fs::write(DOCS, &now).unwrap();
        } else {
            assert_eq!(docs, now, "bless it by WAYPOST_BLESS=1");
        }
    }

    /// The words of an expression that may be names of families.
    fn words(text: &str) -> impl Iterator<Item = &str> {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split(move |c| !is_of_word(c))
            .filter(|word| word.starts_with("waypost_") || word.starts_with("process_"))
    }

    #[test]
    fn alerts_ask_for_families_that_there_are_by_labels_that_they_have() {
        let rules = std::fs::read_to_string(ALERTS).unwrap();
        let mut asked = 0;
        for rule in rules.split("- alert: ").skip(1) {
            let expression = rule.split_once("expr:").unwrap().1;
            let expression = expression.split_once("labels: {").unwrap().0;
            for word in words(expression) {
                let told = |family: &&&Family| {
                    let (name, suffix) = (family.name, family.kind.suffix());
                    match family.kind {
                        Kind::Histogram => word == format!("{name}_bucket"),
                        _ => word == format!("{name}{suffix}"),
                    }
                };
                let family = ALL.iter().find(told);
                let family = family.unwrap_or_else(|| panic!("no {word}, in {rule}"));
                asked += 1;
                let by = expression.split("by (").skip(1);
                let by = by.filter_map(|labels| Some(labels.split_once(')')?.0));
                for label in by.flat_map(|labels| labels.split(", ")) {
                    let is_there = family.labels.contains(&label);
                    assert!(
                        is_there || matches!(label, "instance" | "le"),
                        "{label}: {rule}"
                    );
                }
            }
            for label in rule.split("$labels.").skip(1) {
                let label = label.split([' ', '}']).next().unwrap();
                let mut families = ALL
                    .iter()
                    .filter(|family| words(expression).any(|word| word.starts_with(family.name)));
                let is_there = families.any(|family| family.labels.contains(&label));
                assert!(is_there || label == "instance", "{label}: {rule}");
            }
        }
        assert!(asked > 15, "{asked} families");
    }

    /// As <https://prometheus.io/docs/practices/naming/> has it, and so that no help needs an escape.
    #[test]
    fn names_are_by_the_conventions_of_prometheus() {
        let mut names = HashSet::new();
        for family in ALL {
            let name = family.name;
            assert!(names.insert(name), "{name} is there twice");
            let own = name.starts_with("waypost_") || name.starts_with("process_");
            assert!(own && !name.ends_with("_total"), "{name}");
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(name.bytes().all(fits), "{name}");
            for unit in ["_ms", "_micros", "_kb", "_percent", "_days"] {
                assert!(!name.contains(unit), "{name}: base units");
            }
            if family.kind == Kind::Histogram {
                assert!(name.ends_with("_seconds"), "{name}");
                assert!(!family.labels.contains(&"le"), "{name}");
            }
            let needs_escape = |byte: u8| matches!(byte, b'\\' | b'"' | b'\n' | b'|');
            assert!(!family.help.bytes().any(needs_escape), "{name}");
            assert!(family.help.ends_with('.'), "{name}");
        }
    }
}
