//! The host's functions as the contract names them, answered from what a test has set up.
//!
//! A harness ([`super::Upstream`], [`super::Hooked`]) enters its host for the length of a call.
//! Outside of one there is nothing to ask, and answers are empty, as the contract has it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::services::Services;
use super::{Changed, Request, Response};
use crate::FailureKind;
use crate::bindings::imported::types::IpAddress;

/// What a harness answers.
#[derive(Default)]
pub(crate) struct Host {
    pub(super) services: RefCell<Services>,
    pub(super) fleet: RefCell<Figures>,
    pub(super) exchange: RefCell<ExchangeState>,
}

/// What a policy may ask of its endpoints.
#[derive(Default)]
pub(super) struct Figures {
    /// Which of them are candidates.
    pub(super) free: Vec<bool>,
    pub(super) in_flight: Vec<u32>,
    pub(super) latency_us: Vec<u32>,
    pub(super) health: Vec<u32>,
}

impl Figures {
    /// 64 of the candidates, as bits.
    pub(super) fn word(&self, word: usize) -> u64 {
        let free = self.free.iter().skip(64 * word).take(64).enumerate();
        free.map(|(bit, &free)| u64::from(free) << bit).sum()
    }
}

/// What belongs to one exchange.
pub(super) struct ExchangeState {
    pub(super) request: Request,
    pub(super) response: Response,
    /// For policies.
    pub(super) memo: u64,
    pub(super) added: Vec<(String, Vec<u8>)>,
    pub(super) failure: FailureKind,
    pub(super) refusal_status: u16,
    /// For hooks.
    pub(super) key: Vec<u8>,
    pub(super) changed: Changed,
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    pub(super) notes: Vec<String>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

impl ExchangeState {
    pub(super) fn of(request: Request) -> Self {
        ExchangeState {
            request,
            response: Response::default(),
            memo: 0,
            added: Vec::new(),
            failure: FailureKind::None,
            refusal_status: 503,
            key: Vec::new(),
            changed: Changed::default(),
            attributes: BTreeMap::new(),
            notes: Vec::new(),
            trailers: Vec::new(),
        }
    }
}

impl Default for ExchangeState {
    fn default() -> Self {
        ExchangeState::of(Request::get("/"))
    }
}

thread_local! {
    static ENTERED: RefCell<Option<Rc<Host>>> = const { RefCell::new(None) };
}

/// Has this host answer until the guard is dropped.
pub(super) fn enter(host: &Rc<Host>) -> Entered {
    Entered(ENTERED.replace(Some(Rc::clone(host))))
}

/// The host that answered before.
pub(super) struct Entered(Option<Rc<Host>>);

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(self.0.take());
    }
}

/// A template's text for a request.
pub(crate) fn rendered(template: &crate::Template, request: Request) -> Vec<u8> {
    let host = Rc::new(Host::default());
    host.exchange.borrow_mut().request = request;
    let _entered = enter(&host);
    template.render(crate::Request(std::marker::PhantomData))
}

fn of_host<T: Default>(answer: impl FnOnce(&Host) -> T) -> T {
    ENTERED.with_borrow(|host| host.as_deref().map(answer).unwrap_or_default())
}

fn of_services<T: Default>(answer: impl FnOnce(&mut Services) -> T) -> T {
    of_host(|host| answer(&mut host.services.borrow_mut()))
}

fn of_fleet<T: Default>(answer: impl FnOnce(&Figures) -> T) -> T {
    of_host(|host| answer(&host.fleet.borrow()))
}

fn of_exchange<T: Default>(answer: impl FnOnce(&mut ExchangeState) -> T) -> T {
    of_host(|host| answer(&mut host.exchange.borrow_mut()))
}

fn of_request<T: Default>(answer: impl FnOnce(&Request) -> T) -> T {
    of_exchange(|exchange| answer(&exchange.request))
}

