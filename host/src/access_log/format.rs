//! One line for one exchange, or one session of a stream, in the format that the configuration asks
//! for.

use std::sync::LazyLock;

use crate::config::model::{Escape, LogField, LogFormat};
use crate::http::template::Template;
use crate::http::variable::{Scope, Variable, VariableSource};

/// nginx's `combined` (`ngx_http_log_module.c`).
#[allow(
    clippy::expect_used,
    reason = "a constant that every test of the format parses"
)]
static COMBINED: LazyLock<Template> = LazyLock::new(|| {
    Template::parse(concat!(
        "$remote_addr - $remote_user [$time_local] \"$request\" ",
        "$status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"",
    ))
    .expect("`combined` has known variables")
});

/// `combined`, and behind it what was asked of upstreams, as NGINX Amplify spells it: programs that
/// read the one read the other.
#[allow(
    clippy::expect_used,
    reason = "a constant that every test of the format parses"
)]
static UPSTREAM: LazyLock<Template> = LazyLock::new(|| {
    Template::parse(concat!(
        "$remote_addr - $remote_user [$time_local] \"$request\" ",
        "$status $body_bytes_sent \"$http_referer\" \"$http_user_agent\" ",
        "rt=$request_time ua=\"$upstream_addr\" us=\"$upstream_status\" ut=\"$upstream_response_time\"",
    ))
    .expect("`upstream` has known variables")
});

#[derive(Clone, Copy)]
enum PartKind {
    Text,
    /// As text if it is no number; figures of several attempts (`0.001, 0.002`) are therefore
    /// always [`PartKind::Text`].
    Number,
}

/// The members of a JSON line about a request, in order: named as nginx's variables, but for
/// `time`. Names and kinds are a contract with the programs that read the log: add, do not change.
#[rustfmt::skip]
const OF_REQUEST: [(&str, &str, PartKind); 21] = [
    ("time", "time_iso8601", PartKind::Text),
    ("request_id", "request_id", PartKind::Text),
    ("remote_addr", "remote_addr", PartKind::Text),
    ("remote_user", "remote_user", PartKind::Text),
    ("scheme", "scheme", PartKind::Text),
    ("host", "host", PartKind::Text),
    ("request_method", "request_method", PartKind::Text),
    ("request_uri", "request_uri", PartKind::Text),
    ("server_protocol", "server_protocol", PartKind::Text),
    ("http_referer", "http_referer", PartKind::Text),
    ("http_user_agent", "http_user_agent", PartKind::Text),
    ("status", "status", PartKind::Number),
    ("request_length", "request_length", PartKind::Number),
    ("bytes_sent", "bytes_sent", PartKind::Number),
    ("body_bytes_sent", "body_bytes_sent", PartKind::Number),
    ("request_time", "request_time", PartKind::Number),
    ("upstream_addr", "upstream_addr", PartKind::Text),
    ("upstream_status", "upstream_status", PartKind::Text),
    ("upstream_connect_time", "upstream_connect_time", PartKind::Text),
    ("upstream_header_time", "upstream_header_time", PartKind::Text),
    ("upstream_response_time", "upstream_response_time", PartKind::Text),
];

/// The same for a session.
#[rustfmt::skip]
const OF_SESSION: [(&str, &str, PartKind); 17] = [
    ("time", "time_iso8601", PartKind::Text),
    ("connection", "connection", PartKind::Number),
    ("remote_addr", "remote_addr", PartKind::Text),
    ("remote_port", "remote_port", PartKind::Number),
    ("server_addr", "server_addr", PartKind::Text),
    ("server_port", "server_port", PartKind::Number),
    ("protocol", "protocol", PartKind::Text),
    ("ssl_preread_server_name", "ssl_preread_server_name", PartKind::Text),
    ("ssl_server_name", "ssl_server_name", PartKind::Text),
    ("status", "status", PartKind::Number),
    ("bytes_received", "bytes_received", PartKind::Number),
    ("bytes_sent", "bytes_sent", PartKind::Number),
    ("session_time", "session_time", PartKind::Number),
    ("upstream_addr", "upstream_addr", PartKind::Text),
    ("upstream_connect_time", "upstream_connect_time", PartKind::Text),
    ("upstream_bytes_sent", "upstream_bytes_sent", PartKind::Text),
    ("upstream_bytes_received", "upstream_bytes_received", PartKind::Text),
];

/// What stands before a value, the variable that has it, and its kind.
type Member = (String, Variable, PartKind);

static JSON_OF_REQUEST: LazyLock<Vec<Member>> = LazyLock::new(|| members(&OF_REQUEST));
static JSON_OF_SESSION: LazyLock<Vec<Member>> = LazyLock::new(|| members(&OF_SESSION));

