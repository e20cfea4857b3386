//! Regular expressions over bytes, as nginx has them (PCRE without UTF), in linear time.

use regex_automata::Input;
use regex_automata::meta::{BuildError, Cache, Regex};
use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::ParserBuilder;
use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::{Hir, HirKind, Look};

/// The most bytes of a compiled pattern.
const LARGEST: usize = 1 << 20;

/// A pattern, with room for one match of it.
pub(crate) struct Pattern {
    regex: Regex,
    cache: Cache,
    slots: Vec<Option<NonMaxUsize>>,
    /// What all matches begin with, if they begin at the beginning: looked at before the rest, since
    /// most rules do not match most paths.
    prefix: Vec<u8>,
    /// What all matches end with, if they end at the end.
    suffix: Vec<u8>,
}

impl Pattern {
    /// # Errors
    /// What is wrong, with a way out: the syntax, or what takes more than linear time.
    pub(crate) fn parse(text: &str, ignores_case: bool) -> Result<Self, String> {
        if let Some(problem) = unlike_pcre(text) {
            return Err(format!("`{text}`: {problem}"));
        }
        let mut parser = ParserBuilder::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(ignores_case)
            .build();
        let hir = parser
            .parse(text)
            .map_err(|error| format!("`{text}`: {}", what(&error)))?;
        let config = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(LARGEST));
        let regex = Regex::builder().configure(config).build_from_hir(&hir);
        let regex = regex.map_err(|error: BuildError| match error.size_limit() {
            Some(_) => format!("`{text}` is too large when compiled: repeat less"),
            None => format!("`{text}`: {error}"),
        })?;
        let (prefix, suffix) = fixed_ends(&hir);
        Ok(Pattern {
            cache: regex.create_cache(),
            slots: vec![None; 2 * regex.captures_len()],
            regex,
            prefix,
            suffix,
        })
    }

    /// Whether the text matches; the groups are those of this match from then on.
    pub(crate) fn matches(&mut self, text: &[u8]) -> bool {
        if !text.starts_with(&self.prefix) || !text.ends_with(&self.suffix) {
            return false;
        }
        let input = Input::new(text);
        let found = self
            .regex
            .search_slots_with(&mut self.cache, &input, &mut self.slots);
        found.is_some()
    }

    /// What a group has matched; empty where it took no part.
    pub(crate) fn group<'t>(&self, number: usize, text: &'t [u8]) -> &'t [u8] {
        let slot = |at: usize| self.slots.get(at).copied().flatten().map(NonMaxUsize::get);
        match (slot(2 * number), slot(2 * number + 1)) {
            (Some(start), Some(end)) => text.get(start..end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.slots.len() / 2 - 1
    }

    pub(crate) fn group_named(&self, name: &str) -> Option<usize> {
        let names = self
            .regex
            .group_info()
            .pattern_names(regex_automata::PatternID::ZERO);
        names
            .enumerate()
            .find(|(_, known)| *known == Some(name))
            .map(|(number, _)| number)
    }
}

/// One line, with a way out.
fn what(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => match error.kind() {
            ErrorKind::UnsupportedLookAround => {
                "look-around such as `(?=...)` or `(?!...)` is not there, since matching takes \
                 linear time: use a rule before this one, or `when`"
                    .to_owned()
            }
            ErrorKind::UnsupportedBackreference => {
                "back-references such as `\\1` are not there, since matching takes linear time"
                    .to_owned()
            }
            ErrorKind::EscapeUnrecognized => {
                format!(
                    "{}: for the letter itself leave the backslash out",
                    error.kind()
                )
            }
            kind => kind.to_string(),
        },
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "the pattern is not understood".to_owned(),
    }
}

