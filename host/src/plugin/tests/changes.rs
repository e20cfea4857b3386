//! What a hook may change of a request and of its answer, and what it may not; the log says why.

use crate::http::head::{FieldChange, FieldChanges, FieldOperation};
use crate::plugin::{Asked, Changes, Plugin, Verdict, WorkerHook};

use super::guests::Guest;
use super::peers::{about, balancer, exchange, hook, logged, pick};

/// What a function of `changes` is called with.
enum Argument {
    Text(&'static str),
    Bytes(&'static [u8]),
    /// So many times the letter `b`.
    Letters(usize),
    Status(u16),
    Micros(u64),
}

use Argument::{Bytes, Letters, Micros, Status, Text};

/// One call of a function of `changes`.
type Call = (&'static str, &'static [Argument]);

/// A hook that makes the call of the number that the exchange has, and reroutes if it is accepted.
fn making(calls: &[Call]) -> Plugin {
    let (mut imports, mut data, mut body) = (String::new(), String::new(), String::new());
    let mut place = 8192;
    for (number, (function, arguments)) in calls.iter().enumerate() {
        let (mut types, mut passed) = (String::new(), String::new());
        let mut text = |bytes: &[u8]| {
            let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
            data += &format!("(data (i32.const {place}) \"{escaped}\")");
            let pair = format!("(i32.const {place}) (i32.const {})", bytes.len());
            place += bytes.len();
            pair
        };
        for argument in *arguments {
            let (kind, value) = match argument {
                Text(bytes) => (" i32 i32", text(bytes.as_bytes())),
                Bytes(bytes) => (" i32 i32", text(bytes)),
                // Of the pages that are there beside the first.
                Letters(length) => (
                    " i32 i32",
                    format!("(i32.const 65536) (i32.const {length})"),
                ),
                Status(status) => (" i32", format!("(i32.const {status})")),
                Micros(micros) => (" i64", format!("(i64.const {micros})")),
            };
            types += kind;
            passed += &value;
        }
        imports += &format!(
            r#"(import "waypost:plugin/changes@0.2.0" "{function}"
                 (func $f{number} (param{types}) (result i32)))"#
        );
        body += &format!(
            "(if (i64.eq (local.get $exchange) (i64.const {number}))
               (then (return (i32.mul (i32.const 2) (call $f{number} {passed})))))"
        );
    }
    Guest {
        more: (imports + &data).leak(),
        setup: "(drop (memory.grow (i32.const 3)))
                (memory.fill (i32.const 65536) (i32.const 98) (i32.const 131072))",
        ..Guest::asked((body + "(i32.const 0)").leak())
    }
    .load()
}

/// What came of each call, in order.
fn made(calls: &[Call]) -> Vec<Asked> {
    let worker = WorkerHook::attach(&hook(&making(calls)), None);
    (0..calls.len() as u64)
        .map(|number| worker.on_request(&exchange(0), &about(number)).unwrap())
        .collect()
}

#[track_caller]
fn assert_refused(calls: &[Call], why: &str) {
    let mut asked = Vec::new();
    let log = logged(|| asked = made(calls));
    for (asked, (function, _)) in asked.iter().zip(calls) {
        assert_eq!(asked.verdict, Verdict::Proceed, "{function} was accepted");
        let changes = asked.changes.as_deref();
        let is_empty = |changes: &Changes| {
            let answer = changes.answer.is_none() && changes.delay.is_zero();
            let heads = changes.request.is_empty() && changes.response.is_empty();
            let ways = changes.route.is_none() && changes.upstream.is_none();
            answer && heads && ways && changes.attributes.is_empty()
        };
        assert!(changes.is_none_or(is_empty), "{function}");
    }
    let told: Vec<&str> = log.lines().filter(|line| line.contains(why)).collect();
    assert_eq!(told.len(), calls.len(), "{log}");
    for (line, (function, _)) in told.iter().zip(calls) {
        assert!(
            line.contains(&format!("`changes.{function}` refused: ")),
            "{line}"
        );
    }
}

