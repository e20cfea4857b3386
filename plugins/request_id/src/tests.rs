//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::RequestId;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hooked(settings: &str) -> Hooked<RequestId> {
    let services = Services::new().wall_ms(0x0123_4567_89ab);
    Hooked::with(services, settings, &["{}"]).unwrap_or_else(|error| panic!("{}", error.message))
}

fn named(settings: &str, request: Request) -> HookExchange {
    let mut hooked = hooked(settings);
    let mut exchange = hooked.exchange(request);
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    exchange
}

/// The id of a request with this header, and whether the header, the answer and the attribute agree
/// on it.
fn id(settings: &str, header: &str) -> String {
    let exchange = named(settings, Request::get("/").header("x-request-id", header));
    let id = exchange.attribute("request_id").unwrap();
    assert_eq!(exchange.request_header("X-Request-ID").join("|"), id);
    assert_eq!(exchange.response_header("X-Request-ID").join("|"), id);
    id
}

fn refused(settings: &str) -> (String, String) {
    let refused = Hooked::<RequestId>::new(settings, &["{}"]).err().unwrap();
    (refused.key, refused.message)
}

#[test]
fn an_id_is_a_uuid_of_version_7_with_the_time_in_it() {
    let id = id("{}", "mine");
    let parts: Vec<&str> = id.split('-').collect();
    assert_eq!(
        parts.iter().map(|part| part.len()).collect::<Vec<_>>(),
        [8, 4, 4, 4, 12]
    );
    assert_eq!(&parts[..2], ["01234567", "89ab"]);
    assert!(
        parts[2].starts_with('7') && parts[3].starts_with(['8', '9', 'a', 'b']),
        "{id}"
    );
    assert!(
        id.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
    );
}

#[test]
fn no_two_requests_have_the_same_id() {
    let mut hooked = hooked("{}");
    let ids: BTreeSet<String> = (0..1000)
        .map(|_| {
            let mut exchange = hooked.exchange(Request::get("/"));
            hooked.on_request(&mut exchange);
            exchange.attribute("request_id").unwrap()
        })
        .collect();
    assert_eq!(ids.len(), 1000);
}

#[test]
fn a_later_id_is_greater() {
    let mut hooked = hooked("{}");
    let ids = [1, 2, 0xffff, 0x1_0000, 1_700_000_000_000].map(|wall_ms| {
        hooked.set_wall_ms(wall_ms);
        let mut exchange = hooked.exchange(Request::get("/"));
        hooked.on_request(&mut exchange);
        exchange.attribute("request_id").unwrap()
    });
    assert!(ids.is_sorted(), "{ids:?}");
}