/// An address as the contract has it.
fn ip_address(address: std::net::IpAddr) -> IpAddress {
    match address {
        std::net::IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        std::net::IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}

pub(crate) mod fleet {
    use super::of_fleet;

    pub(crate) fn candidates(word: u32) -> u64 {
        of_fleet(|fleet| fleet.word(word as usize))
    }
    pub(crate) fn all_candidates() -> Vec<u64> {
        of_fleet(|fleet| {
            let words = 0..fleet.free.len().div_ceil(64);
            words.map(|word| fleet.word(word)).collect()
        })
    }
    pub(crate) fn in_flight(index: u32) -> u32 {
        of_fleet(|fleet| fleet.in_flight.get(index as usize).copied().unwrap_or(0))
    }
    pub(crate) fn all_in_flight() -> Vec<u32> {
        of_fleet(|fleet| fleet.in_flight.clone())
    }
    pub(crate) fn latency_us(index: u32) -> u32 {
        of_fleet(|fleet| fleet.latency_us.get(index as usize).copied().unwrap_or(0))
    }
    pub(crate) fn all_latency_us() -> Vec<u32> {
        of_fleet(|fleet| fleet.latency_us.clone())
    }
    pub(crate) fn health(index: u32) -> u32 {
        of_fleet(|fleet| fleet.health.get(index as usize).copied().unwrap_or(0))
    }
    pub(crate) fn all_health() -> Vec<u32> {
        of_fleet(|fleet| fleet.health.clone())
    }
}

pub(crate) mod upstream {
    use super::of_services;

    pub(crate) fn name() -> String {
        "test".to_owned()
    }
    pub(crate) fn has_backups() -> bool {
        of_services(|services| services.has_backups)
    }
    pub(crate) fn carries_streams() -> bool {
        of_services(|services| services.carries_streams)
    }
}

pub(crate) mod attempt {
    use super::of_exchange;
    use crate::FailureKind;

    pub(crate) fn memo() -> u64 {
        of_exchange(|exchange| exchange.memo)
    }
    pub(crate) fn set_memo(value: u64) {
        of_exchange(|exchange| exchange.memo = value);
    }
    pub(crate) fn add_response_header(name: &str, value: &[u8]) {
        of_exchange(|exchange| exchange.added.push((name.to_owned(), value.to_vec())));
    }
    pub(crate) fn set_refusal_status(status: u16) {
        of_exchange(|exchange| exchange.refusal_status = status);
    }
    pub(crate) fn failure() -> FailureKind {
        let mut failure = FailureKind::None;
        of_exchange(|exchange| failure = exchange.failure);
        failure
    }
    pub(crate) fn bytes_sent() -> u64 {
        0
    }
    pub(crate) fn bytes_received() -> u64 {
        0
    }
}

pub(crate) mod request {
    use super::of_request;
    use crate::{HttpVersion, Part, hash64};

    pub(crate) fn method() -> String {
        of_request(|request| request.method.clone())
    }
    pub(crate) fn scheme() -> String {
        of_request(|request| request.scheme.clone())
    }
    pub(crate) fn authority() -> String {
        of_request(|request| request.authority())
    }
    pub(crate) fn path() -> String {
        of_request(|request| request.path().to_owned())
    }
    pub(crate) fn query() -> String {
        of_request(|request| request.query().to_owned())
    }
    pub(crate) fn decoded_path() -> String {
        of_request(|request| request.decoded_path())
    }
    pub(crate) fn version() -> HttpVersion {
        HttpVersion::Http11
    }
    pub(crate) fn header(name: &str) -> Option<Vec<u8>> {
        header_all(name).into_iter().next()
    }
    pub(crate) fn header_all(name: &str) -> Vec<Vec<u8>> {
        of_request(|request| request.values(name))
    }
    pub(crate) fn headers() -> Vec<(String, Vec<u8>)> {
        of_request(|request| request.all_headers())
    }
    pub(crate) fn cookie(name: &str) -> Option<Vec<u8>> {
        of_request(|request| request.cookie_value(name))
    }
    pub(crate) fn hash(part: &Part, seed: u64) -> u64 {
        let bytes = match part {
            Part::Authority => authority().into_bytes(),
            Part::Path => path().into_bytes(),
            Part::Query => query().into_bytes(),
            Part::Header(name) => header(name).unwrap_or_default(),
            Part::Cookie(name) => cookie(name).unwrap_or_default(),
            Part::ClientAddress => of_request(|request| request.binary_client()),
        };
        hash64(&bytes, seed)
    }
}

pub(crate) mod response {
    use super::of_exchange;

    pub(crate) fn status() -> u16 {
        of_exchange(|exchange| exchange.response.status)
    }
    pub(crate) fn header(name: &str) -> Option<Vec<u8>> {
        header_all(name).into_iter().next()
    }
    pub(crate) fn header_all(name: &str) -> Vec<Vec<u8>> {
        of_exchange(|exchange| exchange.response.values(name))
    }
    pub(crate) fn is_local() -> bool {
        of_exchange(|exchange| exchange.response.local)
    }
}

pub(crate) mod connection {
    use super::{ip_address, of_request};
    use crate::bindings::imported::types::IpAddress;

    pub(crate) fn client_address() -> Option<IpAddress> {
        of_request(|request| request.client.map(ip_address))
    }
    pub(crate) fn peer_address() -> Option<IpAddress> {
        of_request(|request| request.peer.or(request.client).map(ip_address))
    }
    pub(crate) fn peer_port() -> u16 {
        of_request(|request| request.client.map_or(0, |_| 40_000))
    }
    pub(crate) fn local_address() -> Option<IpAddress> {
        of_request(|request| request.client.map(|_| IpAddress::Ipv4((127, 0, 0, 1))))
    }
    pub(crate) fn local_port() -> u16 {
        of_request(|request| request.local_port)
    }
    pub(crate) fn server_name() -> Option<String> {
        of_request(|request| request.server_name.clone())
    }
    pub(crate) fn alpn() -> Option<String> {
        None
    }
    pub(crate) fn tls_version() -> Option<String> {
        of_request(|request| (request.scheme == "https").then(|| "TLSv1.3".to_owned()))
    }
    pub(crate) fn certificate_subject() -> Option<String> {
        of_request(|request| request.certificate_subject.clone())
    }
    pub(crate) fn certificate_fingerprint() -> Option<Vec<u8>> {
        None
    }
}

pub(crate) mod exchange {
    use super::of_exchange;

    pub(crate) fn attribute(name: &str) -> Option<Vec<u8>> {
        of_exchange(|exchange| exchange.attributes.get(name).cloned())
    }
    pub(crate) fn key() -> Vec<u8> {
        of_exchange(|exchange| exchange.key.clone())
    }
    pub(crate) fn note(text: &str) {
        of_exchange(|exchange| exchange.notes.push(text.to_owned()));
    }
    pub(crate) fn is_note_wanted() -> bool {
        true
    }
}

pub(crate) mod variables {
    use super::of_exchange;

    pub(crate) fn variable(name: &str) -> Option<Vec<u8>> {
        of_exchange(|exchange| match name.strip_prefix("hook_") {
            Some(attribute) => exchange.attributes.get(attribute).cloned(),
            None => exchange.request.variable_value(name),
        })
    }
}

pub(crate) mod nginx {
    pub(crate) fn check_variable(_name: &str) -> Option<String> {
        None
    }
    pub(crate) fn check_early_variable(_name: &str) -> Option<String> {
        None
    }
}

pub(crate) mod bodies {
    use super::of_exchange;
    use crate::{Form, Manner};

    pub(crate) fn want_request_body(manner: Manner) -> bool {
        of_exchange(|exchange| exchange.changed.request_body = Some(manner));
        true
    }
    pub(crate) fn want_response_body(manner: Manner, form: Form) -> bool {
        of_exchange(|exchange| exchange.changed.response_body = Some((manner, form)));
        true
    }
    pub(crate) fn set_body(body: &[u8]) -> bool {
        of_exchange(|exchange| exchange.changed.body = Some(body.to_vec()));
        true
    }
    pub(crate) fn trailers() -> Vec<(String, Vec<u8>)> {
        of_exchange(|exchange| exchange.trailers.clone())
    }
}

pub(crate) mod changes {
    use super::{of_exchange, of_services};
    use crate::headers;
    use crate::testing::Changed;
    use crate::testing::changed::Edit;

    fn change(accepted: bool, make: impl FnOnce(&mut Changed)) -> bool {
        if accepted {
            of_exchange(|exchange| make(&mut exchange.changed));
        }
        accepted
    }

    pub(crate) fn set_method(method: &str) -> bool {
        change(headers::is_name(method), |changed| {
            changed.method = Some(method.to_owned());
        })
    }
    pub(crate) fn set_path(path: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        let accepted = path.starts_with('/') && path.bytes().all(allowed);
        change(accepted, |changed| changed.path = Some(path.to_owned()))
    }
    pub(crate) fn set_query(query: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        change(query.bytes().all(allowed), |changed| {
            changed.query = Some(query.to_owned());
        })
    }
    pub(crate) fn set_request_header(name: &str, value: &[u8]) -> bool {
        change(is_field(name, value), |changed| {
            changed.request.push(Edit::set(name, value));
        })
    }
    pub(crate) fn add_request_header(name: &str, value: &[u8]) -> bool {
        change(is_field(name, value), |changed| {
            changed.request.push(Edit::add(name, value));
        })
    }
    pub(crate) fn remove_request_header(name: &str) -> bool {
        change(is_field(name, b""), |changed| {
            changed.request.push(Edit::remove(name));
        })
    }
    pub(crate) fn set_response_header(name: &str, value: &[u8]) -> bool {
        change(is_field(name, value), |changed| {
            changed.response.push(Edit::set(name, value));
        })
    }
    pub(crate) fn add_response_header(name: &str, value: &[u8]) -> bool {
        change(is_field(name, value), |changed| {
            changed.response.push(Edit::add(name, value));
        })
    }
    pub(crate) fn remove_response_header(name: &str) -> bool {
        change(is_field(name, b""), |changed| {
            changed.response.push(Edit::remove(name));
        })
    }
    pub(crate) fn set_attribute(name: &str, value: &[u8]) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let accepted = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
        change(accepted, |changed| {
            changed.attributes.push((name.to_owned(), value.to_vec()));
        })
    }
    pub(crate) fn answer(status: u16, body: &[u8]) -> bool {
        change((200..600).contains(&status), |changed| {
            changed.answer = Some((status, body.to_vec()));
        })
    }
    pub(crate) fn delay(us: u64) -> bool {
        change(us <= 3_600_000_000, |changed| changed.delay_us = us)
    }
    pub(crate) fn take_route(name: &str) -> bool {
        let exists = of_services(|services| services.knows_route(name));
        change(exists, |changed| changed.route = Some(name.to_owned()))
    }
    pub(crate) fn check_route(name: &str) -> Option<String> {
        let exists = of_services(|services| services.knows_route(name));
        (!exists).then(|| format!("there is no route with the `name` `{name}`"))
    }
    pub(crate) fn check_upstream(name: &str) -> Option<String> {
        let exists = of_services(|services| services.knows_upstream(name));
        (!exists).then(|| format!("unknown upstream `{name}`"))
    }
    pub(crate) fn take_upstream(name: &str) -> bool {
        let exists = of_services(|services| services.knows_upstream(name));
        change(exists, |changed| changed.upstream = Some(name.to_owned()))
    }

    /// A header that HTTP allows, and that is not the host's.
    fn is_field(name: &str, value: &[u8]) -> bool {
        let allowed = |&byte: &u8| byte == b'\t' || byte >= b' ' && byte != 127;
        headers::is_name(name) && value.iter().all(allowed) && !headers::is_framing(name)
    }
}