#[test]
fn method_path_and_query_are_changed_to_what_a_client_may_send() {
    let asked = made(&[
        ("set-method", &[Text("PURGE")]),
        ("set-path", &[Text("/a%20b/c;d=1")]),
        ("set-query", &[Text("x=1&y=%2f?")]),
        ("set-query", &[Text("")]),
    ]);
    let changes = |place: usize| &asked[place].changes.as_ref().unwrap().request;
    assert!(asked.iter().all(|asked| asked.verdict == Verdict::Reroute));
    assert_eq!(changes(0).method.as_deref(), Some(&b"PURGE"[..]));
    assert_eq!(changes(1).path.as_deref(), Some(&b"/a%20b/c;d=1"[..]));
    assert_eq!(changes(2).query.as_deref(), Some(&b"x=1&y=%2f?"[..]));
    assert_eq!(changes(3).query.as_deref(), Some(&b""[..]), "it is removed");
}

#[test]
fn a_method_that_is_none_or_not_the_hosts_to_pass_on_is_refused() {
    assert_refused(
        &[
            ("set-method", &[Text("CONNECT")]),
            ("set-method", &[Text("TRACE")]),
            ("set-method", &[Text("")]),
            ("set-method", &[Text("GET /")]),
            ("set-method", &[Text("G\r\nT")]),
        ],
        "a method is a word, and not `CONNECT` or `TRACE`",
    );
}

#[test]
fn a_path_that_no_client_may_send_is_refused() {
    assert_refused(
        &[
            ("set-path", &[Text("")]),
            ("set-path", &[Text("a")]),
            ("set-path", &[Text("*")]),
            ("set-path", &[Text("http://a/")]),
            ("set-path", &[Text("/a b")]),
            ("set-path", &[Text("/a?b")]),
            ("set-path", &[Text("/a#b")]),
            ("set-path", &[Text("/a\r\nb")]),
            ("set-path", &[Text("/\u{e4}")]),
            ("set-path", &[Text("/a%2")]),
            ("set-path", &[Text("/a%00")]),
            ("set-path", &[Text("/../a")]),
            ("set-path", &[Text("/a/%2e%2e/../b")]),
        ],
        "invalid path or query: ",
    );
    assert_refused(
        &[
            ("set-query", &[Text("a b")]),
            ("set-query", &[Text("a#b")]),
            ("set-query", &[Text("a\nb")]),
            ("set-query", &[Text("\u{e4}")]),
        ],
        "invalid path or query: ",
    );
}

#[test]
fn headers_are_changed_in_the_order_of_the_calls() {
    let asked = made(&[
        ("set-request-header", &[Text("Host"), Text("app.example")]),
        ("add-request-header", &[Text("X-Tag"), Bytes(b"\xe4")]),
        ("remove-request-header", &[Text("cookie")]),
        ("set-response-header", &[Text("Server"), Text("")]),
        ("add-response-header", &[Text("Set-Cookie"), Text("a=b")]),
        ("remove-response-header", &[Text("X-Powered-By")]),
    ]);
    let edit = |place: usize, of: fn(&Changes) -> &FieldChanges| {
        let changes = asked[place].changes.as_ref().unwrap();
        let FieldChange {
            operation,
            name,
            value,
        } = of(changes).iter().next().unwrap();
        (operation, name, value)
    };
    use FieldOperation::{Add, Remove, Set};
    let of_request = |place| edit(place, |changes| &changes.request.fields);
    assert_eq!(of_request(0), (Set, &b"Host"[..], &b"app.example"[..]));
    assert_eq!(of_request(1), (Add, &b"X-Tag"[..], &b"\xe4"[..]));
    assert_eq!(of_request(2), (Remove, &b"cookie"[..], &b""[..]));
    let of_response = |place| edit(place, |changes| &changes.response);
    assert_eq!(of_response(3), (Set, &b"Server"[..], &b""[..]));
    assert_eq!(of_response(4), (Add, &b"Set-Cookie"[..], &b"a=b"[..]));
    assert_eq!(of_response(5), (Remove, &b"X-Powered-By"[..], &b""[..]));
}

