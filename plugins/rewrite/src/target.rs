//! Path and query of the request at hand, as the rules so far have made them.

use std::cell::OnceCell;

use waypost_sdk::{Call, Template};

use crate::escape;

/// The most bytes of a path or a query that rules make: captures that are repeated could make them
/// grow without end.
pub(crate) const LONGEST: usize = 16 * 1024;

/// What rules read and change.
pub(crate) struct Target<'a> {
    pub(crate) call: &'a Call<'a>,
    /// Decoded and normalised, as nginx's `$uri`.
    path: Vec<u8>,
    query: OnceCell<Vec<u8>>,
    is_path_new: bool,
    is_query_new: bool,
    is_quoted: OnceCell<bool>,
}

impl<'a> Target<'a> {
    pub(crate) fn of(call: &'a Call<'a>) -> Self {
        let path = call.request().decoded_path();
        // Bytes that are no UTF-8 were replaced: of these few paths the variable has all of them.
        let path = match path.contains(char::REPLACEMENT_CHARACTER) {
            true => call.variable("uri").unwrap_or_else(|| path.into_bytes()),
            false => path.into_bytes(),
        };
        Target {
            call,
            path,
            query: OnceCell::new(),
            is_path_new: false,
            is_query_new: false,
            is_quoted: OnceCell::new(),
        }
    }

    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// As received, not decoded.
    pub(crate) fn query(&self) -> &[u8] {
        let received = || self.call.request().query().into_bytes();
        self.query.get_or_init(received)
    }

    /// Whether the client has escaped anything in its path, or has a `+` there: then, and only then,
    /// nginx escapes captures in queries and redirects.
    pub(crate) fn is_quoted(&self) -> bool {
        let received = || self.call.request().path().contains(['%', '+']);
        *self.is_quoted.get_or_init(received)
    }

    /// The value of a variable, as the rules so far have made it.
    pub(crate) fn variable(&self, name: &str, from_host: &Template) -> Vec<u8> {
        let changed = match name {
            "uri" | "document_uri" if self.is_path_new => Some(self.path.clone()),
            "args" | "query_string" if self.is_query_new => Some(self.query().to_vec()),
            "is_args" if self.is_query_new => {
                Some(if self.query().is_empty() { "" } else { "?" }.into())
            }
            _ => match name.strip_prefix("arg_") {
                Some(argument) if self.is_query_new => {
                    Some(argument_of(self.query(), argument).to_vec())
                }
                _ => None,
            },
        };
        changed.unwrap_or_else(|| from_host.render(self.call.request()))
    }

    pub(crate) fn set_path(&mut self, path: Vec<u8>) -> Result<(), String> {
        if path.len() > LONGEST {
            return Err(format!("the rewritten path has more than {LONGEST} bytes"));
        }
        match path.first() {
            None => return Err("the rewritten path has a zero length".to_owned()),
            Some(b'/') => {}
            Some(_) => {
                let path = String::from_utf8_lossy(&path);
                return Err(format!(
                    "the rewritten path `{path}` does not begin with `/`"
                ));
            }
        }
        self.is_path_new = true;
        self.path = path;
        Ok(())
    }

    pub(crate) fn set_query(&mut self, query: Vec<u8>) -> Result<(), String> {
        if query.len() > LONGEST {
            return Err(format!("the rewritten query has more than {LONGEST} bytes"));
        }
        self.is_query_new = true;
        self.query = OnceCell::from(query);
        Ok(())
    }

    /// Has the host make the changes.
    pub(crate) fn set(&self) -> Result<(), String> {
        let changes = self.call.changes();
        let is_path_set = !self.is_path_new || changes.set_path(&escape::path(&self.path));
        // With another path, a `?` without a query behind it goes, as in nginx.
        let sets_query = self.is_query_new || self.is_path_new && self.query().is_empty();
        let is_query_set = !sets_query || changes.set_query(&escape::visible(self.query()));
        match is_path_set && is_query_set {
            true => Ok(()),
            false => Err("the rewritten path and query are refused".to_owned()),
        }
    }
}

/// The value of an argument, its name in any case (`ngx_http_arg`).
fn argument_of<'a>(query: &'a [u8], name: &str) -> &'a [u8] {
    let mut pairs = query.split(|&byte| byte == b'&');
    let value = pairs.find_map(|pair| {
        let (key, value) = pair.split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    });
    value.unwrap_or_default()
}
