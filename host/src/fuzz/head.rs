//! Heads of HTTP/1: what is accepted is what the grammar of RFC 9112 has, read a second time line
//! by line, and what is written of it means the same to every reader.

use crate::http::framing::{self, Framing};
use crate::http::grpc;
use crate::http::head::{
    FieldChange, FieldChanges, FieldName, FieldOperation, Fields, HeadEnd, HeadSide, RequestHead,
    ResponseHead, Version, check_method,
};
use crate::http::headers::is_token;

/// Fields that a head may have, here as by default.
const MAX_HEADERS: usize = 100;

/// A head, of a response if it begins as one, and behind it a line for each change to a request.
pub(super) fn run(bytes: &[u8]) {
    let whole = HeadEnd::default().find(bytes);
    let mut end = HeadEnd::default();
    let mut arrived = (0..=bytes.len()).map(|length| end.find(&bytes[..length]));
    let piecewise = arrived.find(|found| !matches!(found, Ok(None)));
    assert_eq!(piecewise.unwrap_or(Ok(None)), whole);
    drop(arrived);
    assert_eq!(whole.ok(), end_of(bytes));
    let Ok(Some(length)) = whole else { return };
    let head = &bytes[..length];
    if head.starts_with(b"HTTP/") {
        response(head);
    } else {
        request(head);
        changed(head, &bytes[length..]);
    }
}

/// Where the first empty line ends; `None` where a line ended in a bare LF before it, none inside
/// where more is to come.
fn end_of(bytes: &[u8]) -> Option<Option<usize>> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[start..start + length].strip_suffix(b"\r")?;
        start += length + 1;
        if line.is_empty() {
            return Some(Some(start));
        }
    }
    Some(None)
}

fn request(bytes: &[u8]) {
    let mut head = RequestHead::default();
    let accepted = head.parse(bytes, MAX_HEADERS);
    let Some((line, fields)) = plain(bytes) else {
        assert!(accepted.is_err(), "no head: {}", bytes.escape_ascii());
        return;
    };
    let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let expected = match parts[..] {
        [method, target, version] if is_token(method) && is_target(target) => {
            version_of(version).map(|version| (method, target, version))
        }
        _ => None,
    };
    let expected = expected.filter(|_| fields.len() <= MAX_HEADERS);
    assert_eq!(
        accepted
            .is_ok()
            .then(|| (head.method(), head.target(), head.version())),
        expected
    );
    let Some((method, target, version)) = expected else {
        return;
    };
    assert_eq!(listed(head.fields()), fields);
    assert_eq!(head.line(), line);
    assert_eq!(
        framing::of_request(&head).ok(),
        declared(&fields, version).map(|declared| declared.unwrap_or(Framing::Length(0)))
    );
    for (_, value) in &fields {
        if let Some(timeout) = grpc::timeout(value) {
            // A deadline of that many seconds is added to a clock.
            assert!(timeout.as_secs() <= 99_999_999 * 3600);
        }
    }

    // Written for an upstream, it is the same head, to other readers too.
    let mut text = [method, b" ", target, b" HTTP/1.1\r\n"].concat();
    append_fields(&fields, &mut text);
    let mut again = RequestHead::default();
    again.parse(&text, MAX_HEADERS).unwrap();
    assert_eq!((again.method(), again.target()), (method, target));
    assert_eq!(listed(again.fields()), fields);
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut theirs = httparse::Request::new(&mut slots);
    assert_eq!(
        theirs.parse(&text),
        Ok(httparse::Status::Complete(text.len()))
    );
    assert_eq!(theirs.path.map(str::as_bytes), Some(target));
    same_to_http(&fields, theirs.headers);
    assert_eq!(
        http::Method::from_bytes(method)
            .unwrap()
            .as_str()
            .as_bytes(),
        method
    );
}