#[test]
fn how_messages_are_framed_is_not_a_hooks_to_say() {
    let names = [
        "Content-Length",
        "transfer-encoding",
        "CONNECTION",
        "Keep-Alive",
        "Upgrade",
        "Proxy-Connection",
        "TE",
        "Trailer",
    ];
    for name in names {
        let (both, one) = ([Text(name), Text("1")], [Text(name)]);
        let (both, one): (&'static [Argument], &'static [Argument]) =
            (Box::leak(Box::new(both)), Box::leak(Box::new(one)));
        assert_refused(
            &[
                ("set-request-header", both),
                ("add-request-header", both),
                ("remove-request-header", one),
                ("set-response-header", both),
                ("add-response-header", both),
                ("remove-response-header", one),
            ],
            "the header frames the message or belongs to one connection",
        );
    }
}

#[test]
fn names_and_values_that_http_does_not_allow_are_refused() {
    assert_refused(
        &[
            ("set-request-header", &[Text(""), Text("a")]),
            ("add-request-header", &[Text("a b"), Text("a")]),
            ("remove-request-header", &[Text("a:")]),
            ("set-response-header", &[Text("a\r\nb"), Text("a")]),
            ("add-response-header", &[Text("\u{e4}"), Text("a")]),
            ("remove-response-header", &[Text("a\0")]),
        ],
        "a header's name has letters, digits and dashes",
    );
    assert_refused(
        &[
            ("set-request-header", &[Text("a"), Text("b\r\nc: d")]),
            ("add-request-header", &[Text("a"), Bytes(b"\0")]),
            ("set-response-header", &[Text("a"), Text("b\nc")]),
            ("add-response-header", &[Text("a"), Bytes(b"\x7f")]),
        ],
        "a header's value has no control characters",
    );
}

#[test]
fn a_request_keeps_its_one_host() {
    assert_refused(
        &[
            ("add-request-header", &[Text("Host"), Text("other.example")]),
            ("remove-request-header", &[Text("hOST")]),
        ],
        "a request has a `Host`: it can only be set",
    );
    assert_refused(
        &[("set-request-header", &[Text("Host"), Text("a b")])],
        "invalid `Host`: ",
    );
}

#[test]
fn statuses_and_delays_have_their_bounds() {
    let accepted = made(&[
        ("answer", &[Status(200), Text("")]),
        ("answer", &[Status(599), Text("")]),
        ("delay", &[Micros(3_600_000_000)]),
    ]);
    assert!(
        accepted
            .iter()
            .all(|asked| asked.verdict == Verdict::Reroute)
    );
    assert_refused(
        &[
            ("answer", &[Status(100), Text("")]),
            ("answer", &[Status(101), Text("")]),
            ("answer", &[Status(199), Text("")]),
            ("answer", &[Status(600), Text("")]),
            ("answer", &[Status(0), Text("")]),
        ],
        "a status is from 200 to 599",
    );
    assert_refused(
        &[
            ("delay", &[Micros(3_600_000_001)]),
            ("delay", &[Micros(365 * 24 * 3_600_000_000)]),
            ("delay", &[Micros(u64::MAX)]),
        ],
        "a delay is an hour at most",
    );
}

#[test]
fn routes_and_upstreams_that_do_not_exist_are_refused() {
    let no_route = "this listener has no route with the `name` `blue`";
    assert_refused(&[("take-route", &[Text("blue")])], no_route);
    let no_upstream = "there is no upstream `shop`";
    assert_refused(&[("take-upstream", &[Text("shop")])], no_upstream);
}

#[test]
fn the_changes_of_one_call_have_64_kib() {
    let accepted = made(&[
        ("answer", &[Status(200), Letters(65_536)]),
        ("set-attribute", &[Text("a"), Letters(65_535)]),
    ]);
    assert!(
        accepted
            .iter()
            .all(|asked| asked.verdict == Verdict::Reroute)
    );
    let body = "a body has 65536 bytes at most";
    assert_refused(&[("answer", &[Status(200), Letters(65 << 10)])], body);
    let attribute = "32 attributes of 65536 bytes are the most";
    assert_refused(
        &[("set-attribute", &[Text("a"), Letters(65 << 10)])],
        attribute,
    );
    assert_refused(
        &[
            ("set-request-header", &[Text("a"), Letters(65 << 10)]),
            ("add-response-header", &[Text("a"), Letters(65 << 10)]),
            ("set-query", &[Letters(65 << 10)]),
        ],
        "the changes have more than 65536 bytes, with 32 more for each header",
    );
}

