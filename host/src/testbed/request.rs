//! Requests that are made up: each number is another client, path, user and session.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::battery::HOSTILE;
use crate::http::variable::{Variable, VariableSource};
use crate::plugin::{AttemptFacts, ExchangeContext, HttpVersion};

/// 2 KiB of JSON with a few words of HTML in it.
fn json(number: u64) -> Vec<u8> {
    let item = format!(r#"{{"id": {number}, "text": "<p>one of several</p>", "price": 12.5}}"#);
    let items = vec![item; 2048 / 70].join(", ");
    format!(r#"{{"tenant": "tenant{number}", "items": [{items}]}}"#).into_bytes()
}

/// `GET /item/N?user=N` of a client `10.x.y.z`, with `x-tenant`, `user-agent` and a cookie `session`.
pub(super) struct MadeUp {
    candidates: RefCell<Vec<u64>>,
    client: IpAddr,
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    session: Vec<u8>,
    /// Of the request, and of its answer.
    body: Vec<u8>,
    narrowed: RefCell<Option<Vec<u64>>>,
    memo: Cell<u64>,
}

impl MadeUp {
    /// The request of a number, for which these servers are candidates.
    pub(super) fn numbered(number: u64, candidates: Vec<u64>) -> Rc<MadeUp> {
        Rc::new(MadeUp::of(number, candidates))
    }

    fn of(number: u64, candidates: Vec<u64>) -> MadeUp {
        let name = |what: &str| format!("{what}{number}").into_bytes();
        let [.., a, b, c] = number.wrapping_mul(0x9e37_79b9).to_be_bytes();
        MadeUp {
            candidates: candidates.into(),
            client: Ipv4Addr::new(10, a, b, c).into(),
            path: format!("/item/{number}"),
            query: format!("user={number}"),
            headers: vec![
                ("host", b"shop.test".to_vec()),
                ("x-tenant", name("tenant")),
                ("user-agent", name("agent/")),
                ("accept", b"*/*".to_vec()),
            ],
            session: name("session"),
            body: json(number),
            narrowed: RefCell::default(),
            memo: Cell::default(),
        }
    }

    /// As [`numbered`](MadeUp::numbered), of a client that means no good.
    pub(super) fn hostile(number: u64, candidates: Vec<u64>) -> Rc<MadeUp> {
        let bytes = &HOSTILE[number as usize % HOSTILE.len()];
        let text = String::from_utf8_lossy(bytes);
        let mut request = MadeUp::of(number, candidates);
        request.query = format!("user={text}&&=&{text}");
        for (_, value) in &mut request.headers {
            value.clone_from(bytes);
        }
        request.session.clone_from(bytes);
        // Empty ones among them, and some that come in pieces of their own.
        request.body = bytes.repeat(number as usize % 64);
        Rc::new(request)
    }

    /// What is in its body, and in that of its answer.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// That of a client and a target which a log has, with a cookie `session` of the client.
    pub(super) fn seen(client: IpAddr, target: &str) -> Rc<MadeUp> {
        let mut request = MadeUp::of(0, Vec::new());
        request.client = client;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (request.path, request.query) = (path.to_owned(), query.to_owned());
        // Of headers a log has none; a session is what a client keeps.
        request.headers.retain(|(name, _)| *name == "host");
        request.session = client.to_string().into_bytes();
        Rc::new(request)
    }

    /// It is asked about anew, with these candidates, as bits.
    pub(super) fn offer(&self, candidates: impl Iterator<Item = u64>) {
        let mut words = self.candidates.borrow_mut();
        words.clear();
        words.extend(candidates);
    }

    /// A server that was tried is no candidate any more.
    pub(super) fn exclude(&self, index: u32) {
        if let Some(word) = self.candidates.borrow_mut().get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        let of_name = |(known, _): &&(&str, Vec<u8>)| known.eq_ignore_ascii_case(name);
        self.headers.iter().find(of_name).map(|(_, value)| &**value)
    }

    fn uri(&self) -> String {
        format!("{}?{}", self.path, self.query)
    }
}

impl VariableSource for MadeUp {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::RemoteAddr => out.extend(self.client.to_string().as_bytes()),
            Variable::BinaryRemoteAddr => match self.client {
                IpAddr::V4(client) => out.extend(client.octets()),
                IpAddr::V6(client) => out.extend(client.octets()),
            },
            Variable::Host | Variable::ServerName => out.extend(b"shop.test"),
            Variable::RequestMethod => out.extend(b"GET"),
            Variable::RequestUri => out.extend(self.uri().as_bytes()),
            Variable::Uri => out.extend(self.path.as_bytes()),
            Variable::Args => out.extend(self.query.as_bytes()),
            Variable::Scheme => out.extend(b"https"),
            Variable::Argument(name) => {
                let mut arguments = self
                    .query
                    .split('&')
                    .map(|argument| argument.split_once('='));
                let value = arguments
                    .find_map(|argument| argument.filter(|(known, _)| *known == name.as_str()));
                match value {
                    Some((_, value)) => out.extend(value.as_bytes()),
                    None => return false,
                }
            }
            Variable::Header(name) => match self.header(name.as_str()) {
                Some(value) => out.extend(value),
                None => return false,
            },
            Variable::Cookie(name) if name.as_str() == "session" => out.extend(&self.session),
            _ => return false,
        }
        true
    }
}

impl ExchangeContext for MadeUp {
    fn candidates(&self, word: u32) -> u64 {
        let of = |words: &[u64]| words.get(word as usize).copied().unwrap_or(0);
        let narrowed = self.narrowed.borrow();
        of(&self.candidates.borrow()) & narrowed.as_deref().map_or(u64::MAX, of)
    }

    fn narrow(&self, words: Option<&[u64]>) {
        *self.narrowed.borrow_mut() = words.map(<[u64]>::to_vec);
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn scheme(&self) -> &str {
        "https"
    }

    fn authority(&self) -> &[u8] {
        b"shop.test"
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http2
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        if let Some(value) = self.header(name) {
            each(value);
        }
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.headers {
            each(name.as_bytes(), value);
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        (name == "session").then_some(&*self.session)
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(self.client)
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        None
    }

    fn memo(&self) -> u64 {
        self.memo.get()
    }

    fn set_memo(&self, value: u64) {
        self.memo.set(value);
    }

    fn add_response_header(&self, name: &str, _: &[u8]) -> bool {
        !name.is_empty()
    }

    fn forget_response_headers(&self) {}

    fn attempt_facts(&self) -> AttemptFacts {
        AttemptFacts::default()
    }

    fn response_status(&self) -> u16 {
        200
    }

    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        if name.eq_ignore_ascii_case("content-type") {
            each(b"text/html");
        }
    }

    fn is_response_local(&self) -> bool {
        false
    }

    fn route_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn upstream_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn attribute(&self, _: &str, _: &mut Vec<u8>) -> bool {
        false
    }

    fn note(&self, _: &str) {}

    fn is_note_wanted(&self) -> bool {
        true
    }

    fn log_context(&self) -> String {
        format!(", client: {}", self.client)
    }
}
