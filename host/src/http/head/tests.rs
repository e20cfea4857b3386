//! Heads of HTTP/1: what is accepted, what is refused, and what either leaves behind.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use proptest::prelude::*;

fn request(text: &str) -> Result<RequestHead, BadHead> {
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), 100).map(|()| head)
}

#[test]
fn a_request_is_taken_apart() {
    let head =
        request("GET /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nACCEPT: \t a, b \t\r\n\r\n").unwrap();
    assert_eq!(head.method(), b"GET");
    assert_eq!(head.target(), b"/a?b");
    assert_eq!(head.line(), b"GET /a?b HTTP/1.1");
    assert_eq!(head.version(), Version::Http11);
    let fields: Vec<_> = head
        .fields()
        .iter()
        .map(|field| (field.name, field.value))
        .collect();
    assert_eq!(
        fields,
        [
            (&b"Host"[..], &b"x"[..]),
            (b"X-Empty", b""),
            (b"ACCEPT", b"a, b")
        ]
    );
    assert_eq!(
        head.fields().known(FieldName::Host).collect::<Vec<_>>(),
        [b"x"]
    );
}

#[test]
fn what_parsers_disagree_on_is_refused() {
    for text in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/1.1\r\nName : x\r\n\r\n",
        "GET / HTTP/1.1\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nName\r\n\r\n",
        "GET / HTTP/1.1\r\nName: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nNa(me: a\r\n\r\n",
        "GET / HTTP/1.1\r\nName: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nName: a\x07b\r\n\r\n",
        "GET / HTTP/1.1\r\nName: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nName: a\x7fb\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\nmore",
    ] {
        assert!(request(text).is_err(), "{text:?}");
    }
}

#[test]
fn more_headers_than_allowed_are_refused_and_as_many_are_not() {
    let with = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(request(&with(100)).unwrap().fields().iter().count(), 100);
    assert!(matches!(request(&with(101)), Err(BadHead::TooManyHeaders)));
}

#[test]
fn a_head_is_reused_without_a_trace_of_the_one_before() {
    let mut head = request("POST /long HTTP/1.1\r\nHost: x\r\nCookie: y\r\n\r\n").unwrap();
    head.parse(b"GET / HTTP/1.0\r\n\r\n", 100).unwrap();
    assert_eq!(
        (head.method(), head.target(), head.version()),
        (&b"GET"[..], &b"/"[..], Version::Http10)
    );
    assert_eq!(head.fields().iter().count(), 0);
}

#[test]
fn a_head_that_is_refused_has_its_line_and_nothing_of_the_one_before() {
    let long = "LONGMETHOD /long?secret HTTP/1.0\r\nHost: x\r\nCookie: secret\r\n\r\n";
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101));
    for (bad, line) in [
        ("B\x01\r\n\r\n", "B\x01"),
        ("GET / HTTP/9.9\r\n\r\n", "GET / HTTP/9.9"),
        ("GET  / HTTP/1.1\r\nA: b\r\n\r\n", "GET  / HTTP/1.1"),
        ("GET / HTTP/1.1\r\nA: b\r\n: c\r\n\r\n", "GET / HTTP/1.1"),
        ("GET / HTTP/1.1\r\nA: b\r\nc\r\n\r\n", "GET / HTTP/1.1"),
        ("GET / HTTP/1.1\r\n\r\nmore", "GET / HTTP/1.1"),
        (&many, "GET / HTTP/1.1"),
        ("", ""),
    ] {
        let mut head = request(long).unwrap();
        assert!(head.parse(bad.as_bytes(), 100).is_err(), "{bad:?}");
        assert_eq!(head.line(), line.as_bytes());
        assert_eq!((head.method(), head.target()), (&b""[..], &b""[..]));
        assert_eq!((head.version(), head.len()), (Version::Http11, bad.len()));
        assert_eq!(head.fields().iter().count(), 0);
        assert_eq!(head.fields().known(FieldName::Cookie).count(), 0);
        head.clear();
        assert!(head.is_empty() && head.line().is_empty());
    }
}

#[test]
fn a_response_that_is_refused_is_empty() {
    let long = b"HTTP/1.1 404 A long reason\r\nServer: secret\r\nX: y\r\n\r\n";
    for bad in [
        "H\x01\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\nA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\nc\r\n\r\n",
    ] {
        let mut head = ResponseHead::default();
        head.parse(long, 10).unwrap();
        assert!(head.parse(bad.as_bytes(), 10).is_err(), "{bad:?}");
        assert!(head.is_empty() && head.reason().is_empty());
        assert_eq!((head.status(), head.fields().iter().count()), (0, 0));
    }
}

/// The blanks around a value are not part of it, wherever the line is taken from.
#[test]
fn a_field_is_written_as_one_line_however_it_was_received() {
    let lines = "A: 1\r\nB:2\r\nC:  3\r\nD: 4 \r\nE: \r\nF:\r\nG:\t5\r\nH: six: 6\r\nhost: a\r\n";
    let mut head = request(&format!("GET http://b/ HTTP/1.1\r\n{lines}\r\n")).unwrap();
    let written = |head: &RequestHead| {
        let mut out = Vec::new();
        for field in head.fields().iter() {
            field.append_line(&mut out);
        }
        String::from_utf8(out).unwrap()
    };
    let others = "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: \r\nG: 5\r\nH: six: 6\r\n";
    assert_eq!(written(&head), format!("{others}host: a\r\n"));
    head.set_host(7..8);
    assert_eq!(written(&head), format!("{others}host: b\r\n"));
}