/// What both understand, and not in the same way. What only PCRE understands, the parser refuses.
fn unlike_pcre(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let (mut at, mut class_begin) = (0, None);
    let mut is_behind_quantifier = false;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        let was_behind_quantifier = std::mem::take(&mut is_behind_quantifier);
        if byte == b'\\' {
            if matches!(next, Some(b'<' | b'>')) {
                return Some("`\\<` and `\\>` mean the ends of words here: write `<` or `>`");
            }
            at += 2;
            continue;
        }
        if let Some(begin) = class_begin {
            match byte {
                b']' if at > begin => class_begin = None,
                b'[' if next == Some(b':') => {
                    let end = text[at..].find(":]");
                    at += end.map_or(0, |colon| colon + 1);
                }
                b'[' => return Some("a `[` within `[...]` must be written `\\[`"),
                b'&' | b'-' | b'~' if next == Some(byte) => {
                    return Some("`&&`, `--` and `~~` within `[...]` must be written with `\\`");
                }
                _ => {}
            }
            at += 1;
            continue;
        }
        match byte {
            b'[' => {
                let is_negated = next == Some(b'^');
                class_begin = Some(at + 1 + usize::from(is_negated));
                at += usize::from(is_negated);
            }
            b'(' if text[at..].starts_with("(?R") => {
                return Some("recursion is not there, since matching takes linear time");
            }
            b'+' if was_behind_quantifier => {
                return Some(
                    "a `+` behind another quantifier makes no difference in linear time: leave \
                     it out",
                );
            }
            b'*' | b'+' | b'}' => is_behind_quantifier = true,
            // Behind `(` it begins flags, behind a quantifier it makes that lazy.
            b'?' => {
                is_behind_quantifier = !was_behind_quantifier && at > 0 && bytes[at - 1] != b'('
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The literals that every match begins with at the beginning of the text, and ends with at its end.
fn fixed_ends(hir: &Hir) -> (Vec<u8>, Vec<u8>) {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => return (Vec::new(), Vec::new()),
    };
    let literal = |part: Option<&Hir>| match part.map(Hir::kind) {
        Some(HirKind::Literal(literal)) => literal.0.to_vec(),
        _ => Vec::new(),
    };
    let is_look = |part: Option<&Hir>, look: Look| {
        part.is_some_and(|part| matches!(part.kind(), HirKind::Look(found) if *found == look))
    };
    let before_last = parts.len().checked_sub(2).and_then(|at| parts.get(at));
    let prefix = match is_look(parts.first(), Look::Start) {
        true => literal(parts.get(1)),
        false => Vec::new(),
    };
    let suffix = match is_look(parts.last(), Look::End) {
        true => literal(before_last),
        false => Vec::new(),
    };
    (prefix, suffix)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Pattern;

    fn ends(pattern: &str) -> (String, String) {
        let pattern = Pattern::parse(pattern, false).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(pattern.prefix), text(pattern.suffix))
    }

    fn problem(pattern: &str) -> String {
        Pattern::parse(pattern, false).err().unwrap()
    }

    #[test]
    fn what_matches_begin_and_end_with_is_known() {
        for (pattern, prefix, suffix) in [
            ("^/old/(.*)$", "/old/", ""),
            (r"\.php$", "", ".php"),
            (r"^/a(.*)\.html$", "/a", ".html"),
            ("^/$", "/", "/"),
            ("/old/", "", ""),
            ("(?i)^/old/", "/", ""),
            ("^/a|^/b", "", ""),
            ("^(/a|/b)$", "", ""),
            ("^/ab?", "/a", ""),
            ("(?m)^/a$", "", ""),
            ("^", "", ""),
            ("^/a*$", "/", ""),
        ] {
            assert_eq!(
                ends(pattern),
                (prefix.to_owned(), suffix.to_owned()),
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_a_way_out() {
        for (pattern, part) in [
            ("^/(?!admin)", "look-around"),
            ("(?<=a)b", "look-around"),
            (r"(a)\1", "back-references"),
            (r"\Qa\E", "leave the backslash out"),
            (r"\<a", "ends of words"),
            ("a++", "leave it out"),
            ("a*+b", "leave it out"),
            ("a?+b", "leave it out"),
            ("a{2}+b", "leave it out"),
            ("(?R)", "recursion"),
            ("[a[b]", r"`\[`"),
            ("[a&&b]", "with `\\`"),
            ("[+--]", "with `\\`"),
            ("a{", "repetition"),
            ("(a", "unclosed group"),
            ("[a", "unclosed character class"),
            ("(?>a)", "flag"),
            ("(a{1000}){1000}", "too large"),
        ] {
            let problem = problem(pattern);
            assert!(
                problem.contains(part) && !problem.contains('\n'),
                "{pattern}: {problem}"
            );
        }
    }

    #[test]
    fn what_nginx_s_users_write_is_understood() {
        for (pattern, text) in [
            (r"^/a\/b\-c\.d$", "/a/b-c.d"),
            ("^/[]a]$", "/]"),
            ("^/[^]a]$", "/b"),
            ("^/[a-z_-]+?$", "/x-y"),
            ("^/[[:alpha:]]+$", "/abc"),
            ("^/(?<name>a+)(?P<other>b+)$", "/aabb"),
            ("^/(?:a|b)??c", "/c"),
            ("(?i)^/ABC$", "/aBc"),
            (r"^/\d{2,}\w*\s?$", "/123x "),
            (r"^/[\w\-]+$", "/a-b"),
            (r"^/[+*?{}()]+\+$", "/+*?{}()+"),
        ] {
            let mut parsed = Pattern::parse(pattern, false).unwrap();
            assert!(parsed.matches(text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_matched() {
        let mut pattern = Pattern::parse("^/(.)/(.*)$", false).unwrap();
        assert!(pattern.matches(b"/\xff/\xfe\x80"));
        assert_eq!(pattern.group(1, b"/\xff/\xfe\x80"), b"\xff");
        assert_eq!(pattern.group(2, b"/\xff/\xfe\x80"), b"\xfe\x80");
    }
}
