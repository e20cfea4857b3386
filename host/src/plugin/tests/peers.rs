//! An exchange, a fleet and a log to look into.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http::variable::{Variable, VariableSource};
use crate::plugin::{
    AttemptFacts, Balancer, BalancerParts, ConfigureError, EndpointView, ExchangeAtHand,
    ExchangeContext, ExchangeSummary, FleetView, HookCall, HookContext, HttpVersion, Pick, Picked,
    Plugin, PolicyContext, ServerView, SharedHook, UpstreamTraits, WorkerBalancer,
};

/// Endpoints `0` to `n - 1`; endpoint `i` has `i` attempts in progress, a latency of `100 * i`
/// microseconds, a `max_fails` of `i` and a `fail_timeout` of `10 * i` seconds. The second one has
/// a label, `zone=a`, and a route, `one`; the third one is down.
pub(super) struct Endpoints(pub(super) u32);

impl FleetView for Endpoints {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |index| EndpointView {
            id: 1000 + u64::from(index),
            address: format!("192.0.2.{index}:80"),
            weight: 1,
        };
        (0..self.0).map(endpoint).collect()
    }

    fn server(&self, index: u32) -> Option<ServerView<'_>> {
        static LABELS: LazyLock<Vec<(String, String)>> =
            LazyLock::new(|| vec![("zone".to_owned(), "a".to_owned())]);
        (index < self.0).then(|| ServerView {
            name: ["app-0", "app-1:80", "app-2"]
                .get(index as usize)
                .unwrap_or(&"app"),
            down: index == 2,
            labels: if index == 1 { &LABELS } else { &[] },
            max_fails: index,
            fail_timeout: 10 * u64::from(index),
            route: if index == 1 { "one" } else { "" },
        })
    }

    fn in_flight(&self, index: u32) -> u32 {
        index
    }

    fn latency_us(&self, index: u32) -> u32 {
        100 * index
    }

    fn health(&self, index: u32) -> u32 {
        100 - index
    }

    fn len(&self) -> u32 {
        self.0
    }
}

/// A request for `GET /path?user=2`, from 192.0.2.7, with `x-shard: 1` and the cookie `shard=2`;
/// a response of status 204.
#[derive(Default)]
pub(super) struct Request {
    pub(super) candidates: RefCell<Vec<u64>>,
    pub(super) narrowed: RefCell<Option<Vec<u64>>>,
    pub(super) memo: Cell<u64>,
    pub(super) added: RefCell<Vec<(String, Vec<u8>)>>,
    pub(super) notes: RefCell<Vec<String>>,
    pub(super) ignores_notes: bool,
    pub(super) facts: AttemptFacts,
    /// What `$arg_user` is, if not `2`.
    pub(super) user: Option<String>,
    pub(super) gate: Option<Arc<Gate>>,
}

/// Holds plugins up. Asking whether a note is wanted is how one says that it waits, and the answer
/// is how it is told to go on.
#[derive(Default)]
pub(super) struct Gate {
    waits: AtomicBool,
    open: AtomicBool,
}

impl Gate {
    /// Until a plugin is held up.
    pub(super) fn wait(&self) {
        while !self.waits.load(Relaxed) {
            std::thread::yield_now();
        }
    }

    /// Lets it go on.
    pub(super) fn open(&self) {
        self.open.store(true, Relaxed);
    }
}

impl VariableSource for Request {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let known = *variable == Variable::parse("arg_user").unwrap();
        if known {
            out.extend_from_slice(self.user.as_deref().unwrap_or("2").as_bytes());
        }
        known
    }
}

impl ExchangeContext for Request {
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

    fn authority(&self) -> &[u8] {
        b"shop.example:8080"
    }

    fn path(&self) -> &str {
        "/path"
    }

    fn query(&self) -> &str {
        "user=2"
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http2
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        if name.eq_ignore_ascii_case("x-shard") {
            each(b"1");
            each(b"ignored");
        }
    }

    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        each(b"x-shard", b"1");
        each(b"x-shard", b"ignored");
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        (name == "shard").then_some(b"2")
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 7).into())
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

    fn add_response_header(&self, name: &str, value: &[u8]) -> bool {
        self.added
            .borrow_mut()
            .push((name.to_owned(), value.to_owned()));
        !name.contains(' ')
    }

    fn forget_response_headers(&self) {
        self.added.borrow_mut().clear();
    }

    fn attempt_facts(&self) -> AttemptFacts {
        self.facts
    }

    fn response_status(&self) -> u16 {
        204
    }

    fn response_header(&self, _: &str, each: &mut dyn FnMut(&[u8])) {
        each(b"value");
    }

    fn is_response_local(&self) -> bool {
        true
    }

    fn route_named(&self, name: &str) -> Option<usize> {
        (name == "shop").then_some(4)
    }

    fn upstream_named(&self, name: &str) -> Option<usize> {
        (name == "blue").then_some(5)
    }

    fn attribute(&self, name: &str, out: &mut Vec<u8>) -> bool {
        let known = name == "tenant";
        if known {
            out.extend_from_slice(b"acme");
        }
        known
    }

    fn note(&self, text: &str) {
        self.notes.borrow_mut().push(text.to_owned());
    }

    fn is_note_wanted(&self) -> bool {
        match &self.gate {
            None => !self.ignores_notes,
            Some(gate) => {
                gate.waits.store(true, Relaxed);
                gate.open.load(Relaxed)
            }
        }
    }

    fn log_context(&self) -> String {
        ", client: 192.0.2.7".to_owned()
    }
}

