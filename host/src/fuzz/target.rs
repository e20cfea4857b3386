//! Request targets: path, query and host are where a second reading finds them, no path leads up,
//! and what goes on to an upstream is a target again.

use crate::http::authority::Authority;
use crate::http::path::{Rewrite, escape, normalise};
use crate::http::target::{RequestTarget, TargetForm, argument};

/// A method, a blank and a target.
pub(super) fn run(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b' ');
    let (method, text) = match at {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&b"GET"[..], bytes),
    };
    authority(text);
    let _ = normalise(text);
    let Ok(target) = RequestTarget::parse(method, text) else {
        return;
    };
    assert!(text.iter().all(u8::is_ascii_graphic) && !text.contains(&b'#'));
    match &target.form {
        TargetForm::Origin => assert_eq!(target.uri.as_bytes(), text),
        TargetForm::Asterisk => assert_eq!((method, text), (&b"OPTIONS"[..], &b"*"[..])),
        TargetForm::Authority(asked) => {
            assert_eq!((method, &*target.uri), (&b"CONNECT"[..], ""));
            assert_eq!(Authority::parse(text).as_ref(), Ok(asked));
            return;
        }
        TargetForm::Absolute(asked, _) => absolute(text, asked, &target.uri),
    }
    let recomposed = match target.query() {
        Some(query) => format!("{}?{query}", target.path()),
        None => target.path().to_owned(),
    };
    assert_eq!(recomposed, target.uri);
    assert!(!target.path().contains('?'));
    if let Some(query) = target.query() {
        arguments(query.as_bytes());
    }
    path(&target);
}

/// `http://host/path`, as the `http` crate has it where it takes it.
fn absolute(text: &[u8], asked: &Authority<'_>, uri: &str) {
    let after = text.windows(3).position(|part| part == b"://").unwrap() + 3;
    let end = text[after..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'));
    let end = end.map_or(text.len(), |end| after + end);
    assert_eq!(Authority::parse(&text[after..end]).as_ref(), Ok(asked));
    let rest = std::str::from_utf8(&text[end..]).unwrap();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    assert_eq!(uri, format!("{slash}{rest}"));
    if let Ok(theirs) = http::Uri::try_from(text) {
        let host = theirs.host().unwrap_or_default().to_ascii_lowercase();
        assert_eq!(host.strip_suffix('.').unwrap_or(&host), asked.host);
        assert_eq!(theirs.port_u16(), asked.port);
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        assert_eq!((theirs.path(), theirs.query()), (path, query));
    }
}

/// A host that was taken is one to others, and is taken again as it was understood.
fn authority(text: &[u8]) {
    let Ok(asked) = Authority::parse(text) else {
        return;
    };
    assert!(!asked.host.is_empty());
    assert!(
        !asked
            .host
            .bytes()
            .any(|byte| byte.is_ascii_uppercase() || b"/?#@ ".contains(&byte))
    );
    let port = asked
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let again = format!("{}{port}", asked.host);
    if !asked.host.ends_with('.') {
        assert_eq!(Authority::parse(again.as_bytes()).as_ref(), Ok(&asked));
    }
    if let Ok(theirs) = http::uri::Authority::try_from(text) {
        let host = theirs.host().to_ascii_lowercase();
        assert_eq!(host.strip_suffix('.').unwrap_or(&host), asked.host);
        assert_eq!(theirs.port_u16(), asked.port);
    }
}

/// What routes are asked about, and what an upstream is asked for.
fn path(target: &RequestTarget<'_>) {
    let received = target.path().as_bytes();
    let normal = normalise(received);
    assert_eq!(normal.as_deref().ok(), plain(received).as_deref());
    let Ok(normal) = normal else { return };
    if target.form != TargetForm::Asterisk {
        assert_eq!(normal.first(), Some(&b'/'));
    }
    let mut escaped = Vec::new();
    escape(&normal, &mut escaped);
    assert_eq!(normalise(&escaped).as_deref(), Ok(&*normal));
    for prefix_len in [0, 1, normal.len() / 2, normal.len()] {
        let mut out = Vec::new();
        let rewrite = Rewrite {
            received,
            path: &normal,
            prefix_len,
            replacement: "/base/",
            query: target.query().unwrap_or_default().as_bytes(),
        };
        rewrite.append_to(&mut out);
        let on = RequestTarget::parse(b"GET", &out).unwrap();
        assert_eq!(
            on.query().unwrap_or_default(),
            target.query().unwrap_or_default()
        );
        let tail = [b"/base/", &normal[prefix_len..]].concat();
        let on = normalise(on.path().as_bytes());
        assert_eq!(on.as_deref().ok(), resolved(&tail).as_deref());
    }
}

/// Decoded, then resolved segment by segment.
fn plain(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        rest = after;
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        (is_hex && byte != 0).then(|| decoded.push(byte))?;
    }
    if decoded == b"*" {
        return Some(decoded);
    }
    resolved(&decoded)
}

fn resolved(path: &[u8]) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut closed = true;
    for segment in path.split(|byte| *byte == b'/') {
        closed = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop()?;
            }
            segment => kept.push(segment),
        }
    }
    let mut out = b"/".to_vec();
    out.extend_from_slice(&kept.join(&b'/'));
    if closed && !kept.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

fn arguments(query: &[u8]) {
    for pair in query.split(|byte| *byte == b'&') {
        let Some(at) = pair.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        let name = &pair[..at];
        let found = argument(query, name).unwrap();
        let first = query.split(|byte| *byte == b'&').find(|pair| {
            pair.len() > at && pair[..at].eq_ignore_ascii_case(name) && pair[at] == b'='
        });
        assert_eq!(found, &first.unwrap()[at + 1..]);
    }
}