pub(crate) mod checks {
    use super::{of_exchange, of_services};

    pub(crate) fn check_hash(hash: &str) -> Option<String> {
        of_services(|services| services.what_is_wrong_with(hash))
    }

    pub(crate) fn verify_password(hash: &str, password: &[u8]) {
        of_exchange(|exchange| {
            exchange.changed.check = Some((hash.to_owned(), password.to_vec()));
        });
    }
}

pub(crate) mod files {
    use super::of_services;

    pub(crate) fn read(path: &str) -> Result<Option<Vec<u8>>, String> {
        let mut read = Ok(None);
        of_services(|services| read = services.read(path));
        read
    }
    pub(crate) fn is_there(path: &str) -> bool {
        of_services(|services| services.files.contains_key(path))
    }
}

pub(crate) mod clock {
    use super::of_services;

    pub(crate) fn wall_ms() -> u64 {
        of_services(|services| services.wall_ms)
    }
}

pub(crate) mod metrics {
    use super::of_services;

    pub(crate) fn counter(name: &str) -> u32 {
        of_services(|services| services.counter_named(name))
    }
    pub(crate) fn add(counter: u32, value: u64) {
        of_services(|services| services.count(counter, value));
    }
}

pub(crate) mod store {
    use super::of_host;
    use crate::store::StoreError;
    use crate::testing::Store;

