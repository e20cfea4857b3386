//! Texts that fit a regular expression, for locations and names that are expressions.

use fastrand::Rng;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Letters at most where an expression takes any number.
const MORE: u32 = 3;

/// A text that fits, where the expression can be read: without look-ahead, which is left out.
pub(super) fn sample(regex: &str, rng: &mut Rng) -> Option<String> {
    let mut readable = regex.to_owned();
    while let Some(at) = readable.find("(?!") {
        let mut depth = 0;
        let end = readable[at..].char_indices().find(|(_, c)| {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            depth == 0
        })?;
        readable.replace_range(at..=at + end.0, "");
    }
    let hir = regex_syntax::parse(&readable).ok()?;
    let mut text = String::new();
    write(&hir, rng, &mut text);
    Some(text)
}

fn write(hir: &Hir, rng: &mut Rng, out: &mut String) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.push(letter(class, rng)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min + MORE);
            for _ in 0..rng.u32(repetition.min..=most.min(repetition.min + MORE)) {
                write(&repetition.sub, rng, out);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, rng, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, rng, out)),
        HirKind::Alternation(choices) => write(&choices[rng.usize(..choices.len())], rng, out),
    }
}

/// One of a class: a usual one where it has some.
fn letter(class: &Class, rng: &mut Rng) -> char {
    const USUAL: &[u8] = b"abcxyz0129-_AZ";
    let fits = |byte: u8| match class {
        Class::Unicode(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&char::from(byte)))
        }
        Class::Bytes(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&byte))
        }
    };
    let usual: Vec<u8> = USUAL.iter().copied().filter(|byte| fits(*byte)).collect();
    let any = (b'!'..b'~').find(|byte| fits(*byte) && *byte != b'?' && *byte != b'#');
    match usual.is_empty() {
        true => char::from(any.unwrap_or(b'x')),
        false => char::from(usual[rng.usize(..usual.len())]),
    }
}