#[allow(
    clippy::expect_used,
    reason = "constants that every test of the format parses"
)]
fn members(named: &[(&str, &str, PartKind)]) -> Vec<Member> {
    let member = |(at, (name, variable, kind)): (usize, &(&str, &str, PartKind))| {
        let start = if at == 0 { '{' } else { ',' };
        let variable = Variable::parse(variable).expect("JSON lines have known variables");
        (format!("{start}\"{name}\":"), variable, *kind)
    };
    named.iter().enumerate().map(member).collect()
}

/// Appends the line of an exchange or a session, line feed included.
///
/// In text formats a missing value is `-`, and `"`, `\` and what is not printable ASCII is written
/// `\xXX` (nginx's `escape=default`), so that a line stays one line whatever a client sends, unless
/// the format says otherwise (`ngx_http_log_variable`). In JSON a missing value is `null`, in an
/// object of the user's own members an empty string where it is no number.
pub fn write_line(format: &LogFormat, source: &dyn VariableSource, out: &mut Vec<u8>) {
    match format {
        LogFormat::Combined => COMBINED.render_with(source, out, b"-", escape_text),
        LogFormat::Upstream => UPSTREAM.render_with(source, out, b"-", escape_text),
        LogFormat::Template(template, escape) => match escape {
            Escape::Default => template.render_with(source, out, b"-", escape_text),
            Escape::Json => template.render_with(source, out, b"", escape_json),
            Escape::None => template.render(source, out),
        },
        LogFormat::Fields(fields) => write_fields(fields, source, out),
        LogFormat::Json(Scope::Request) => write_json(&JSON_OF_REQUEST, source, out),
        LogFormat::Json(Scope::Session) => write_json(&JSON_OF_SESSION, source, out),
    }
    out.push(b'\n');
}

fn needs_escape(byte: u8) -> bool {
    !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\'
}

/// Escapes what `out` has from `start` on, in place: from the end, so that nothing is overwritten
/// before it was moved.
fn escape_text(out: &mut Vec<u8>, start: usize) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let escapes = out[start..]
        .iter()
        .filter(|byte| needs_escape(**byte))
        .count();
    let mut read = out.len();
    out.resize(read + 3 * escapes, 0);
    let mut write = out.len();
    // Once they meet, what is left is in its place and has nothing to escape.
    while read < write {
        read -= 1;
        let byte = out[read];
        if needs_escape(byte) {
            write -= 4;
            let (high, low) = (
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            );
            out[write..write + 4].copy_from_slice(&[b'\\', b'x', high, low]);
        } else {
            write -= 1;
            out[write] = byte;
        }
    }
}

fn write_json(members: &[Member], source: &dyn VariableSource, out: &mut Vec<u8>) {
    for (name, variable, kind) in members {
        out.extend_from_slice(name.as_bytes());
        let start = out.len();
        out.push(b'"');
        if !source.append(variable, out) {
            out.truncate(start);
            out.extend_from_slice(b"null");
        } else if matches!(kind, PartKind::Number) && is_number(&out[start + 1..]) {
            out.remove(start);
        } else {
            close_string(out, start);
        }
    }
    out.push(b'}');
}

fn write_fields(fields: &[LogField], source: &dyn VariableSource, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(field.opening.as_bytes());
        let start = out.len();
        out.push(b'"');
        field.value.render(source, out);
        match &out[start + 1..] {
            [] if field.is_number => {
                out.truncate(start);
                out.extend_from_slice(b"null");
            }
            value if field.is_number && is_number(value) => {
                out.remove(start);
            }
            _ => close_string(out, start),
        }
    }
    out.push(b'}');
}

/// Escapes what `out` has from `start` on as within a JSON string.
fn escape_json(out: &mut Vec<u8>, start: usize) {
    if out[start..].iter().any(|byte| needs_escape(*byte)) {
        out.insert(start, b'"');
        close_string(out, start);
        out.remove(start);
        out.pop();
    }
}

/// Makes a JSON string of what `out` has from its opening quote on. Bytes that are no UTF-8 become
/// U+FFFD.
fn close_string(out: &mut Vec<u8>, quote: usize) {
    let value = &out[quote + 1..];
    if value.iter().any(|byte| needs_escape(*byte)) {
        let text = String::from_utf8_lossy(value).into_owned();
        out.truncate(quote);
        // A string can be written, and a `Vec` takes all that is written.
        let _ = serde_json::to_writer(out, &text);
    } else {
        out.push(b'"');
    }
}

/// Whether JSON takes this for a number (RFC 8259, 6), of those that variables can be.
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
        None => (text, None),
    };
    digits(whole) && (whole.len() == 1 || whole[0] != b'0') && fraction.is_none_or(digits)
}
