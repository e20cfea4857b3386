//! `host` and `path`: nginx's `server_name` and `location` patterns.

use regex::{Regex, RegexBuilder, bytes};

use super::Complaint;
use crate::config::model::{HostPattern, PathPattern};
use crate::http::variable::CaptureNames;

/// One host as written may stand for two: `.example.com` is `example.com` and `*.example.com`.
pub(super) fn hosts(text: &str) -> Result<Vec<HostPattern>, Complaint> {
    if let Some(pattern) = text.strip_prefix('~') {
        return Ok(vec![HostPattern::Regex(regex(
            RegexBuilder::new(pattern).case_insensitive(true),
        )?)]);
    }
    let name = text.to_ascii_lowercase();
    if matches!(name.as_str(), "" | "_" | "*") {
        let complaint = Complaint::new(format!("`{text}` is not a host"));
        return Err(complaint.hint("leave `host` out to match any that no other route names"));
    }
    if let Some(domain) = name.strip_prefix('.') {
        let domain = plain(domain, text)?;
        return Ok(vec![
            HostPattern::Exact(domain.to_owned()),
            HostPattern::Suffix(format!(".{domain}")),
        ]);
    }
    if let Some(domain) = name.strip_prefix("*.") {
        return Ok(vec![HostPattern::Suffix(format!(
            ".{}",
            plain(domain, text)?
        ))]);
    }
    if let Some(domain) = name.strip_suffix(".*") {
        return Ok(vec![HostPattern::Prefix(format!(
            "{}.",
            plain(domain, text)?
        ))]);
    }
    Ok(vec![HostPattern::Exact(plain(&name, text)?.to_owned())])
}

/// A host without wildcards: a name, an IPv4 address, or an IPv6 address in brackets.
fn plain<'a>(name: &'a str, written: &str) -> Result<&'a str, Complaint> {
    let in_brackets = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    if in_brackets.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Ok(name);
    }
    let complaint = Complaint::new(format!("`{written}` is not a host"));
    if name.contains('*') {
        let hint = "`*` stands at the beginning, `*.example.com`, or at the end, `www.example.*`";
        return Err(complaint.hint(hint));
    }
    if name.contains("://") || name.contains('/') {
        return Err(complaint.hint("a host has no scheme and no path"));
    }
    if name.contains(':') {
        return Err(
            complaint.hint("leave out the port: a route may name its listeners by `listen`")
        );
    }
    if !name.is_ascii() {
        return Err(complaint.hint("write international names in their ASCII form, `xn--...`"));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // nginx compares without a closing dot, so that one could never match.
    let labels = |name: &str| {
        name.split('.')
            .all(|label| !label.is_empty() && label.chars().all(letters))
    };
    if labels(name) {
        Ok(name)
    } else {
        Err(complaint)
    }
}

/// A location with nginx's modifiers.
pub(super) fn path(text: &str) -> Result<PathPattern, Complaint> {
    if text.starts_with('~') {
        return Ok(PathPattern::Regex(value_regex(text)?));
    }
    let (make, path): (fn(String) -> PathPattern, &str) = if let Some(path) = text.strip_prefix('=')
    {
        (PathPattern::Exact, path.trim_start())
    } else if let Some(path) = text.strip_prefix("^~") {
        (PathPattern::PrefixNoRegex, path.trim_start())
    } else {
        (PathPattern::Prefix, text)
    };
    let complaint = || Complaint::new(format!("path `{path}` does not begin with `/`"));
    if !path.starts_with('/') {
        return Err(
            complaint().hint("write `/prefix`, `= /exact`, `^~ /prefix`, `~ regex` or `~* regex`")
        );
    }
    if let Some(end) = path.find(['?', '#']) {
        let never = path.get(end..).unwrap_or_default();
        let complaint = Complaint::new(format!(
            "path `{path}` can never match: `{never}` is no part of a path"
        ));
        return Err(complaint.hint("routes are found by the path alone, without the query"));
    }
    Ok(make(path.to_owned()))
}

/// `~ regex` or `~* regex`.
pub(super) fn value_regex(text: &str) -> Result<Regex, Complaint> {
    if let Some(pattern) = text.strip_prefix("~*") {
        // Said in the pattern itself, so that its spelling tells the two kinds apart.
        let pattern = format!("(?i){}", pattern.trim_start());
        return regex(&RegexBuilder::new(&pattern));
    }
    let pattern = text.strip_prefix('~').unwrap_or(text);
    regex(&RegexBuilder::new(pattern.trim_start()))
}

/// As [`value_regex`], for texts that may be any bytes: as nginx's, it knows letters and cases of
/// ASCII alone, and any byte is a character.
pub(super) fn bytes_regex(text: &str) -> Result<bytes::Regex, Complaint> {
    let (pattern, any_case) = match text.strip_prefix("~*") {
        Some(pattern) => (pattern, true),
        None => (text.strip_prefix('~').unwrap_or(text), false),
    };
    let mut builder = bytes::RegexBuilder::new(pattern.trim_start());
    let builder = builder.unicode(false).case_insensitive(any_case);
    builder.build().map_err(|error| bad_regex(&error))
}

/// The regex, or its own explanation in one line.
fn regex(builder: &RegexBuilder) -> Result<Regex, Complaint> {
    builder.build().map_err(|error| bad_regex(&error))
}

pub(super) fn bad_regex(error: &regex::Error) -> Complaint {
    let error = error.to_string();
    // The parser's report has several lines, the last of which is the explanation.
    let explanation = error.lines().last().unwrap_or_default().trim();
    let explanation = explanation.strip_prefix("error: ").unwrap_or(explanation);
    let complaint = Complaint::new(format!("bad regex: {}", explanation.trim_end_matches('.')));
    if explanation.contains("look-around") || explanation.contains("backreferences") {
        return complaint.hint(
            "matching takes linear time here, which rules out look-around and backreferences",
        );
    }
    complaint.hint(
        "`(`, `[`, `{`, `*`, `+` and `?` stand for themselves behind a `\\`, as in `'~ ^/a\\(b\\)$'`",
    )
}

impl PathPattern {
    /// The groups of its regex.
    pub(super) fn capture_names(&self) -> CaptureNames {
        match self {
            PathPattern::Regex(regex) => {
                CaptureNames::new(regex.captures_len(), regex.capture_names())
            }
            _ => CaptureNames::default(),
        }
    }

    /// As written in the file.
    pub fn spelling(&self) -> String {
        match self {
            PathPattern::Exact(path) => format!("= {path}"),
            PathPattern::Prefix(path) => path.clone(),
            PathPattern::PrefixNoRegex(path) => format!("^~ {path}"),
            PathPattern::Regex(regex) => format!("~ {}", regex.as_str()),
        }
    }
}

impl HostPattern {
    /// The groups of its regex.
    pub(super) fn capture_names(&self) -> CaptureNames {
        match self {
            HostPattern::Regex(regex) => {
                CaptureNames::new(regex.captures_len(), regex.capture_names())
            }
            _ => CaptureNames::default(),
        }
    }
}
