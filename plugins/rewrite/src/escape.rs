//! Percent-encoding as nginx does it (`ngx_string.c`).

/// What `ngx_escape_uri` leaves as it is with `NGX_ESCAPE_URI`.
const IN_PATHS: [bool; 256] = set(b"!$&'()*+,-./:;=@[]_~");
/// The same with `NGX_ESCAPE_ARGS`.
const IN_QUERIES: [bool; 256] = set(b"!$'()*,-./:=@[]_~");
/// What goes out as it is, of what nginx would not look at again.
const VISIBLE: [bool; 256] = set(b"!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~");

/// Letters, digits and these.
const fn set(members: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < members.len() {
        set[members[at] as usize] = true;
        at += 1;
    }
    set
}

/// A decoded path, as a request has it.
pub(crate) fn path(text: &[u8]) -> String {
    escaped(text, &IN_PATHS)
}

/// A part of a query.
pub(crate) fn argument(text: &[u8]) -> String {
    escaped(text, &IN_QUERIES)
}

/// What is encoded already, without bytes that no request and no header can have: control
/// characters, spaces, `#`, and all that is no ASCII.
pub(crate) fn visible(text: &[u8]) -> String {
    escaped(text, &VISIBLE)
}

fn escaped(text: &[u8], kept: &[bool; 256]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(text.len() + 16);
    for &byte in text {
        if kept[usize::from(byte)] {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
            escaped.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    escaped
}

/// Undoes the encoding of visible characters up to the `?` of a redirect, which captures were
/// encoded for too much (`ngx_unescape_uri` with `NGX_UNESCAPE_REDIRECT`).
pub(crate) fn unescape_redirect(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'?' {
            out.push(byte);
            break;
        }
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        // A `%` without a digit behind it goes, and so does a digit without a second one.
        let Some((&first, behind)) = rest.split_first() else {
            break;
        };
        rest = behind;
        let Some(high) = digit(first) else {
            out.push(first);
            continue;
        };
        let Some((&second, behind)) = rest.split_first() else {
            break;
        };
        rest = behind;
        let Some(low) = digit(second) else {
            continue;
        };
        match high << 4 | low {
            b'?' => {
                out.push(b'?');
                break;
            }
            visible @ b'&'..b'\x7f' => out.push(visible),
            _ => out.extend([b'%', first, second]),
        }
    }
    out.extend_from_slice(rest);
    out
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
