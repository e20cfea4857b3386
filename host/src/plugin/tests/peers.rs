//! An exchange, a fleet and a log to look into.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::http::variable::{Variable, VariableSource};
use crate::plugin::{
    Balancer, EndpointView, ExchangeContext, FleetView, Pick, Picked, Plugin, PolicyContext,
    WorkerBalancer,
};

/// Endpoints `0` to `n - 1`; endpoint `i` has `i` attempts in progress, a latency of `100 * i`
/// microseconds and a `fail_timeout` of `10 * i` seconds.
pub(super) struct Endpoints(pub(super) u32);

impl FleetView for Endpoints {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |index| EndpointView {
            server: format!("server-{index}"),
            address: format!("192.0.2.{index}:80"),
            weight: 1,
            max_fails: 1,
            down: false,
            route: String::new(),
        };
        (0..self.0).map(endpoint).collect()
    }

    fn in_flight(&self, index: u32) -> u32 {
        index
    }

    fn latency_us(&self, index: u32) -> u32 {
        100 * index
    }

    fn fail_timeout(&self, index: u32) -> u64 {
        10 * u64::from(index)
    }

    fn len(&self) -> u32 {
        self.0
    }
}

/// A request for `GET /path?user=2`, from 192.0.2.7, with `x-shard: 1` and the cookie `shard=2`.
#[derive(Default)]
pub(super) struct Request {
    pub(super) candidates: RefCell<Vec<u64>>,
    pub(super) memo: Cell<u64>,
    pub(super) added: RefCell<Vec<(String, Vec<u8>)>>,
}

impl VariableSource for Request {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let known = *variable == Variable::parse("arg_user").unwrap();
        if known {
            out.push(b'2');
        }
        known
    }
}

impl ExchangeContext for Request {
    fn candidates(&self, word: u32) -> u64 {
        self.candidates
            .borrow()
            .get(word as usize)
            .copied()
            .unwrap_or(0)
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/path"
    }

    fn query(&self) -> &str {
        "user=2"
    }

    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8])) {
        if name.eq_ignore_ascii_case("x-shard") {
            each(b"1");
            each(b"ignored");
        }
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        (name == "shard").then_some(b"2")
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 7).into())
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

    fn response_status(&self) -> u16 {
        204
    }

    fn response_header(&self, _: &str, each: &mut dyn FnMut(&[u8])) {
        each(b"value");
    }
}

/// An exchange in which the endpoints of `bits` are candidates.
pub(super) fn exchange(bits: u64) -> Rc<dyn ExchangeContext> {
    Rc::new(Request {
        candidates: RefCell::new(vec![bits]),
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
    let fallback = super::guests::runtime()
        .stock("round_robin")
        .unwrap()
        .unwrap();
    with_fallback(policy, fallback)
}

pub(super) fn with_fallback(policy: &Plugin, fallback: Plugin) -> Arc<Balancer> {
    configured(policy, &json!({}), fallback)
}

pub(super) fn configured(policy: &Plugin, settings: &Value, fallback: Plugin) -> Arc<Balancer> {
    let fleet = Arc::new(Endpoints(3));
    Arc::new(
        Balancer::new(
            policy.clone(),
            settings,
            fallback,
            fleet,
            PolicyContext::default(),
        )
        .unwrap(),
    )
}

/// What the worker picks for a fresh exchange in which all three endpoints are candidates.
pub(super) fn pick(worker: &mut WorkerBalancer, lease: u64) -> Option<u32> {
    picked(worker, lease).map(|picked| picked.index)
}

/// What the worker picks for an exchange.
pub(super) fn pick_of(
    worker: &mut WorkerBalancer,
    exchange: &Rc<dyn ExchangeContext>,
) -> Option<u32> {
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