#[test]
fn the_room_of_a_call_is_taken_by_all_of_its_changes_and_is_there_again_for_the_next() {
    // Answers 1,000 bytes as often as that is accepted.
    let plugin = Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "add-response-header"
              (func $add (param i32 i32 i32 i32) (result i32)))
            (data (i32.const 512) "a")"#,
        setup: "(memory.fill (i32.const 8192) (i32.const 98) (i32.const 1000))",
        ..Guest::asked(
            "(loop $again
               (br_if $again (call $add (i32.const 512) (i32.const 1) (i32.const 8192) (i32.const 1000))))
             (i32.const 0)",
        )
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    for number in 0..3 {
        let mut added = 0;
        let log = logged(|| {
            let asked = worker.on_request(&exchange(0), &about(number)).unwrap();
            added = asked.changes.unwrap().response.iter().count();
        });
        assert_eq!(added, 63, "of 1,033 bytes each");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}

#[test]
fn attributes_have_names_and_there_are_32_of_them() {
    const LONG: &str = concat!(
        "a2345678901234567890123456789012",
        "34567890123456789012345678901234"
    );
    let asked = made(&[
        ("set-attribute", &[Text("user_id2"), Bytes(b"\0\xff")]),
        ("set-attribute", &[Text(LONG), Text("")]),
    ]);
    let attributes = &asked[0].changes.as_ref().unwrap().attributes;
    assert_eq!(attributes.get(b"user_id2"), Some(&b"\0\xff"[..]));
    assert_eq!(asked[1].verdict, Verdict::Reroute);
    let too_long = [Text(String::leak(format!("{LONG}5"))), Text("a")];
    let too_long: &'static [Argument] = Box::leak(Box::new(too_long));
    assert_refused(
        &[
            ("set-attribute", &[Text(""), Text("a")]),
            ("set-attribute", &[Text("User"), Text("a")]),
            ("set-attribute", &[Text("user-id"), Text("a")]),
            ("set-attribute", too_long),
        ],
        "an attribute's name is of `a-z`, `0-9` and `_`",
    );
    // Names of two bytes, the second one another each time; then the first name once more.
    let plugin = Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "set-attribute"
              (func $set (param i32 i32 i32 i32) (result i32)))
            (data (i32.const 512) "a")"#,
        ..Guest::asked(
            "(local $n i32) (local $accepted i32)
             (loop $again
               (i32.store8 (i32.const 513)
                 (select (i32.add (i32.const 97) (local.get $n))
                         (i32.add (i32.const 22) (local.get $n))
                         (i32.lt_u (local.get $n) (i32.const 26))))
               (local.set $accepted (i32.add (local.get $accepted)
                 (call $set (i32.const 512) (i32.const 2) (i32.const 512) (i32.const 2))))
               (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
                                       (i32.const 33))))
             (i32.store8 (i32.const 513) (i32.const 97))
             (local.set $accepted (i32.add (local.get $accepted)
               (call $set (i32.const 512) (i32.const 2) (i32.const 8192) (i32.const 1))))
             (i32.mul (i32.const 2) (i32.eq (local.get $accepted) (i32.const 33)))",
        )
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    let log = logged(|| {
        let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
        let changes = asked.changes.unwrap();
        let names = changes.attributes.iter().count();
        assert_eq!((asked.verdict, names), (Verdict::Reroute, 32));
        // It was set twice, and has what was said last.
        assert_eq!(changes.attributes.get(b"aa"), Some(&b"\0"[..]));
    });
    assert!(
        log.contains("32 attributes of 65536 bytes are the most"),
        "{log}"
    );
}

