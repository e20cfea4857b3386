//! What a path is replaced by: text, captures and variables (`ngx_http_script_compile`).

use waypost_sdk::{Settings, SettingsError, Template};

use crate::escape;
use crate::pattern::Pattern;
use crate::target::{LONGEST, Target};

/// A replacement, read once.
pub(crate) struct Replacement {
    path: Vec<Part>,
    /// What follows the first `?`; `None` where there is none.
    query: Option<Vec<Part>>,
    /// The query that the request had is added.
    keeps_query: bool,
    /// It is a URL, not a path.
    is_url: bool,
}

enum Part {
    Text(Vec<u8>),
    /// `$1` to `$9`.
    Capture(usize),
    /// The name of a group: in nginx a variable, which is never escaped.
    Named(usize),
    Variable(String, Template),
}

/// Which captures are escaped, where the client has escaped anything.
#[derive(Clone, Copy, PartialEq)]
enum Escaping {
    None,
    Arguments,
}

impl Replacement {
    pub(crate) fn parse(
        table: &Settings,
        key: &str,
        text: &str,
        pattern: &Pattern,
    ) -> Result<Self, SettingsError> {
        // A `?` at the end drops the query.
        let (text, keeps_query) = match text.strip_suffix('?') {
            Some(text) => (text, false),
            None => (text, true),
        };
        let is_url = ["http://", "https://", "$scheme", "${scheme}"]
            .iter()
            .any(|begin| text.starts_with(begin));
        if !is_url && !text.starts_with(['/', '$']) {
            let message = match text {
                "" => "the replacement is empty".to_owned(),
                _ => format!("`{text}` must begin with `/`, or with `http://` or `https://`"),
            };
            return Err(table.error(key, &message));
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (text, None),
        };
        let parts = |text: &str| {
            let parts = parts(text, pattern);
            let parts = parts.map_err(|message| table.error(key, &message))?;
            for part in &parts {
                if let Part::Variable(name, _) = part {
                    table.as_template(key, &format!("${{{name}}}"))?;
                }
            }
            Ok(parts)
        };
        Ok(Replacement {
            path: parts(path)?,
            query: query.map(parts).transpose()?,
            keeps_query,
            is_url,
        })
    }

    pub(crate) fn is_url(&self) -> bool {
        self.is_url
    }

    /// Gives the target its new path and query, behind a match of the pattern.
    pub(crate) fn rewrite(&self, target: &mut Target, pattern: &Pattern) -> Result<(), String> {
        let path = render(&self.path, target, pattern, Escaping::None)?;
        let query = match &self.query {
            Some(query) => {
                let mut query = render(query, target, pattern, Escaping::Arguments)?;
                if self.keeps_query && !target.query().is_empty() {
                    query.push(b'&');
                    query.extend_from_slice(target.query());
                }
                Some(query)
            }
            None if !self.keeps_query => Some(Vec::new()),
            None => None,
        };
        if let Some(query) = query {
            target.set_query(query)?;
        }
        target.set_path(path)
    }

    /// The value of `Location`, behind a match of the pattern.
    pub(crate) fn location(&self, target: &Target, pattern: &Pattern) -> Result<String, String> {
        let mut url = render(&self.path, target, pattern, Escaping::Arguments)?;
        if let Some(query) = &self.query {
            url.push(b'?');
            url.extend(render(query, target, pattern, Escaping::Arguments)?);
        }
        let mut url = escape::unescape_redirect(&url);
        if self.keeps_query && !target.query().is_empty() {
            url.push(if self.query.is_some() { b'&' } else { b'?' });
            url.extend_from_slice(target.query());
        }
        let url = escape::visible(&url);
        if self.is_url || !url.starts_with('/') {
            return Ok(url);
        }
        // Of HTTP/1.0 there may be no authority: RFC 9110, section 10.2.2, allows a path alone.
        let request = target.call.request();
        match request.authority().as_str() {
            "" => Ok(url),
            authority => Ok(format!("{}://{authority}{url}", request.scheme())),
        }
    }
}

fn render(
    parts: &[Part],
    target: &Target,
    pattern: &Pattern,
    escaping: Escaping,
) -> Result<Vec<u8>, String> {
    let mut text = Vec::with_capacity(64);
    for part in parts {
        match part {
            Part::Text(literal) => text.extend_from_slice(literal),
            Part::Capture(number) => {
                let capture = pattern.group(*number, target.path());
                match escaping {
                    Escaping::Arguments if target.is_quoted() => {
                        text.extend_from_slice(escape::argument(capture).as_bytes());
                    }
                    _ => text.extend_from_slice(capture),
                }
            }
            Part::Named(number) => text.extend_from_slice(pattern.group(*number, target.path())),
            Part::Variable(name, template) => text.extend(target.variable(name, template)),
        }
        // Looked at with each part, so that nothing larger is ever made.
        if text.len() > LONGEST {
            return Err(format!(
                "what a path is rewritten to has more than {LONGEST} bytes"
            ));
        }
    }
    Ok(text)
}

/// Splits a text into its parts. A capture has one digit, as in nginx: `$10` is `$1` and a `0`.
fn parts(text: &str, pattern: &Pattern) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        if dollar > 0 {
            parts.push(Part::Text(rest.as_bytes()[..dollar].to_vec()));
        }
        let after = &rest[dollar + 1..];
        let is_braced = after.starts_with('{');
        let begin = usize::from(is_braced);
        let is_digit = |letter: char| letter.is_ascii_digit();
        let length = match after[begin..].chars().next() {
            Some(first) if is_digit(first) && !is_braced => 1,
            _ => after[begin..]
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(after.len() - begin),
        };
        let name = &after[begin..begin + length];
        rest = &after[begin + length..];
        if is_braced {
            rest = rest
                .strip_prefix('}')
                .ok_or_else(|| format!("`{text}` has a `${{{name}` without its `}}`"))?;
        }
        parts.push(reference(text, name, pattern)?);
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.as_bytes().to_vec()));
    }
    Ok(parts)
}

/// What a `$` refers to.
fn reference(text: &str, name: &str, pattern: &Pattern) -> Result<Part, String> {
    if name.is_empty() {
        return Err(format!("`{text}` has a `$` without a name after it"));
    }
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        let groups = pattern.groups();
        return match name.parse() {
            Ok(number @ 1..=9) if number <= groups => Ok(Part::Capture(number)),
            Ok(1..=9) => Err(format!("`${name}`: the pattern has {groups} groups")),
            _ => Err(format!("`${name}` is no capture: they are `$1` to `$9`")),
        };
    }
    if let Some(number) = pattern.group_named(name) {
        return Ok(Part::Named(number));
    }
    let template = Template::parse(&format!("${{{name}}}"))?;
    Ok(Part::Variable(name.to_owned(), template))
}
