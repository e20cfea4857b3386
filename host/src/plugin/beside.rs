//! An exchange as a shadow sees it: everything can be read, and whatever is written goes nowhere.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

use super::context::{AttemptFacts, ExchangeAtHand, ExchangeContext, HttpVersion};
use crate::http::variable::{Variable, VariableSource};

/// The exchange at hand for a version that must not change it.
pub struct Beside {
    exchange: ExchangeAtHand,
    /// Its own: the other version has one as well.
    memo: Cell<u64>,
}

impl Beside {
    pub fn new(exchange: &ExchangeAtHand, memo: u64) -> Rc<Beside> {
        Rc::new(Beside {
            exchange: exchange.clone(),
            memo: Cell::new(memo),
        })
    }

    /// What the version keeps with the exchange.
    pub fn kept(&self) -> u64 {
        self.memo.get()
    }
}

impl VariableSource for Beside {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        self.exchange.append(variable, out)
    }
}

impl ExchangeContext for Beside {
    fn candidates(&self, word: u32) -> u64 {
        self.exchange.candidates(word)
    }

    /// Set anew before each question, so nothing of it is left.
    fn narrow(&self, words: Option<&[u64]>) {
        self.exchange.narrow(words);
    }

    fn method(&self) -> &str {
        self.exchange.method()
    }

    fn scheme(&self) -> &str {
        self.exchange.scheme()
    }

    fn authority(&self) -> &[u8] {
        self.exchange.authority()
    }

    fn path(&self) -> &str {
        self.exchange.path()
    }

    fn query(&self) -> &str {
        self.exchange.query()
    }

    fn version(&self) -> HttpVersion {
        self.exchange.version()
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.exchange.request_header(name, each);
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        self.exchange.request_headers(each);
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.exchange.cookie(name)
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.exchange.client_address()
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.exchange.certificate_fingerprint()
    }

    fn memo(&self) -> u64 {
        self.memo.get()
    }

    fn set_memo(&self, value: u64) {
        self.memo.set(value);
    }

    fn add_response_header(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn forget_response_headers(&self) {}

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

    fn note(&self, _: &str) {}

    fn is_note_wanted(&self) -> bool {
        false
    }

    fn log_context(&self) -> String {
        self.exchange.log_context()
    }
}
