//! What hooks change of a request: what the variables, the choice of a route and the server make of
//! it.

use super::*;
use crate::http::head::{BadChange, FieldChange, FieldOperation, RequestChanges};
use crate::http::target::BadTarget;
use FieldOperation::{Add, Remove, Set};

/// Of no trusted peer.
const PEER: &str = "192.0.2.7";

fn field<'a>(operation: FieldOperation, name: &'a str, value: &'a str) -> FieldChange<'a> {
    FieldChange {
        operation,
        name: name.as_bytes(),
        value: value.as_bytes(),
    }
}

fn fields(list: &[(FieldOperation, &str, &str)]) -> RequestChanges {
    let mut changes = RequestChanges::default();
    for (operation, name, value) in list {
        changes
            .change_field(field(*operation, name, value))
            .unwrap();
    }
    changes
}

fn uri(path: Option<&str>, query: Option<&str>) -> RequestChanges {
    let mut changes = RequestChanges::default();
    if let Some(path) = path {
        changes.set_path(path.as_bytes()).unwrap();
    }
    if let Some(query) = query {
        changes.set_query(query.as_bytes()).unwrap();
    }
    changes
}

fn method(name: &str) -> RequestChanges {
    let mut changes = RequestChanges::default();
    changes.set_method(name.as_bytes(), b"GET").unwrap();
    changes
}

const URI: &str = "$request|$request_uri|$uri|$args|$is_args|$arg_x";

#[test]
fn variables_tell_the_new_uri_and_those_of_the_request_line_the_old_one() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("GET /a%20b?x=1 HTTP/1.1\r\nHost: t\r\n\r\n");
        let line = "GET /a%20b?x=1 HTTP/1.1|/a%20b?x=1";
        exchange.apply(&uri(Some("/c/../d%20e"), None)).unwrap();
        let told = rendered(&exchange, URI);
        assert_eq!(told, format!("{line}|/d e|x=1|?|1"));
        exchange.apply(&uri(None, Some("x=2&y"))).unwrap();
        let told = rendered(&exchange, URI);
        assert_eq!(told, format!("{line}|/d e|x=2&y|?|2"));
        exchange.apply(&uri(None, Some(""))).unwrap();
        assert_eq!(rendered(&exchange, URI), format!("{line}|/d e|||"));
        assert_eq!(exchange.uri(), b"/c/../d%20e");
        exchange.apply(&uri(Some("/f"), Some("x=3"))).unwrap();
        assert_eq!(exchange.uri(), b"/f?x=3");
        assert_eq!(exchange.normalised(), b"/f");
    });
}

#[test]
fn a_path_that_is_changed_leads_to_another_route_which_replaces_its_part_of_it() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("GET /plain/a?x HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(rig.found(&exchange).unwrap().route, PLAIN);
        exchange.apply(&uri(Some("/api/b%20c"), None)).unwrap();
        let admitted = rig.found(&exchange).unwrap();
        assert_eq!(admitted.route, API);
        let sent = rig.sent(&exchange, &admitted);
        assert!(sent.starts_with("GET /v1/b%20c?x HTTP/1.1\r\n"), "{sent}");
    });
}

#[test]
fn a_path_that_is_changed_behind_the_choice_of_a_route_goes_on_as_it_is() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("GET /api/a HTTP/1.1\r\nHost: t\r\n\r\n");
        let admitted = rig.found(&exchange).unwrap();
        exchange.apply(&uri(None, Some("y"))).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(sent.starts_with("GET /v1/a?y HTTP/1.1\r\n"), "{sent}");
        exchange.apply(&uri(Some("/api/b"), None)).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(sent.starts_with("GET /api/b?y HTTP/1.1\r\n"), "{sent}");
        let admitted = rig.found(&exchange).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(sent.starts_with("GET /v1/b?y HTTP/1.1\r\n"), "{sent}");
    });
}