/// What is changed of a head is as if it had been received so: `=name:value` sets, `+name:value`
/// adds, `-name` removes, anything else is another method.
fn changed(bytes: &[u8], lines: &[u8]) {
    let mut head = RequestHead::default();
    if head.parse(bytes, MAX_HEADERS).is_err() {
        return;
    }
    let (line, method) = (head.line().to_vec(), head.method().to_vec());
    let (_, mut expected) = plain(bytes).unwrap();
    let (mut changes, mut methods) = (FieldChanges::default(), Vec::new());
    for line in lines.split(|byte| *byte == b'\n') {
        let operation = match line.first() {
            Some(b'=') => FieldOperation::Set,
            Some(b'+') => FieldOperation::Add,
            Some(b'-') => FieldOperation::Remove,
            _ if check_method(line).is_ok() => {
                methods.push(line);
                continue;
            }
            _ => continue,
        };
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match (operation, colon) {
            (FieldOperation::Remove, _) | (_, None) => (&line[1..], &b""[..]),
            (_, Some(colon)) => (&line[1..colon], &line[colon + 1..]),
        };
        let change = FieldChange {
            operation,
            name,
            value,
        };
        if changes.push(HeadSide::Request, change).is_err() {
            continue;
        }
        assert!(is_token(name) && value.iter().copied().all(is_text));
        if operation != FieldOperation::Add {
            expected.retain(|(known, _)| folded(known) != folded(name));
        }
        if operation != FieldOperation::Remove {
            expected.push((name, blanks_off(value)));
        }
    }
    head.change_fields(&changes);
    for method in &methods {
        head.set_method(method);
    }
    assert_eq!(listed(head.fields()), expected);
    assert_eq!(head.method(), methods.last().map_or(&*method, |last| last));
    assert_eq!((head.line(), head.received_method()), (&*line, &*method));

    let mut text = [head.method(), b" ", head.target(), b" HTTP/1.1\r\n"].concat();
    append_fields(&listed(head.fields()), &mut text);
    let mut again = RequestHead::default();
    let most = expected.len();
    again.parse(&text, most).unwrap();
    assert_eq!(listed(again.fields()), expected);
    let told = |head: &RequestHead| -> Vec<_> {
        let fields = head.fields().iter();
        fields.map(|field| (field.known, field.plain)).collect()
    };
    assert_eq!(told(&head), told(&again));
    assert_eq!(
        head.fields().repeated_singleton(),
        again.fields().repeated_singleton()
    );
    // How it was framed when it was received counts.
    let mut received = RequestHead::default();
    received.parse(bytes, MAX_HEADERS).unwrap();
    assert_eq!(framing::of_request(&head), framing::of_request(&received));
}

/// A name as the most eager reader has it.
fn folded(name: &[u8]) -> Vec<u8> {
    let fold = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'-',
    };
    name.iter().map(fold).collect()
}

fn response(bytes: &[u8]) {
    let mut head = ResponseHead::default();
    let accepted = head.parse(bytes, MAX_HEADERS);
    let Some((line, fields)) = plain(bytes) else {
        assert!(accepted.is_err(), "no head: {}", bytes.escape_ascii());
        return;
    };
    let expected = status_line(line).filter(|_| fields.len() <= MAX_HEADERS);
    assert_eq!(
        accepted.is_ok().then(|| (head.version(), head.status())),
        expected.map(|(version, status, _)| (version, status)),
        "{}",
        bytes.escape_ascii()
    );
    let Some((version, status, reason)) = expected else {
        return;
    };
    // Reason phrases outside ASCII are dropped: no client acts on them.
    if reason.is_ascii() {
        assert_eq!(head.reason(), reason);
    } else {
        assert_eq!(head.reason(), b"");
    }
    assert_eq!(listed(head.fields()), fields);
    let declared = declared(&fields, version);
    for method in [&b"GET"[..], b"HEAD"] {
        let bodiless = method == b"HEAD" || matches!(status, 100..=199 | 204 | 304);
        let expected = declared.map(|declared| match bodiless {
            true => Framing::Length(0),
            false => declared.unwrap_or(Framing::UntilClose),
        });
        assert_eq!(framing::of_response(&head, method).ok(), expected);
    }

    let mut text = format!("HTTP/1.1 {status} ").into_bytes();
    text.extend_from_slice(head.reason());
    text.extend_from_slice(b"\r\n");
    append_fields(&fields, &mut text);
    let mut again = ResponseHead::default();
    again.parse(&text, MAX_HEADERS).unwrap();
    assert_eq!((again.status(), again.reason()), (status, head.reason()));
    assert_eq!(listed(again.fields()), fields);
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut theirs = httparse::Response::new(&mut slots);
    assert_eq!(
        theirs.parse(&text),
        Ok(httparse::Status::Complete(text.len()))
    );
    assert_eq!(theirs.code, Some(status));
    same_to_http(&fields, theirs.headers);
}

