//! Expressions of nginx (PCRE, by bytes) as the ones of routes (by letters of Unicode) that mean the
//! same.

/// What classes of letters are in PCRE without `(*UCP)`, as the inside of a class.
const CLASSES: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9_A-Za-z"), ('s', r"\t-\r ")];

/// A letter of an expression, as far as it means something: with its backslash where it has one.
struct Letter<'r> {
    text: &'r str,
    is_in_class: bool,
}

fn letters(regex: &str) -> Vec<Letter<'_>> {
    let mut letters = Vec::new();
    let (mut rest, mut is_in_class) = (regex, false);
    while let Some(first) = rest.chars().next() {
        let escaped = rest
            .get(first.len_utf8()..)
            .and_then(|rest| rest.chars().next());
        let length = match (first, escaped) {
            ('\\', Some(escaped)) => 1 + escaped.len_utf8(),
            _ => first.len_utf8(),
        };
        let (text, behind) = rest.split_at(length);
        // A `]` that comes first is one of the letters.
        let is_first = letters.last().is_some_and(|last: &Letter<'_>| {
            last.text == "[" || (last.text == "^" && regex.contains("[^]"))
        });
        match text {
            "]" if !is_first => is_in_class = false,
            _ => {}
        }
        letters.push(Letter { text, is_in_class });
        if text == "[" {
            is_in_class = true;
        }
        rest = behind;
    }
    letters
}

/// An expression whose `\w`, `\d`, `\s` and `\b` know the letters of ASCII alone, as PCRE's do.
pub(super) fn of_ascii(regex: &str) -> String {
    let mut written = String::new();
    for Letter { text, is_in_class } in letters(regex) {
        let class = text.strip_prefix('\\').and_then(|letter| {
            let mut classes = CLASSES.iter();
            classes.find(|(name, _)| letter.eq_ignore_ascii_case(&name.to_string()))
        });
        match class {
            Some((_, inside)) if text.ends_with(|c: char| c.is_ascii_uppercase()) => {
                written.push_str(&format!("[^{inside}]"));
            }
            Some((_, inside)) if is_in_class => written.push_str(inside),
            Some((_, inside)) => written.push_str(&format!("[{inside}]")),
            None if text == r"\b" && !is_in_class && !written.ends_with("(?-u:") => {
                written.push_str(r"(?-u:\b)");
            }
            None => written.push_str(text),
        }
    }
    written
}

/// An expression whose `$` also stands before a last newline, as PCRE's does: `/a.php%0a` must not
/// pass where `\.php$` keeps requests out.
pub(super) fn with_line_ends(regex: &str) -> String {
    let mut written = String::new();
    for Letter { text, is_in_class } in letters(regex) {
        if text == "$" && !is_in_class && !written.ends_with(r"\n?") {
            written.push_str(r"\n?");
        }
        written.push_str(text);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_know_ascii_alone() {
        for (regex, expected) in [
            (r"^/\d+/[\w-]+$", "^/[0-9]+/[0-9_A-Za-z-]+$"),
            (r"[\w-.]", "[0-9_A-Za-z-.]"),
            (r"\W[\D]\s", r"[^0-9_A-Za-z][[^0-9]][\t-\r ]"),
            (r"\bx[\b]", r"(?-u:\b)x[\b]"),
            (r"\\d\.", r"\\d\."),
            (r"[]\d]", "[]0-9]"),
        ] {
            assert_eq!(of_ascii(regex), expected);
            assert_eq!(of_ascii(expected), expected);
        }
    }

    #[test]
    fn an_end_may_be_before_a_last_newline_wherever_it_stands() {
        for (regex, expected) in [
            (r"\.php$", r"\.php\n?$"),
            ("^/(a|b$)", r"^/(a|b\n?$)"),
            ("a$|b$", r"a\n?$|b\n?$"),
            (r"a\$[$]", r"a\$[$]"),
            (r"a\n?$", r"a\n?$"),
        ] {
            assert_eq!(with_line_ends(regex), expected);
        }
    }
}