#[test]
fn a_route_that_is_taken_replaces_its_part_of_a_path_that_has_it() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        for (path, target) in [("/plain/a", "/plain/a"), ("/api/a", "/v1/a")] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
            let exchange = rig.examined(&head);
            let admitted = rig.taken(&exchange, API).unwrap();
            assert_eq!(exchange.stats.route.get(), Some(API));
            let sent = rig.sent(&exchange, &admitted);
            assert!(
                sent.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
                "{sent}"
            );
        }
        let exchange = rig.examined("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        assert!(matches!(rig.taken(&exchange, 9), Err(Fault::NoSuchRoute)));
        assert_eq!(exchange.stats.route.get(), None);
    });
}

#[test]
fn a_host_that_is_set_is_routed_by_and_sent_while_the_clients_is_told_as_forwarded() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("GET /plain/ HTTP/1.1\r\nHost: t:80\r\n\r\n");
        exchange
            .apply(&fields(&[(Set, "host", "C.example:81")]))
            .unwrap();
        let told = rendered(&exchange, "$host|$http_host");
        assert_eq!(told, "c.example|C.example:81");
        let admitted = rig.found(&exchange).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(sent.contains("\r\nHost: C.example:81\r\n"), "{sent}");
        assert!(sent.contains("\r\nX-Forwarded-Host: t:80\r\n"), "{sent}");
        exchange
            .apply(&fields(&[(Set, "Host", "b.example")]))
            .unwrap();
        assert_eq!(rig.found(&exchange).unwrap().route, B_EXAMPLE);
        assert_eq!(&*exchange.server_name(), "b.example");
    });
}

#[test]
fn what_a_hook_sets_goes_on_whatever_the_client_says() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined(
            "GET /plain/ HTTP/1.1\r\nHost: t\r\nConnection: X-User, X-Added\r\nX.User: evil\r\n\
             X-User: evil\r\nX-Added: evil\r\nX-Real-IP: evil\r\nX-Forwarded-Port: evil\r\n\r\n",
        );
        let list = [
            (Set, "X-User", "u"),
            (Add, "X-Added", "v"),
            (Set, "X_Odd", "w"),
            (Set, "X-Real-IP", "192.0.2.9"),
            (Remove, "X-Forwarded-For", ""),
            (Add, "X-Forwarded-Proto", "https"),
            (Set, "X-Forwarded-Port", "8443"),
            (Set, "X-Route", "x"),
        ];
        exchange.apply(&fields(&list)).unwrap();
        let admitted = rig.found(&exchange).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(
            !sent.contains("evil") && !sent.contains("X-Forwarded-For"),
            "{sent}"
        );
        let mut lines: Vec<_> = sent.trim_end().split("\r\n").skip(1).collect();
        lines.sort_unstable();
        let expected = [
            "Host: t",
            "X-Added: v",
            "X-Forwarded-Host: t",
            "X-Forwarded-Port: 8443",
            "X-Forwarded-Proto: https",
            "X-Real-IP: 192.0.2.9",
            // The route's word is the last.
            "X-Route: /plain/",
            "X-User: u",
            "X_Odd: w",
        ];
        assert_eq!(lines, expected);
        // Nor does a trailer take its place.
        let (fields, listed) = (
            exchange.request.fields(),
            request::Listed::of(exchange.request.fields()),
        );
        let none = request::ConfiguredChanges::default();
        let passes =
            |name: &str| request::passes_as_trailer(name.as_bytes(), fields, none, &listed);
        assert!(!passes("x_user") && !passes("X-Forwarded-For") && passes("X-Other"));
    });
}

#[test]
fn what_a_trusted_peer_reports_is_told_with_what_a_hook_adds() {
    run(async {
        let mut rig = Rig::new("10.0.0.1").await;
        let head = "GET /plain/ HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
        let mut exchange = rig.examined(head);
        let added = [(Add, "X-Forwarded-For", "192.0.2.8")];
        exchange.apply(&fields(&added)).unwrap();
        let admitted = rig.found(&exchange).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        let line = "\r\nX-Forwarded-For: 192.0.2.7, 192.0.2.8, 10.0.0.1\r\n";
        assert!(sent.contains(line), "{sent}");
        let set = [(Set, "X-Forwarded-For", "192.0.2.9")];
        exchange.apply(&fields(&set)).unwrap();
        let sent = rig.sent(&exchange, &admitted);
        assert!(
            sent.contains("\r\nX-Forwarded-For: 192.0.2.9\r\n"),
            "{sent}"
        );
        // It was decided before who the client is.
        assert_eq!(rendered(&exchange, "$remote_addr"), "192.0.2.7");
    });
}