#[test]
fn a_client_s_id_is_taken_only_where_it_is_trusted() {
    assert_ne!(id("{}", "abc-1"), "abc-1");
    assert_eq!(id(r#"{"trust": true}"#, "abc-1"), "abc-1");
    assert_eq!(id(r#"{"trust": ["127.0.0.0/8"]}"#, "abc-1"), "abc-1");
    assert_eq!(id(r#"{"trust": "127.0.0.1"}"#, "abc-1"), "abc-1");
    assert_ne!(
        id(r#"{"trust": ["10.0.0.0/8", "unix:"]}"#, "abc-1"),
        "abc-1"
    );
}

#[test]
fn the_peer_is_trusted_and_not_the_client_that_it_reports() {
    let peer = |peer: [u8; 4]| {
        let request = Request::get("/").header("X-Request-ID", "abc");
        let request = request
            .client(IpAddr::from([192, 0, 2, 1]))
            .peer(IpAddr::from(peer));
        let exchange = named(r#"{"trust": ["10.0.0.0/8"]}"#, request);
        exchange.attribute("request_id").unwrap()
    };
    assert_eq!(peer([10, 0, 0, 1]), "abc");
    assert_ne!(peer([192, 0, 2, 1]), "abc");
}

#[test]
fn an_id_that_is_not_sane_is_replaced_even_if_its_sender_is_trusted() {
    let trusting = r#"{"trust": true}"#;
    let longest = "x".repeat(128);
    assert_eq!(id(trusting, &longest), longest);
    for insane in [
        "",
        "a b",
        "a\tb",
        "a\u{e9}",
        "a\r\nb",
        "a\u{7f}",
        &"x".repeat(129),
    ] {
        assert_eq!(id(trusting, insane).len(), 36, "{insane:?}");
    }
}

#[test]
fn a_second_value_of_the_header_goes() {
    let twice = Request::get("/")
        .header("X-Request-ID", "one")
        .header("X-Request-ID", "two");
    let exchange = named(r#"{"trust": true}"#, twice);
    assert_eq!(exchange.request_header("X-Request-ID"), ["one"]);
}

#[test]
fn the_header_and_whether_the_answer_has_it_can_be_set() {
    let settings = r#"{"header": "X-Correlation-ID", "response": false}"#;
    let exchange = named(
        settings,
        Request::get("/").header("X-Request-ID", "client's"),
    );
    assert_eq!(exchange.request_header("X-Correlation-ID").len(), 1);
    assert_eq!(exchange.request_header("X-Request-ID"), ["client's"]);
    assert!(exchange.response_header("X-Correlation-ID").is_empty());
}

/// What the server gets as `traceparent`, of a peer that is trusted.
fn continued(received: &str) -> HookExchange {
    let request = Request::get("/")
        .header("traceparent", received)
        .header("tracestate", "a=1");
    named(r#"{"format": "traceparent", "trust": true}"#, request)
}

fn parts(exchange: &HookExchange) -> [String; 4] {
    let sent = exchange.request_header("traceparent");
    assert_eq!(sent.len(), 1);
    let parts: Vec<String> = sent[0].split('-').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

#[test]
fn a_trace_goes_on_with_a_parent_of_our_own() {
    let exchange = continued(TRACE);
    let [version, trace, parent, flags] = parts(&exchange);
    assert_eq!((version.as_str(), flags.as_str()), ("00", "01"));
    assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(parent.len() == 16 && parent != "00f067aa0ba902b7");
    assert_eq!(exchange.request_header("tracestate"), ["a=1"]);
    assert_eq!(exchange.attribute("request_id"), Some(trace.clone()));
    assert_eq!(exchange.response_header("X-Request-ID"), [trace]);
}

#[test]
fn of_the_flags_only_that_of_sampling_goes_on() {
    for (received, sent) in [("00", "00"), ("ff", "01"), ("02", "00"), ("03", "01")] {
        let received = format!("{}{received}", &TRACE[..53]);
        assert_eq!(parts(&continued(&received))[3], sent, "{received}");
    }
}

#[test]
fn a_later_version_goes_on_as_version_00() {
    for received in [
        TRACE.replacen("00", "01", 1),
        TRACE.replacen("00", "cc", 1) + "-more",
    ] {
        let [version, trace, ..] = parts(&continued(&received));
        assert_eq!(version, "00");
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736", "{received}");
    }
}

#[test]
fn a_trace_that_is_not_valid_ends_and_its_state_with_it() {
    let invalid = [
        String::new(),
        TRACE[..54].to_owned(),
        format!("{TRACE}-more"),
        format!("{TRACE}0"),
        TRACE.replacen("00", "ff", 1),
        TRACE.replacen("00", "0g", 1),
        TRACE.replacen("00", "01", 1) + "0",
        TRACE.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        TRACE.replace("00f067aa0ba902b7", &"0".repeat(16)),
        TRACE.replace("4bf92f", "4BF92F"),
        TRACE.replace("b7-01", "b7-0G"),
        TRACE.replace('-', "_"),
        TRACE.replace("36-00", "3600-"),
    ];
    for received in invalid {
        let exchange = continued(&received);
        let [version, trace, parent, flags] = parts(&exchange);
        assert_eq!(
            (version.as_str(), flags.as_str()),
            ("00", "01"),
            "{received}"
        );
        assert!(trace != "4bf92f3577b34da6a3ce929d0e0e4736" && trace != "0".repeat(32));
        assert!(parent.len() == 16 && parent != "0".repeat(16));
        assert!(
            exchange.request_header("tracestate").is_empty(),
            "{received}"
        );
    }
}

#[test]
fn two_parents_are_none() {
    let twice = Request::get("/")
        .header("traceparent", TRACE)
        .header("traceparent", TRACE);
    let exchange = named(r#"{"format": "traceparent", "trust": true}"#, twice);
    assert_ne!(parts(&exchange)[1], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn a_trace_of_a_peer_that_is_not_trusted_is_not_taken() {
    let request = Request::get("/")
        .header("traceparent", TRACE)
        .header("tracestate", "a=1");
    let exchange = named(r#"{"format": "traceparent", "sampled": false}"#, request);
    let [_, trace, _, flags] = parts(&exchange);
    assert_ne!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(flags, "00");
    assert!(exchange.request_header("tracestate").is_empty());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    assert_eq!(
        refused(r#"{"formt": "uuid"}"#).1,
        "unknown key `formt`; did you mean `format`?"
    );
    for (settings, key) in [
        (r#"{"format": "uuidv4"}"#, "format"),
        (r#"{"header": "a b"}"#, "header"),
        (r#"{"header": ""}"#, "header"),
        (r#"{"trust": 1}"#, "trust"),
        (r#"{"trust": [1]}"#, "trust"),
        (r#"{"trust": ["10.0.0.0/33"]}"#, "trust"),
        (r#"{"sampled": true}"#, "sampled"),
        (r#"{"response": "yes"}"#, "response"),
    ] {
        assert_eq!(refused(settings).0, key, "{settings}");
    }
}

#[test]
fn an_id_goes_into_no_header_that_frames_a_message_or_names_its_server() {
    for header in [
        "Host",
        "content-LENGTH",
        "Content_Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "HTTP2-Settings",
    ] {
        let (key, message) = refused(&format!(r#"{{"header": "{header}"}}"#));
        let expected = format!("`{header}` frames a message or names its server: take another one");
        assert_eq!((key, message), ("header".to_owned(), expected));
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{}"#, r#"{"format": "traceparent", "trust": true}"#];
    Hooked::<RequestId>::check_description(&Services::new(), &good, &["{}"]);
}
