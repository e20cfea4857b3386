//! What changes make of a head, compared with a plain list of its fields.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

const SOME: &str = "GET /a?b HTTP/1.1\r\nHost: a:80\r\nX-Tenant: 1\r\nx_tenant: 2\r\n\
                    X-Tenant: 3\r\nConnection: X-Tenant\r\nAuthorization: x\r\n\r\n";

fn head(text: &str) -> RequestHead {
    let mut head = RequestHead::default();
    head.parse(text.as_bytes(), 100).unwrap();
    head
}

fn push(
    changes: &mut FieldChanges,
    operation: FieldOperation,
    name: &str,
    value: &str,
) -> Result<(), BadChange> {
    let change = FieldChange {
        operation,
        name: name.as_bytes(),
        value: value.as_bytes(),
    };
    changes.push(HeadSide::Request, change)
}

fn changed(head: &mut RequestHead, list: &[(FieldOperation, &str, &str)]) {
    let mut changes = FieldChanges::default();
    for (operation, name, value) in list {
        push(&mut changes, *operation, name, value).unwrap();
    }
    head.change_fields(&changes);
}

fn fields(head: &RequestHead) -> Vec<(String, String, bool)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = head.fields().iter();
    fields
        .map(|field| (text(field.name), text(field.value), field.ours))
        .collect()
}

use FieldOperation::{Add, Remove, Set};

#[test]
fn all_values_give_way_to_what_is_set_and_so_do_names_that_pass_for_it() {
    let mut head = head(SOME);
    changed(&mut head, &[(Set, "x-tenant", " 4 ")]);
    let named: Vec<_> = head.fields().of_variable(b"x-tenant").collect();
    assert_eq!(named, [b"4"]);
    assert!(head.fields().decides(b"X_Tenant"));
    assert!(!head.fields().decides(b"Authorization"));
    let last = fields(&head).pop().unwrap();
    assert_eq!(last, ("x-tenant".to_owned(), "4".to_owned(), true));
}

#[test]
fn what_is_added_stands_beside_what_was_received() {
    let mut head = head(SOME);
    changed(&mut head, &[(Add, "X-Tenant", "4"), (Add, "X-New", "")]);
    let named: Vec<_> = head.fields().named(b"x-tenant").collect();
    assert_eq!(named, [&b"1"[..], b"3", b"4"]);
    assert_eq!(head.fields().named(b"X-New").next(), Some(&b""[..]));
    assert!(!head.fields().decides(b"X-Tenant"));
}

#[test]
fn what_is_removed_is_gone_for_every_reader() {
    let mut head = head(SOME);
    changed(&mut head, &[(Remove, "AUTHORIZATION", "")]);
    assert_eq!(head.fields().known(FieldName::Authorization).count(), 0);
    assert!(head.fields().decides(b"authorization"));
    changed(
        &mut head,
        &[(Remove, "x-tenant", ""), (Add, "X-Tenant", "5")],
    );
    let named: Vec<_> = head.fields().of_variable(b"x-tenant").collect();
    assert_eq!(named, [b"5"]);
}

#[test]
fn what_was_received_can_still_be_told() {
    let mut head = head(SOME);
    let length = head.len();
    changed(&mut head, &[(Set, "Host", "b.example")]);
    changed(&mut head, &[(Set, "host", "c.example:81")]);
    head.set_method(b"POST");
    let hosts: Vec<_> = head.fields().known(FieldName::Host).collect();
    assert_eq!(hosts, [b"c.example:81"]);
    assert_eq!(head.received_host(), Some(&b"a:80"[..]));
    assert_eq!(
        (head.method(), head.received_method()),
        (&b"POST"[..], &b"GET"[..])
    );
    assert_eq!(
        (head.line(), head.len()),
        (&b"GET /a?b HTTP/1.1"[..], length)
    );
}

#[test]
fn a_host_that_is_set_where_there_was_none_is_not_told_as_received() {
    let mut head = head("GET / HTTP/1.0\r\n\r\n");
    changed(&mut head, &[(Set, "Host", "b")]);
    assert_eq!(head.received_host(), None);
    assert_eq!(head.fields().known(FieldName::Host).next(), Some(&b"b"[..]));
}

#[test]
fn a_head_that_was_changed_leaves_nothing_to_the_next_one() {
    let mut head = head(SOME);
    changed(&mut head, &[(Set, "Host", "b"), (Set, "X-Tenant", "4")]);
    head.parse(b"GET / HTTP/1.1\r\nHost: z\r\n\r\n", 10)
        .unwrap();
    assert_eq!(head.room(), MAX_CHANGES);
    assert_eq!(head.received_host(), Some(&b"z"[..]));
    assert!(!head.fields().decides(b"X-Tenant"));
    assert_eq!(fields(&head), [("Host".to_owned(), "z".to_owned(), false)]);
}

#[test]
fn what_frames_a_message_or_comes_once_cannot_be_changed_so() {
    let mut changes = FieldChanges::default();
    for name in [
        "Connection",
        "content-length",
        "Expect",
        "HTTP2-Settings",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ] {
        for operation in [Set, Add, Remove] {
            let refused = push(&mut changes, operation, name, "x");
            assert_eq!(refused, Err(BadChange::Framing), "{name}");
        }
    }
    let mut refused = |operation, name, value| push(&mut changes, operation, name, value).err();
    assert_eq!(refused(Add, "Host", "a"), Some(BadChange::HostOnlySet));
    assert_eq!(refused(Remove, "Host", ""), Some(BadChange::HostOnlySet));
    let host = Some(BadChange::Host(BadAuthority::Empty));
    assert_eq!(refused(Set, "Host", ""), host);
    assert_eq!(refused(Add, "If-Range", "x"), Some(BadChange::OnlySet));
    assert_eq!(refused(Set, "a b", "x"), Some(BadChange::Name));
    assert_eq!(refused(Set, "a", "x\r\ny: z"), Some(BadChange::Value));
    assert_eq!(refused(Set, "a", "x\0"), Some(BadChange::Value));
    assert_eq!(refused(Set, "a", "x\r\n"), Some(BadChange::Value));
    assert_eq!(refused(Add, "a", "\nx"), Some(BadChange::Value));
    assert!(changes.is_empty() && changes.size() == 0);
}