#[test]
fn the_host_is_that_of_the_target_once_it_is_set() {
    for fields in ["", "Host: b\r\n", "A: b\r\nhOST: c:81\r\n"] {
        let mut head = request(&format!("GET http://a:80/x HTTP/1.1\r\n{fields}\r\n")).unwrap();
        let (line, length) = (head.line().to_vec(), head.len());
        head.set_host(7..11);
        let hosts: Vec<_> = head.fields().known(FieldName::Host).collect();
        assert_eq!(hosts, [b"a:80"]);
        assert_eq!(head.fields().named(b"host").count(), 1);
        assert_eq!((head.line(), head.len()), (&*line, length));
    }
}

#[test]
fn names_with_underscores_are_dropped_for_good() {
    let mut head = request("GET / HTTP/1.1\r\nA_b: 1\r\nA-B: 2\r\nA.b: 3\r\n\r\n").unwrap();
    assert_eq!(head.fields().of_variable(b"a-b").count(), 2);
    assert_eq!(head.drop_underscored(), 1);
    let names: Vec<_> = head.fields().iter().map(|field| field.name).collect();
    assert_eq!(names, [&b"A-B"[..], b"A.b"]);
    assert_eq!(
        head.fields().of_variable(b"a-b").collect::<Vec<_>>(),
        [b"2"]
    );
    assert_eq!(head.drop_underscored(), 0);
}

#[test]
fn a_variable_tells_of_a_known_field_by_its_own_spelling_alone() {
    let lines = "X_Real_IP: 1\r\nX-Real-IP: 2\r\nx_forwarded_port: 3\r\n";
    let head = request(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).unwrap();
    let told = |name: &[u8]| head.fields().of_variable(name).count();
    assert_eq!((told(b"x-real-ip"), told(b"x-forwarded-port")), (1, 0));
}

#[test]
fn a_field_of_which_there_is_one_is_told_if_it_is_repeated() {
    let twice = |name: &str| format!("GET / HTTP/1.1\r\n{name}: 1\r\n{name}: 2\r\n\r\n");
    let repeated = |name| request(&twice(name)).unwrap().fields().repeated_singleton();
    assert_eq!(repeated("Authorization"), Some(FieldName::Authorization));
    assert_eq!(repeated("content-range"), Some(FieldName::ContentRange));
    assert_eq!(repeated("Cookie"), None);
    assert_eq!(repeated("X-Any"), None);
}

#[test]
fn a_response_may_lack_a_reason() {
    for (text, reason) in [
        ("HTTP/1.1 200 OK\r\n\r\n", "OK"),
        ("HTTP/1.1 200 \r\n\r\n", ""),
        ("HTTP/1.0 200\r\n\r\n", ""),
    ] {
        let mut head = ResponseHead::default();
        head.parse(text.as_bytes(), 10).unwrap();
        assert_eq!(
            (head.status(), head.reason()),
            (200, reason.as_bytes()),
            "{text:?}"
        );
    }
}

#[test]
fn a_bare_line_feed_is_refused_as_soon_as_it_is_seen() {
    assert!(HeadEnd::default().find(b"GET / HTTP/1.1\nHost: x").is_err());
    assert!(HeadEnd::default().find(b"\n").is_err());
}

#[test]
fn a_list_is_searched_member_by_member() {
    let head =
        request("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nConnection: x\r\n\r\n")
            .unwrap();
    assert!(head.fields().lists(FieldName::Connection, b"upgrade"));
    assert!(head.fields().lists(FieldName::Connection, b"x"));
    assert!(!head.fields().lists(FieldName::Connection, b"close"));
}

proptest! {
    #[test]
    fn the_end_of_a_head_is_the_same_however_it_arrives(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
        let bytes = b"GET / HTTP/1.1\r\nHost: example\r\nAccept: */*\r\n\r\nbody\r\n\r\n";
        let whole = HeadEnd::default().find(bytes).unwrap();
        let mut end = HeadEnd::default();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let found = cuts.into_iter().find_map(|cut| end.find(&bytes[..cut]).unwrap());
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = RequestHead::default().parse(&bytes, 10);
        let _ = ResponseHead::default().parse(&bytes, 10);
        let _ = HeadEnd::default().find(&bytes);
    }

    #[test]
    fn what_is_accepted_holds_no_control_byte(noise in proptest::collection::vec(any::<u8>(), 0..20), at in 0_usize..60) {
        let mut bytes = b"GET /path HTTP/1.1\r\nHost: example\r\nAccept: text\r\n\r\n".to_vec();
        let at = at.min(bytes.len());
        bytes.splice(at..at, noise);
        let mut head = RequestHead::default();
        if head.parse(&bytes, 10).is_ok() {
            for field in head.fields().iter() {
                prop_assert!(crate::http::headers::is_token(field.name));
                prop_assert!(crate::http::headers::is_value(field.value));
            }
        }
    }
}
