//! What hooks change of a response, and what they answer themselves.

use super::*;
use crate::data_plane::body::Coding;
use crate::data_plane::exchange::fault::Level;
use crate::http::head::{FieldChange, FieldChanges, FieldOperation, HeadSide, ResponseHead};
use FieldOperation::{Add, Remove, Set};
use head::{ClientHead, HeadKind, HeadSource, passes_as_trailer};

const GET: &str = "GET /plain/ HTTP/1.1\r\nHost: t\r\n\r\n";

fn change(exchange: &Exchange, list: &[(FieldOperation, &str, &str)]) {
    let mut changes = FieldChanges::default();
    for (operation, name, value) in list {
        let change = FieldChange {
            operation: *operation,
            name: name.as_bytes(),
            value: value.as_bytes(),
        };
        changes.push(HeadSide::Response, change).unwrap();
    }
    exchange.change_response(&changes).unwrap();
}

/// The lines of a head for the client, in order, without the status line and `Date`.
fn written(rig: &Rig, exchange: &Rc<Exchange>, kind: HeadKind, lines: &str) -> Vec<String> {
    let mut head = ResponseHead::default();
    let text = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    head.parse(text.as_bytes(), 20).unwrap();
    let head = ClientHead {
        status: 200,
        source: HeadSource::Upstream(&head),
        kind,
        route: Some(rig.route(PLAIN)),
    };
    let mut out = Vec::new();
    head.write(exchange, &mut out);
    let text = String::from_utf8(out).unwrap();
    let lines = text.trim_end().split("\r\n").skip(1);
    let mut lines: Vec<_> = lines
        .filter(|line| !line.starts_with("Date:"))
        .map(str::to_owned)
        .collect();
    lines.sort_unstable();
    lines
}

const FINAL: HeadKind = HeadKind::Final {
    coding: Coding::Plain,
    keeps_length: true,
    keep: true,
};

#[test]
fn a_response_is_changed_in_the_order_of_the_changes_and_the_route_has_the_last_word() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, _) = rig.begun(GET);
        exchange
            .balance
            .add_response_header(b"Set-Cookie", b"policy");
        exchange.balance.add_response_header(b"X-Policy", b"p");
        change(
            &exchange,
            &[
                (Set, "x-server", "hook"),
                (Add, "X-Many", "1"),
                (Remove, "Set-Cookie", ""),
                (Add, "Set-Cookie", "hook"),
                (Set, "X-Route", "hook"),
                (Add, "X-Gone", "hook"),
                (Add, "X-Both", "hook"),
            ],
        );
        change(
            &exchange,
            &[
                (Set, "X-MANY", "2"),
                (Add, "X-Many", "3"),
                (Remove, "X-Late", ""),
            ],
        );
        let of_server =
            "X-Server: 1\r\nX-Many: 0\r\nSet-Cookie: server\r\nX-Late: 1\r\nX-Kept: 1\r\n";
        let expected = [
            "Set-Cookie: hook",
            "X-Both: hook",
            "X-Both: r",
            "X-Kept: 1",
            "X-MANY: 2",
            "X-Many: 3",
            "X-Policy: p",
            "X-Route: r",
            "x-server: hook",
        ];
        assert_eq!(written(&rig, &exchange, FINAL, of_server), expected);
    });
}

#[test]
fn a_head_that_begins_a_tunnel_is_changed_and_an_interim_one_is_not() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, _) = rig.begun(GET);
        change(
            &exchange,
            &[(Set, "X-Server", "hook"), (Set, "Date", "now")],
        );
        let switching = written(&rig, &exchange, HeadKind::Switching, "X-Server: 1\r\n");
        assert!(
            switching.contains(&"X-Server: hook".to_owned()),
            "{switching:?}"
        );
        let interim = written(&rig, &exchange, HeadKind::Interim, "X-Server: 1\r\n");
        assert_eq!(interim, ["X-Server: 1"]);
    });
}

#[test]
fn no_trailer_takes_the_place_of_what_hooks_set_or_remove() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, _) = rig.begun(GET);
        change(
            &exchange,
            &[
                (Set, "X-Set", "1"),
                (Remove, "X-Removed", ""),
                (Add, "X-Added", "1"),
            ],
        );
        let head = ResponseHead::default();
        let passes =
            |name: &str| passes_as_trailer(name.as_bytes(), &exchange, rig.route(PLAIN), &head);
        assert!(!passes("x-set") && !passes("x-removed") && !passes("x-gone"));
        assert!(passes("x-added") && passes("grpc-status"));
    });
}

