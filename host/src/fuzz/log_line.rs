//! Access logs: whatever clients and servers send, a line stays one line, and says what they sent.

use crate::access_log::write_line;
use crate::config::model::{Escape, LogField, LogFormat};
use crate::http::template::Template;
use crate::http::variable::{Scope, Variable, VariableSource};

/// Answers for every variable with the same bytes; none where there are none.
struct Value<'a>(&'a [u8]);

impl VariableSource for Value<'_> {
    fn append(&self, _: &Variable, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.0);
        !self.0.is_empty()
    }
}

/// A format on the first line, and the value of its variables.
pub(super) fn run(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let value = bytes.get(end + 1..).unwrap_or_default();
    let source = Value(value);
    json(Scope::Request, &source);
    json(Scope::Session, &source);
    assert_eq!(
        unescaped(line(&LogFormat::Combined, &source).as_slice()),
        combined(value)
    );

    let Ok(format) = std::str::from_utf8(&bytes[..end]) else {
        return;
    };
    let Ok(template) = Template::parse(format) else {
        return;
    };
    assert_eq!(template.to_string(), format);
    let variables = template.variables().count();
    assert_eq!(template.as_literal().is_some(), variables == 0);

    // Rendered for an upstream: the text with each variable replaced.
    let mut rendered = Vec::new();
    template.render(&source, &mut rendered);
    let literals = Template::parse(format).unwrap();
    let mut without = Vec::new();
    literals.render(&Value(b""), &mut without);
    assert_eq!(rendered.len(), without.len() + variables * value.len());

    // Rendered for a log.
    let in_json = line(
        &LogFormat::Template(template.clone(), Escape::Json),
        &source,
    );
    assert_eq!(in_json.iter().filter(|byte| **byte == b'\n').count(), 1);
    let field = LogField::new(format.to_owned(), template.clone());
    let object = line(&LogFormat::Fields(vec![field].into()), &source);
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&object).unwrap();
    assert!(object.contains_key(format));
    let logged = line(&LogFormat::Template(template, Escape::Default), &source);
    let line_ends = logged.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(line_ends, 1);
    assert!(logged.ends_with(b"\n"));
}

fn line(format: &LogFormat, source: &Value<'_>) -> Vec<u8> {
    let mut out = b"before\n".to_vec();
    write_line(format, source, &mut out);
    assert!(out.starts_with(b"before\n"));
    out.split_off(7)
}

/// The line `combined`, with nothing escaped.
fn combined(value: &[u8]) -> Vec<u8> {
    let value = if value.is_empty() { b"-" } else { value };
    let [open, quote] = [&b" ["[..], b"\" \""];
    [
        value, b" - ", value, open, value, b"] \"", value, b"\" ", value, b" ", value, b" \"",
        value, quote, value, b"\"\n",
    ]
    .concat()
}

/// Takes `\xXX` back. What a value has of `"` and `\` is escaped, so that quotes are the format's.
fn unescaped(line: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(line).expect("what is not ASCII is escaped");
    let printable = |byte: u8| (b' '..0x7f).contains(&byte);
    let (body, end) = text.split_at(text.len() - 1);
    assert!(body.bytes().all(printable) && end == "\n");
    let mut out = Vec::new();
    let mut parts = body.split("\\x");
    out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        out.push(u8::from_str_radix(digits, 16).unwrap());
        out.extend_from_slice(rest.as_bytes());
    }
    out.push(b'\n');
    out
}

fn json(scope: Scope, source: &Value<'_>) {
    let line = line(&LogFormat::Json(scope), source);
    assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
    let text = String::from_utf8_lossy(source.0);
    for member in object.values() {
        match member {
            serde_json::Value::Null => assert!(text.is_empty()),
            serde_json::Value::String(said) => assert_eq!(*said, text),
            // A number is written as it came; what JSON makes of many digits is its reader's
            // business.
            serde_json::Value::Number(_) => {
                let number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
                assert!(text.bytes().all(number), "{text}");
            }
            other => panic!("{other}"),
        }
    }
}