/// An exchange in which the endpoints of `bits` are candidates.
pub(super) fn exchange(bits: u64) -> ExchangeAtHand {
    exchange_of(vec![bits])
}

/// As [`exchange`], for more than 64 endpoints.
pub(super) fn exchange_of(words: Vec<u64>) -> ExchangeAtHand {
    Rc::new(Request {
        candidates: words.into(),
        ..Request::default()
    })
}

/// The attempt of that lease.
pub(super) fn attempt(lease: u64) -> Pick {
    Pick {
        lease,
        attempt: 0,
        now_us: 1,
        random: 2,
    }
}

/// A policy over three endpoints, with `round_robin` as its fallback.
pub(super) fn balancer(policy: &Plugin) -> Arc<Balancer> {
    with_fallback(policy, super::guests::round_robin())
}

pub(super) fn with_fallback(policy: &Plugin, fallback: Plugin) -> Arc<Balancer> {
    configured(policy, &json!({}), fallback)
}

pub(super) fn configured(policy: &Plugin, settings: &Value, fallback: Plugin) -> Arc<Balancer> {
    let parts = BalancerParts {
        settings,
        fallback: Some(fallback),
        ..parts(policy)
    };
    over(3, parts).unwrap()
}

/// A policy alone, without settings.
pub(super) fn parts(policy: &Plugin) -> BalancerParts<'static> {
    BalancerParts {
        policy: policy.clone(),
        settings: &Value::Null,
        filters: &[],
        scorers: &[],
        fallback: None,
    }
}

/// A balancer over so many endpoints.
pub(super) fn over(
    endpoints: u32,
    parts: BalancerParts<'_>,
) -> Result<Arc<Balancer>, ConfigureError> {
    let fleet = Arc::new(Endpoints(endpoints));
    Balancer::new(parts, fleet, &PolicyContext::default()).map(Arc::new)
}

/// A hook that is used in one place and says nothing there.
pub(super) fn hook(plugin: &Plugin) -> Arc<SharedHook> {
    attached(plugin, &json!({}), &[&json!({})]).unwrap()
}

/// A hook with its settings and those of its places.
pub(super) fn attached(
    plugin: &Plugin,
    settings: &Value,
    places: &[&Value],
) -> Result<Arc<SharedHook>, ConfigureError> {
    let context = HookContext {
        places,
        traits: UpstreamTraits::default(),
        directory: Path::new("."),
        variables: &Arc::default(),
        destinations: &Arc::default(),
        workers: 1,
    };
    SharedHook::new("mine", plugin.clone(), settings, &context).map(Arc::new)
}

/// A call about that exchange, in the hook's first place.
pub(super) fn about(exchange: u64) -> HookCall {
    HookCall {
        exchange,
        place: 0,
        now_us: 1,
    }
}

/// An exchange in which `$arg_user` is this.
pub(super) fn of_user(user: &str) -> ExchangeAtHand {
    Rc::new(Request {
        user: Some(user.to_owned()),
        ..Request::default()
    })
}

/// An exchange that was answered as it should be.
pub(super) const ENDED: ExchangeSummary = ExchangeSummary {
    status: 200,
    complete: true,
    duration_us: 30,
    bytes_sent: 20,
    bytes_received: 10,
};

/// What the worker picks for a fresh exchange in which all three endpoints are candidates.
pub(super) fn pick(worker: &mut WorkerBalancer, lease: u64) -> Option<u32> {
    picked(worker, lease).map(|picked| picked.index)
}

/// What the worker picks for an exchange.
pub(super) fn pick_of(worker: &mut WorkerBalancer, exchange: &ExchangeAtHand) -> Option<u32> {
    let picked = worker.pick(exchange, &attempt(1))?;
    Some(picked.index)
}

/// As [`pick`], with what is handed back when the attempt ends.
pub(super) fn picked(worker: &mut WorkerBalancer, lease: u64) -> Option<Picked> {
    worker.pick(&exchange(0b111), &attempt(lease))
}

/// Runs `act`, and returns what this thread logged meanwhile.
pub(super) fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(lines.0.lock().clone()).unwrap()
}