#[test]
fn what_was_changed_for_a_head_that_never_left_is_not_in_the_next_one() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, _) = rig.begun(GET);
        change(&exchange, &[(Add, "X-Before", "1")]);
        written(&rig, &exchange, HeadKind::Interim, "");
        change(&exchange, &[(Add, "X-Early", "1")]);
        written(&rig, &exchange, FINAL, "");
        change(
            &exchange,
            &[(Remove, "X-Before", ""), (Add, "X-First", "1")],
        );
        let lines = written(&rig, &exchange, FINAL, "");
        assert_eq!(
            lines,
            ["X-Before: 1", "X-Both: r", "X-Early: 1", "X-Route: r"]
        );
    });
}

#[test]
fn changes_of_all_hooks_together_have_a_bound() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, _) = rig.begun(GET);
        let large = "x".repeat(40_000);
        change(&exchange, &[(Set, "X", &large)]);
        let mut changes = FieldChanges::default();
        let more = FieldChange {
            operation: Set,
            name: b"Y",
            value: large.as_bytes(),
        };
        changes.push(HeadSide::Response, more).unwrap();
        assert!(exchange.change_response(&changes).is_err());
        let lines = written(&rig, &exchange, FINAL, "");
        assert!(!lines.iter().any(|line| line.starts_with("Y:")));
    });
}

/// What a hook's answer is to the client, and what becomes of the exchange.
async fn answered(
    mut rig: Rig,
    head: &str,
    changes: &[(FieldOperation, &str, &str)],
    (status, body): (u16, &str),
) -> (String, u16, Delivered) {
    let (exchange, mut pipe) = rig.begun(head);
    change(&exchange, changes);
    let answer = (status, body.as_bytes());
    let mut session = rig.session();
    let delivered = local::answer(&mut session, &exchange, answer, &mut pipe).await;
    let delivered = delivered.unwrap();
    let logged = exchange.stats.status.get();
    (rig.received().await, logged, delivered)
}

#[test]
fn an_answer_of_a_hook_has_its_body_and_the_type_that_it_sets() {
    run(async {
        let rig = Rig::new("192.0.2.7").await;
        let changes = [
            (Set, "Content-Type", "application/json"),
            (Set, "X-Why", "y"),
        ];
        let (text, logged, delivered) = answered(rig, GET, &changes, (429, "{}")).await;
        assert!(
            text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nContent-Type: application/json\r\n"),
            "{text}"
        );
        assert!(
            !text.contains("text/plain") && text.contains("\r\nX-Why: y\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nContent-Length: 2\r\n") && text.ends_with("\r\n\r\n{}"),
            "{text}"
        );
        assert_eq!((logged, delivered), (429, Delivered::Whole { keep: true }));
        let rig = Rig::new("192.0.2.7").await;
        let (text, ..) = answered(rig, GET, &[], (200, "hello")).await;
        assert!(text.contains("\r\nContent-Type: text/plain\r\n"), "{text}");
    });
}

#[test]
fn an_error_without_a_body_is_a_fault_and_another_status_without_one_an_answer() {
    run(async {
        let mut rig = Rig::new("192.0.2.7").await;
        let (exchange, mut pipe) = rig.begun(GET);
        let answered_403 =
            local::answer(&mut rig.session(), &exchange, (403, b""), &mut pipe).await;
        let fault = answered_403.unwrap_err();
        assert_eq!((fault.status(), fault.level()), (403, Level::Silent));
        assert!(fault.leaves_connection_usable());
        let rig = Rig::new("192.0.2.7").await;
        let (text, logged, _) = answered(rig, GET, &[], (204, "")).await;
        assert!(
            text.starts_with("HTTP/1.1 204 ") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
        assert_eq!(logged, 204);
    });
}

#[test]
fn a_444_closes_without_an_answer_and_is_logged() {
    run(async {
        let rig = Rig::new("192.0.2.7").await;
        let (text, logged, delivered) = answered(rig, GET, &[], (444, "body")).await;
        assert_eq!((&*text, logged, delivered), ("", 444, Delivered::Cut));
    });
}

#[test]
fn a_client_of_head_gets_no_body_of_an_answer() {
    run(async {
        let rig = Rig::new("192.0.2.7").await;
        let head = "HEAD /plain/ HTTP/1.1\r\nHost: t\r\n\r\n";
        let (text, ..) = answered(rig, head, &[], (200, "hello")).await;
        assert!(
            text.contains("\r\nContent-Length: 5\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
    });
}