type FieldList<'a> = Vec<(&'a [u8], &'a [u8])>;

fn listed(fields: &Fields) -> FieldList<'_> {
    fields
        .iter()
        .map(|field| (field.name, field.value))
        .collect()
}

fn append_fields(fields: &FieldList<'_>, text: &mut Vec<u8>) {
    for (name, value) in fields {
        for part in [name, &b": "[..], value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
}

/// The start line and the fields of a whole head, by the grammar of RFC 9112 sections 2.1 and 5
/// with nothing optional taken.
fn plain(bytes: &[u8]) -> Option<(&[u8], FieldList<'_>)> {
    let mut lines = Vec::new();
    let mut rest = bytes.strip_suffix(b"\r\n\r\n")?;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    let (line, lines) = lines.split_first()?;
    let fields = lines.iter().map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], blanks_off(&line[colon + 1..]));
        (is_token(name) && value.iter().copied().all(is_text)).then_some((name, value))
    });
    Some((line, fields.collect::<Option<_>>()?))
}

fn blanks_off(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// `HTAB`, `SP`, `VCHAR` and `obs-text`.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// What is allowed of a target is decided later; here it only has to end at the same byte for every
/// reader.
fn is_target(target: &[u8]) -> bool {
    !target.is_empty()
        && std::str::from_utf8(target).is_ok()
        && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

fn version_of(text: &[u8]) -> Option<Version> {
    match text {
        b"HTTP/1.0" => Some(Version::Http10),
        b"HTTP/1.1" => Some(Version::Http11),
        _ => None,
    }
}

fn status_line(line: &[u8]) -> Option<(Version, u16, &[u8])> {
    let version = version_of(line.get(..8)?)?;
    let [b' ', code @ ..] = line.get(8..)? else {
        return None;
    };
    let (code, reason) = code.split_at_checked(3)?;
    let status: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let digits = code.iter().all(u8::is_ascii_digit);
    (digits && status >= 100 && reason.iter().copied().all(is_text))
        .then_some((version, status, reason))
}

/// The framing that fields declare, if that can be accepted.
fn declared(fields: &FieldList<'_>, version: Version) -> Option<Option<Framing>> {
    let of = |name: &str| -> Vec<&[u8]> {
        let same = fields
            .iter()
            .filter(|field| field.0.eq_ignore_ascii_case(name.as_bytes()));
        same.map(|field| field.1).collect()
    };
    match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Some(None),
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => {
            (version == Version::Http11).then_some(Some(Framing::Chunked))
        }
        ([length], []) => {
            let text = std::str::from_utf8(length).ok()?;
            let digits = text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| {
                text.parse()
                    .ok()
                    .map(|length| Some(Framing::Length(length)))
            })?
        }
        _ => None,
    }
}

/// Whether another reader found the same fields, and h2's types take them.
fn same_to_http(fields: &FieldList<'_>, theirs: &[httparse::Header<'_>]) {
    assert_eq!(theirs.len(), fields.len());
    for ((name, value), their) in fields.iter().zip(theirs) {
        assert_eq!((their.name.as_bytes(), their.value), (*name, *value));
        let known = http::HeaderName::from_bytes(name).unwrap();
        assert!(known.as_str().as_bytes().eq_ignore_ascii_case(name));
        assert_eq!(
            http::HeaderValue::from_bytes(value).unwrap().as_bytes(),
            *value
        );
        assert_eq!(
            FieldName::of(name),
            FieldName::of(known.as_str().as_bytes())
        );
    }
}