#[test]
fn the_host_of_a_response_is_any_field() {
    let mut changes = FieldChanges::default();
    let change = FieldChange {
        operation: Add,
        name: b"Host",
        value: b"a b",
    };
    assert_eq!(changes.push(HeadSide::Response, change), Ok(()));
}

#[test]
fn changes_are_taken_up_to_their_bound() {
    let mut changes = FieldChanges::default();
    let value = "x".repeat(MAX_CHANGES - FIELD_OVERHEAD - 1);
    assert_eq!(push(&mut changes, Set, "a", &value), Ok(()));
    assert_eq!(
        push(&mut changes, Remove, "b", ""),
        Err(BadChange::TooLarge)
    );
    let mut head = head(SOME);
    head.change_fields(&changes);
    assert_eq!(head.room(), 0);
    changes.clear();
    assert_eq!(push(&mut changes, Remove, "b", ""), Ok(()));
}

#[test]
fn the_last_changes_can_be_taken_back() {
    let mut changes = FieldChanges::default();
    push(&mut changes, Set, "a", " b ").unwrap();
    let (size, length) = (changes.size(), changes.len());
    push(&mut changes, Add, "c", "d").unwrap();
    push(&mut changes, Remove, "e", "").unwrap();
    changes.truncate(3);
    assert_eq!(changes.len(), 3);
    changes.truncate(length);
    assert_eq!((changes.size(), changes.len()), (size, length));
    push(&mut changes, Add, "f", "g").unwrap();
    let names: Vec<_> = changes.iter().map(|change| change.name).collect();
    assert_eq!(names, [b"a", b"f"]);
    changes.truncate(0);
    assert_eq!((changes.size(), changes.is_empty()), (0, true));
}

#[test]
fn a_method_is_a_word_that_a_client_may_send() {
    for method in ["GET", "PURGE", "x"] {
        assert_eq!(check_method(method.as_bytes()), Ok(()));
    }
    for method in ["", "CONNECT", "TRACE", "A B", "GET\r\n"] {
        assert_eq!(check_method(method.as_bytes()), Err(BadChange::Method));
    }
}

/// The head as it would be received.
fn serialised(head: &RequestHead) -> Vec<u8> {
    let mut text = [head.method(), b" ", head.target(), b" HTTP/1.1\r\n"].concat();
    for field in head.fields().iter() {
        text.extend_from_slice(&[field.name, b": ", field.value, b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    text
}

proptest! {
    #[test]
    fn a_changed_head_is_what_a_parser_makes_of_it(
        list in proptest::collection::vec((0_usize..3, 0_usize..9, "[ -~]{0,6}"), 0..12),
        method in 0_usize..3,
    ) {
        const NAMES: [&str; 9] = [
            "Host", "x-tenant", "X_Tenant", "X-New", "x.new", "Authorization", "Cookie",
            "X-Real-IP", "Connection",
        ];
        let mut head = head(SOME);
        let listed = |head: &RequestHead| -> Vec<_> {
            let fields = fields(head).into_iter();
            fields.map(|(name, value, _)| (name, value)).collect()
        };
        let mut expected = listed(&head);
        let mut changes = FieldChanges::default();
        for (operation, name, value) in &list {
            let (operation, name) = ([Set, Add, Remove][*operation], NAMES[*name]);
            if push(&mut changes, operation, name, value).is_err() {
                continue;
            }
            if operation != Add {
                let folded = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
                expected.retain(|(known, _)| folded(known) != folded(name));
            }
            if operation != Remove {
                expected.push((name.to_owned(), value.trim_ascii().to_owned()));
            }
        }
        head.change_fields(&changes);
        if let Some(method) = [None, Some("PUT"), Some("x")][method] {
            head.set_method(method.as_bytes());
        }
        prop_assert_eq!(listed(&head), expected);

        let mut again = RequestHead::default();
        again.parse(&serialised(&head), 100).unwrap();
        prop_assert_eq!((head.method(), head.target()), (again.method(), again.target()));
        let told = |head: &RequestHead| -> Vec<_> {
            let fields = head.fields().iter();
            let told = fields.map(|field| {
                (field.name.to_vec(), field.value.to_vec(), field.known, field.plain)
            });
            told.collect()
        };
        prop_assert_eq!(told(&head), told(&again));
        prop_assert_eq!(head.fields().repeated_singleton(), again.fields().repeated_singleton());
        for known in [FieldName::Host, FieldName::Cookie, FieldName::XRealIp, FieldName::Other] {
            prop_assert!(head.fields().known(known).eq(again.fields().known(known)));
        }
        let (mut head, mut again) = (head, again);
        prop_assert_eq!(head.drop_underscored(), again.drop_underscored());
        prop_assert_eq!(told(&head), told(&again));
        prop_assert_eq!(head.line(), b"GET /a?b HTTP/1.1");
    }
}
