//! The cookies that a server sets, as the client is to have them (`ngx_http_proxy_rewrite_cookie`).

use super::replaced;
use super::state::Exchange;
use crate::config::model::{CookieFlags, CookieRules};
use crate::http::headers;

/// A `Set-Cookie` with other attributes; none where it stays as it is.
///
/// It is split as clients do it (RFC 6265 section 5.2): at each `;`, even within quotes. What the
/// rules do not speak of keeps its place and its words, whatever it is. Where a server says an
/// attribute twice, both are changed, since it is for the client to choose.
pub(super) fn rewritten(exchange: &Exchange, rules: &CookieRules, field: &[u8]) -> Option<Vec<u8>> {
    let mut attributes = field.split(|byte| *byte == b';');
    let (name, value) = attributes.next().map(split)?;
    // What has no value is no cookie to nginx, and no two clients agree on it.
    let value = value?;
    let named = rules.flags.iter().find(|(names, _)| names.contain(name));
    let flags = named.map_or(CookieFlags::default(), |(_, flags)| *flags);
    let mut rewriting = Rewriting {
        exchange,
        rules,
        flags,
        has_secure: false,
        has_http_only: false,
        has_same_site: false,
        is_changed: false,
        out: Vec::with_capacity(field.len() + 40),
    };
    rewriting.append(name, Some(value));
    for attribute in attributes {
        let (name, value) = split(attribute);
        rewriting.attribute(name, value);
    }
    rewriting.add_flags();
    let Rewriting {
        is_changed, out, ..
    } = rewriting;
    (is_changed && headers::is_value(&out)).then_some(out)
}

/// Name and value of an attribute, without the blanks around each.
fn split(attribute: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', attribute) {
        Some(at) => {
            let (name, value) = attribute.split_at(at);
            (trimmed(name), Some(trimmed(&value[1..])))
        }
        None => (trimmed(attribute), None),
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// A cookie that is written anew.
struct Rewriting<'a> {
    exchange: &'a Exchange,
    rules: &'a CookieRules,
    flags: CookieFlags,
    has_secure: bool,
    has_http_only: bool,
    has_same_site: bool,
    is_changed: bool,
    out: Vec<u8>,
}

impl Rewriting<'_> {
    /// Writes an attribute of the server's, changed or left out.
    fn attribute(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"domain") {
            let to =
                value.and_then(|value| replaced::domain(self.exchange, &self.rules.domains, value));
            return self.value(name, value, to);
        }
        if is(b"path") {
            let to = value.and_then(|value| {
                let (mut to, rest) = replaced::beginning(self.exchange, &self.rules.paths, value)?;
                to.extend_from_slice(rest);
                Some(to)
            });
            return self.value(name, value, to);
        }
        let goes = if is(b"secure") {
            self.has_secure = true;
            self.flags.secure == Some(false)
        } else if is(b"httponly") {
            self.has_http_only = true;
            self.flags.http_only == Some(false)
        } else if is(b"samesite") {
            self.has_same_site = true;
            match self.flags.same_site {
                Some(Some(same_site)) => {
                    self.is_changed = true;
                    return self.append(name, Some(same_site.name().as_bytes()));
                }
                Some(None) => true,
                None => false,
            }
        } else {
            false
        };
        match goes {
            true => self.is_changed = true,
            false => self.append(name, value),
        }
    }

    /// Writes a value, or what takes its place. What would begin another attribute, which only a
    /// variable can bring in, does not.
    fn value(&mut self, name: &[u8], value: Option<&[u8]>, to: Option<Vec<u8>>) {
        match to.filter(|to| !to.contains(&b';') && headers::is_value(to)) {
            Some(to) => {
                self.is_changed = true;
                self.append(name, Some(&to));
            }
            None => self.append(name, value),
        }
    }

    /// Writes what the rules want and the server has not said.
    fn add_flags(&mut self) {
        if self.flags.secure == Some(true) && !self.has_secure {
            self.is_changed = true;
            self.append(b"Secure", None);
        }
        if self.flags.http_only == Some(true) && !self.has_http_only {
            self.is_changed = true;
            self.append(b"HttpOnly", None);
        }
        if let Some(Some(same_site)) = self.flags.same_site
            && !self.has_same_site
        {
            self.is_changed = true;
            self.append(b"SameSite", Some(same_site.name().as_bytes()));
        }
    }

    fn append(&mut self, name: &[u8], value: Option<&[u8]>) {
        if !self.out.is_empty() {
            self.out.extend_from_slice(b"; ");
        }
        self.out.extend_from_slice(name);
        if let Some(value) = value {
            self.out.push(b'=');
            self.out.extend_from_slice(value);
        }
    }
}
