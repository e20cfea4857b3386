//! One request of a hook, as what chooses an endpoint for it sees it, and as logs name it.

use std::net::IpAddr;
use std::rc::Rc;

use super::Origin;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::data_plane::upstream::{BalanceState, Balanceable, DescriptorSource, HeldByClient};
use crate::http::head::{FieldName, RequestHead};
use crate::http::variable::{Variable, VariableSource};
use crate::http::{headers, target};
use crate::plugin::{self, AttemptFacts, HttpVersion};

/// A request under way. It has the client of the exchange that it is made for, and otherwise what the
/// hook has said.
pub(super) struct AskedRequest {
    pub(super) origin: Origin,
    pub(super) head: RequestHead,
    pub(super) balance: BalanceState,
}

impl AskedRequest {
    fn parts(&self) -> (&[u8], Option<&[u8]>) {
        let target = self.head.target();
        match memchr::memchr(b'?', target) {
            Some(at) => (&target[..at], Some(&target[at + 1..])),
            None => (target, None),
        }
    }

    fn host(&self) -> &[u8] {
        let mut hosts = self.head.fields().known(FieldName::Host);
        hosts.next().unwrap_or_default()
    }

    pub(super) fn error(&self, message: &dyn std::fmt::Display, upstream: &str) {
        tracing::error!("{message}{}", self.context(upstream));
    }

    fn context(&self, upstream: &str) -> String {
        let client = match self.origin.address {
            Some(address) => address.to_string(),
            None => self.origin.client.address_text.to_string(),
        };
        format!(
            ", client: {client}, request of a hook: \"{}\", upstream: \"{upstream}\"",
            self.head.line().escape_ascii()
        )
    }
}

impl VariableSource for AskedRequest {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let (path, query) = self.parts();
        let mut put = |value: Option<&[u8]>| {
            value
                .inspect(|value| out.extend_from_slice(value))
                .is_some()
        };
        match variable {
            Variable::RequestMethod => put(Some(self.head.method())),
            Variable::Request => put(Some(self.head.line())),
            Variable::RequestUri => put(Some(self.head.target())),
            Variable::Uri => put(Some(path)),
            Variable::Args => put(Some(query.unwrap_or_default())),
            Variable::IsArgs => put(Some(if query.is_some() { b"?" } else { b"" })),
            Variable::Host => put(Some(self.host())),
            Variable::Argument(name) => {
                put(target::argument(query.unwrap_or_default(), name.as_bytes()))
            }
            Variable::Cookie(name) => {
                let cookies = self.head.fields().known(FieldName::Cookie);
                put(headers::cookie(cookies, name.as_bytes()))
            }
            Variable::Header(name) => put(self.head.fields().of_variable(name.as_bytes()).next()),
            variable => self.origin.client.append(variable, out),
        }
    }
}

impl Balanceable for AskedRequest {
    fn balance(&self) -> &BalanceState {
        &self.balance
    }

    fn descriptors(&self) -> Rc<dyn DescriptorSource> {
        self.origin.worker.clone()
    }

    fn ends(&self) -> Option<AddressPair> {
        self.origin.client.ends(self.origin.address)
    }

    fn hold(&self) -> Option<HeldByClient> {
        None
    }

    fn worker(&self) -> usize {
        self.origin.worker.index
    }

    fn speaks_http(&self) -> bool {
        true
    }

    fn warn(&self, message: &str, upstream: &str) {
        tracing::warn!("{message}{}", self.context(upstream));
    }
}

/// What a policy says of its response has nobody to be told: headers that it adds are dropped.
impl plugin::ExchangeContext for AskedRequest {
    fn candidates(&self, word: u32) -> u64 {
        self.balance.candidates(word)
    }

    fn narrow(&self, words: Option<&[u64]>) {
        self.balance.narrow(words);
    }

    fn method(&self) -> &str {
        text(self.head.method())
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn authority(&self) -> &[u8] {
        self.host()
    }

    fn path(&self) -> &str {
        text(self.parts().0)
    }

    fn query(&self) -> &str {
        text(self.parts().1.unwrap_or_default())
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http11
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        self.head.fields().named(name.as_bytes()).for_each(each);
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        for field in self.head.fields().iter() {
            each(field.name, field.value);
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        let cookies = self.head.fields().known(FieldName::Cookie);
        headers::cookie(cookies, name.as_bytes())
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.origin.address
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.origin.client.certificate_fingerprint()
    }

    fn memo(&self) -> u64 {
        self.balance.memo.get()
    }

    fn set_memo(&self, value: u64) {
        self.balance.memo.set(value);
    }

    fn add_response_header(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn forget_response_headers(&self) {}

    fn attempt_facts(&self) -> AttemptFacts {
        self.balance.attempt_facts(None)
    }

    fn response_status(&self) -> u16 {
        0
    }

    fn response_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn is_response_local(&self) -> bool {
        false
    }

    fn route_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn upstream_named(&self, name: &str) -> Option<usize> {
        self.origin.worker_config.snapshot.upstream_index(name)
    }

    fn attribute(&self, _: &str, _: &mut Vec<u8>) -> bool {
        false
    }

    fn note(&self, _: &str) {}

    fn is_note_wanted(&self) -> bool {
        false
    }

    fn log_context(&self) -> String {
        self.context("")
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
