//! What a hook has changed.

use super::Request;
use crate::{Form, Manner};

/// The changes of a hook, of all its calls for one exchange.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// What was answered: the status and the body.
    pub answer: Option<(u16, Vec<u8>)>,
    /// How long the request has to wait, in microseconds.
    pub delay_us: u64,
    /// The name of the route that was taken.
    pub route: Option<String>,
    /// The name of the upstream that was taken.
    pub upstream: Option<String>,
    /// The check that was asked for: the hash and the password.
    pub check: Option<(String, Vec<u8>)>,
    /// How the body of the request is wanted.
    pub request_body: Option<Manner>,
    /// How the body of the answer is wanted.
    pub response_body: Option<(Manner, Form)>,
    /// What goes on in place of the body, or the piece of one, that the last call was about.
    pub body: Option<Vec<u8>>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) query: Option<String>,
    pub(super) request: Vec<Edit>,
    pub(super) response: Vec<Edit>,
    pub(super) attributes: Vec<(String, Vec<u8>)>,
}

/// A change to the headers of a message.
#[derive(Debug, Clone)]
pub(super) struct Edit {
    name: String,
    /// Those there before go.
    replaces: bool,
    value: Option<Vec<u8>>,
}

impl Edit {
    pub(super) fn set(name: &str, value: &[u8]) -> Self {
        Edit {
            name: name.to_owned(),
            replaces: true,
            value: Some(value.to_vec()),
        }
    }

    pub(super) fn add(name: &str, value: &[u8]) -> Self {
        Edit {
            replaces: false,
            ..Edit::set(name, value)
        }
    }

    pub(super) fn remove(name: &str) -> Self {
        Edit {
            value: None,
            ..Edit::set(name, b"")
        }
    }

    pub(super) fn apply(&self, headers: &mut Vec<(String, Vec<u8>)>) {
        if self.replaces {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(&self.name));
        }
        if let Some(value) = &self.value {
            headers.push((self.name.clone(), value.clone()));
        }
    }
}

impl Changed {
    /// Makes the changes to the request, once the call has returned.
    pub(super) fn apply(&mut self, request: &mut Request) {
        if let Some(method) = self.method.take() {
            request.method = method;
        }
        if self.path.is_some() || self.query.is_some() {
            let path = self.path.take();
            let path = path.unwrap_or_else(|| request.path().to_owned());
            let query = self.query.take();
            let query = query.unwrap_or_else(|| request.query().to_owned());
            request.target = match query.is_empty() {
                true => path,
                false => format!("{path}?{query}"),
            };
        }
        for edit in self.request.drain(..) {
            request.edit(&edit);
        }
    }
}
