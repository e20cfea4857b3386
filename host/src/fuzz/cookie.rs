//! Cookies: what is found is what stands between the name and the next `;`, wherever nginx would
//! look for it.

use regex::bytes::RegexBuilder;

use crate::http::headers::{cookie, is_token, set_cookie};

/// The name that is looked for, then lines as they come in fields.
pub(super) fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let name = lines.next().unwrap_or_default();
    let lines: Vec<&[u8]> = lines.collect();
    let found = cookie(lines.iter().copied(), name);
    if !is_token(name) {
        return;
    }
    let name_text = regex::escape(std::str::from_utf8(name).unwrap());
    let plain = RegexBuilder::new(&format!("(?s-u)(?:^|[;,]) *{name_text} *= *([^;]*)"))
        .case_insensitive(true)
        .build()
        .unwrap();
    let plainly = lines
        .iter()
        .find_map(|line| Some(plain.captures(line)?.get(1)?.as_bytes()));
    assert_eq!(found, plainly);
    for line in lines {
        if let Some(value) = set_cookie(line, name) {
            assert!(!value.contains(&b';') && !value.ends_with(b" "));
            // What a server sets, a client sends back: it is found again.
            let sent = [name, b"=", value].concat();
            assert_eq!(cookie([&sent[..]], name), Some(value));
        }
    }
}