    /// Outside of a harness there is none.
    fn of_store<T>(ask: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let answer = of_host(|host| Some(ask(&host.services.borrow().store)));
        answer.unwrap_or(Err(StoreError::Unavailable))
    }

    pub(crate) fn is_elsewhere() -> bool {
        of_host(|host| host.services.borrow().store.is_elsewhere())
    }
    pub(crate) fn get(key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        of_store(|store| store.get(key))
    }
    pub(crate) fn set(key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), StoreError> {
        of_store(|store| store.set(key, value, ttl_ms))
    }
    pub(crate) fn add(key: &[u8], amount: i64, ttl_ms: u64) -> Result<i64, StoreError> {
        of_store(|store| store.add(key, amount, ttl_ms))
    }
    pub(crate) fn compare_and_swap(
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<bool, StoreError> {
        of_store(|store| store.compare_and_swap(key, expected, value, ttl_ms))
    }
    pub(crate) fn delete(key: &[u8]) -> Result<bool, StoreError> {
        of_store(|store| store.delete(key))
    }
    pub(crate) fn fill(
        key: &[u8],
        amount: u64,
        leak: u64,
        capacity: u64,
    ) -> Result<u64, StoreError> {
        of_store(|store| store.fill(key, amount, leak, capacity))
    }
}

pub(crate) mod log {
    use super::of_services;
    use crate::log::Level;

    /// The line is on stderr as well, where a failed test shows it.
    pub(crate) fn write(level: Level, message: &str) {
        eprintln!("{level:?}: {message}");
        of_services(|services| services.lines.push((level, message.to_owned())));
    }
    pub(crate) fn write_exchange(level: Level, message: &str) {
        write(level, message);
    }
}