/// A hook that tries each kind of change in each call that it has; accepted ones are counted.
fn trying_everywhere() -> Guest {
    Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "set-path" (func $path (param i32 i32) (result i32)))
            (import "waypost:plugin/changes@0.2.0" "set-response-header"
              (func $header (param i32 i32 i32 i32) (result i32)))
            (import "waypost:plugin/changes@0.2.0" "set-attribute"
              (func $attribute (param i32 i32 i32 i32) (result i32)))
            (import "waypost:plugin/checks@0.2.0" "verify-password" (func $verify (param i32 i32 i32 i32)))
            (data (i32.const 512) "/abc")
            (func $try (result i32)
              (call $verify (i32.const 512) (i32.const 1) (i32.const 512) (i32.const 1))
              (i32.add (call $path (i32.const 512) (i32.const 4))
                (i32.add (call $header (i32.const 513) (i32.const 3) (i32.const 513) (i32.const 3))
                  (call $attribute (i32.const 513) (i32.const 3) (i32.const 513) (i32.const 3)))))
            (func $must-not (if (call $try) (then unreachable)))
            (func (export "waypost:plugin/on-response@0.2.0#on-response") (param i64 i32 i64)
              (if (i32.ne (call $try) (i32.const 2)) (then unreachable)))
            (func (export "waypost:plugin/on-end@0.2.0#on-end")
              (param i64 i32 i64 i32 i32 i64 i64 i64)
              (call $must-not))
            (func (export "waypost:plugin/ticker@0.2.0#tick") (param i64) (result i32)
              (call $must-not) (i32.const 1))
            (data (i32.const 1200) "\00\00\00\00\00\00\00\00")
            (func (export "waypost:plugin/keeper@0.2.0#export-state") (result i32)
              (call $must-not) (i32.const 1200))
            (func (export "waypost:plugin/keeper@0.2.0#import-state") (param i32 i32) (result i32)
              (call $must-not) (i32.const 1200))"#,
        setup: "(call $must-not)",
        attach: "(call $must-not)",
        worlds: &[
            "with-on-response",
            "with-on-end",
            "with-ticker",
            "with-keeper",
        ],
        ..Guest::asked("(i32.sub (call $try) (i32.const 3))")
    }
}

#[test]
fn changes_are_accepted_in_the_calls_that_they_are_for_and_nowhere_else() {
    let plugin = trying_everywhere().load();
    let log = logged(|| {
        let (first, second) = (hook(&plugin), hook(&plugin));
        let worker = WorkerHook::attach(&first, None);
        let exchange = exchange(0);
        let asked = worker.on_request(&exchange, &about(1)).unwrap();
        assert!(asked.check.is_some());
        let changes = asked.changes.unwrap();
        assert_eq!(changes.request.path.as_deref(), Some(&b"/abc"[..]));
        assert_eq!(changes.attributes.iter().count(), 1);
        // Behind the call of another phase each, in which the host is not to think that it still
        // is.
        let next = WorkerHook::attach(&second, Some(&worker));
        worker.tick(1);
        let changes = worker.on_response(&exchange, &about(1), &asked.ran);
        let changes = changes.unwrap().0.unwrap();
        assert!(changes.request.is_empty());
        assert_eq!(changes.response.iter().count(), 1);
        drop(WorkerHook::attach(&hook(&plugin), Some(&worker)));
        drop(next);
        worker.on_end(&exchange, &about(1), asked.ran, &super::peers::ENDED);
        worker.tick(1_000_000);
    });
    let stats = plugin.stats();
    assert_eq!((stats.calls, stats.traps), (3, 0), "{log}");
    assert!(
        log.contains("`changes.set-path` refused: there is no exchange at hand"),
        "{log}"
    );
    assert!(
        log.contains("`changes.set-path` refused: it comes too late"),
        "{log}"
    );
}

#[test]
fn a_policy_changes_nothing_of_a_request() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "set-path" (func $path (param i32 i32) (result i32)))
            (data (i32.const 512) "/")"#,
        ..Guest::picks("(call $path (i32.const 512) (i32.const 1))")
    }
    .load();
    assert_eq!(pick(&mut balancer(&policy).attach(None), 1), Some(0));
}
