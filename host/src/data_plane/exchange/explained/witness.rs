//! An exchange as plugins see it, with a note of what they ask about it.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use super::super::conditions::shown;
use super::super::state::Exchange;
use super::told::Fact;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::data_plane::upstream::{BalanceState, Balanceable, DescriptorSource, HeldByClient};
use crate::http::variable::{self, Capture, Variable, VariableSource};
use crate::plugin::{AttemptFacts, ExchangeContext, HttpVersion};

/// Facts that are noted at most.
const MOST: usize = 64;

/// What was asked, each once, in order.
#[derive(Default)]
pub(super) struct Facts(RefCell<Vec<Fact>>);

impl Facts {
    pub(super) fn take(&self) -> Vec<Fact> {
        self.0.take()
    }

    fn note(&self, name: String, value: Option<&[u8]>) {
        let mut facts = self.0.borrow_mut();
        if facts.len() < MOST && facts.iter().all(|fact| fact.name != name) {
            let value = value.map(shown);
            facts.push(Fact { name, value });
        }
    }
}

/// The exchange, and where it is noted what is asked.
pub(super) struct Witness {
    pub(super) exchange: Rc<Exchange>,
    pub(super) facts: Rc<Facts>,
}

/// A variable as the configuration spells it.
fn spelled(exchange: &Exchange, variable: &Variable) -> String {
    let underscored = |name: &variable::Name| name.as_str().replace('-', "_");
    match variable {
        Variable::Header(name) => format!("$http_{}", underscored(name)),
        Variable::Argument(name) => format!("$arg_{}", name.as_str()),
        Variable::Cookie(name) => format!("$cookie_{}", name.as_str()),
        Variable::SentHeader(name) => format!("$sent_http_{}", underscored(name)),
        Variable::UpstreamHeader(name) => format!("$upstream_http_{}", underscored(name)),
        Variable::UpstreamCookie(name) => format!("$upstream_cookie_{}", name.as_str()),
        Variable::HookAttribute(name) => format!("$hook_{}", name.as_str()),
        Variable::Named(name) | Variable::Capture(Capture::Name(name)) => {
            format!("${}", name.as_str())
        }
        Variable::Capture(Capture::Number(number)) => format!("${number}"),
        Variable::Defined(defined) => {
            let definitions = &exchange.worker_config.snapshot.config.variables;
            let definition = definitions.list().get(defined.index as usize);
            definition.map_or_else(String::new, |definition| format!("${}", definition.name))
        }
        plain => {
            let names = variable::all().flat_map(|described| described.names);
            let mut alike = names.filter(|name| Variable::parse(name).as_ref() == Some(plain));
            alike
                .next()
                .map_or_else(String::new, |name| format!("${name}"))
        }
    }
}

impl VariableSource for Witness {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let before = out.len();
        let there = self.exchange.append(variable, out);
        let value = out.get(before..).filter(|_| there);
        self.facts.note(spelled(&self.exchange, variable), value);
        there
    }
}

impl ExchangeContext for Witness {
    fn candidates(&self, word: u32) -> u64 {
        self.exchange.candidates(word)
    }

    fn narrow(&self, words: Option<&[u64]>) {
        self.exchange.narrow(words);
    }

    fn method(&self) -> &str {
        let method = ExchangeContext::method(&*self.exchange);
        self.facts
            .note("method".to_owned(), Some(method.as_bytes()));
        method
    }

    fn scheme(&self) -> &str {
        let scheme = ExchangeContext::scheme(&*self.exchange);
        self.facts
            .note("scheme".to_owned(), Some(scheme.as_bytes()));
        scheme
    }

    fn authority(&self) -> &[u8] {
        let authority = ExchangeContext::authority(&*self.exchange);
        self.facts.note("host".to_owned(), Some(authority));
        authority
    }

    fn path(&self) -> &str {
        let path = ExchangeContext::path(&*self.exchange);
        self.facts.note("path".to_owned(), Some(path.as_bytes()));
        path
    }

    fn query(&self) -> &str {
        let query = ExchangeContext::query(&*self.exchange);
        self.facts.note("query".to_owned(), Some(query.as_bytes()));
        query
    }

    fn version(&self) -> HttpVersion {
        self.exchange.version()
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        let mut first = None;
        self.exchange.request_header(name, &mut |value| {
            first.get_or_insert_with(|| value.to_vec());
            each(value);
        });
        let name = format!("header {}", shown(name.as_bytes()));
        self.facts.note(name, first.as_deref());
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.facts.note("all headers".to_owned(), None);
        self.exchange.request_headers(each);
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let value = self.exchange.cookie(name);
        self.facts
            .note(format!("cookie {}", shown(name.as_bytes())), value);
        value
    }

    fn client_address(&self) -> Option<IpAddr> {
        let address = self.exchange.client_address();
        let text = address.map(|address| address.to_string());
        let value = text.as_deref().map(str::as_bytes);
        self.facts.note("client".to_owned(), value);
        address
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.exchange.certificate_fingerprint()
    }

    fn memo(&self) -> u64 {
        self.exchange.memo()
    }

    fn set_memo(&self, value: u64) {
        self.exchange.set_memo(value);
    }

    fn add_response_header(&self, name: &str, value: &[u8]) -> bool {
        self.exchange.add_response_header(name, value)
    }

    fn forget_response_headers(&self) {
        self.exchange.forget_response_headers();
    }

    fn attempt_facts(&self) -> AttemptFacts {
        self.exchange.attempt_facts()
    }

    fn response_status(&self) -> u16 {
        self.exchange.response_status()
    }

    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.exchange.response_header(name, each);
    }

    fn is_response_local(&self) -> bool {
        self.exchange.is_response_local()
    }

    fn route_named(&self, name: &str) -> Option<usize> {
        self.exchange.route_named(name)
    }

    fn upstream_named(&self, name: &str) -> Option<usize> {
        self.exchange.upstream_named(name)
    }

    fn attribute(&self, name: &str, out: &mut Vec<u8>) -> bool {
        self.exchange.attribute(name, out)
    }

    fn note(&self, text: &str) {
        self.exchange.note(text);
    }

    fn is_note_wanted(&self) -> bool {
        true
    }

    fn log_context(&self) -> String {
        self.exchange.log_context()
    }
}

impl Balanceable for Witness {
    fn balance(&self) -> &BalanceState {
        self.exchange.balance()
    }

    fn descriptors(&self) -> Rc<dyn DescriptorSource> {
        self.exchange.descriptors()
    }

    fn ends(&self) -> Option<AddressPair> {
        self.exchange.ends()
    }

    fn hold(&self) -> Option<HeldByClient> {
        self.exchange.hold()
    }

    fn worker(&self) -> usize {
        self.exchange.worker()
    }

    fn speaks_http(&self) -> bool {
        self.exchange.speaks_http()
    }

    fn warn(&self, _: &str, _: &str) {}
}