#[test]
fn a_method_is_changed_for_the_server() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("GET /plain/ HTTP/1.1\r\nHost: t\r\n\r\n");
        exchange.apply(&method("PURGE")).unwrap();
        assert_eq!(rendered(&exchange, "$request_method"), "PURGE");
        let admitted = rig.found(&exchange).unwrap();
        assert!(rig.sent(&exchange, &admitted).starts_with("PURGE /plain/ "));
    });
}

#[test]
fn a_method_is_never_changed_from_or_to_head() {
    let mut changes = RequestChanges::default();
    for (before, method) in [("GET", "HEAD"), ("HEAD", "GET")] {
        let refused = changes.set_method(method.as_bytes(), before.as_bytes());
        assert_eq!(refused, Err(BadChange::HeadMethod));
    }
    assert!(changes.is_empty());
    assert_eq!(changes.set_method(b"HEAD", b"HEAD"), Ok(()));
}

#[test]
fn a_request_about_the_server_as_a_whole_needs_a_path_for_another_method() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n");
        let refused = Err(BadChange::Target(BadTarget::TargetForm));
        assert_eq!(exchange.apply(&method("GET")), refused);
        assert_eq!(exchange.apply(&uri(None, Some("x"))), refused);
        assert_eq!(exchange.apply(&method("OPTIONS")), Ok(()));
        let mut both = method("GET");
        both.set_path(b"/").unwrap();
        exchange.apply(&both).unwrap();
        assert_eq!(exchange.uri(), b"/");
    });
}

#[test]
fn of_changes_that_cannot_all_be_made_none_is() {
    run(async {
        let mut rig = Rig::new(PEER).await;
        let mut exchange = rig.examined("OPTIONS * HTTP/1.1\r\nHost: t\r\nX: 1\r\n\r\n");
        let mut changes = fields(&[(Set, "Host", "b.example"), (Set, "X", "2")]);
        changes.set_query(b"b").unwrap();
        changes.set_method(b"POST", b"OPTIONS").unwrap();
        let refused = Err(BadChange::Target(BadTarget::TargetForm));
        assert_eq!(exchange.apply(&changes), refused);
        let told = rendered(&exchange, "$request_method $request_uri $host $http_x");
        assert_eq!(told, "OPTIONS * t 1");
        // Nor what would take more than all changes may.
        let large = "x".repeat(40_000);
        let large = fields(&[(Set, "X", &large)]);
        exchange.apply(&large).unwrap();
        assert_eq!(exchange.apply(&large), Err(BadChange::TooLarge));
    });
}

#[test]
fn what_no_client_may_send_is_refused_at_once() {
    let mut changes = RequestChanges::default();
    for path in [
        "",
        "a",
        "*",
        "/a?b",
        "/a b",
        "/a#b",
        "/%zz",
        "/..",
        "/a\x7f",
        "http://a/",
    ] {
        assert!(changes.set_path(path.as_bytes()).is_err(), "{path}");
    }
    for query in ["a b", "a#b", "\x01", "\u{e9}"] {
        assert!(changes.set_query(query.as_bytes()).is_err(), "{query}");
    }
    assert!(changes.set_method(b"CONNECT", b"GET").is_err());
    assert!(changes.change_field(field(Set, "Te", "x")).is_err());
    assert!(changes.is_empty());
    let large = "/".repeat(crate::http::head::MAX_CHANGES);
    changes.set_path(large.as_bytes()).unwrap();
    assert_eq!(changes.set_query(b"a"), Err(BadChange::TooLarge));
    let more = changes.change_field(field(Set, "a", ""));
    assert_eq!(more, Err(BadChange::TooLarge));
}
