//! What one decision costs: a pick of a stock policy over 3, 32 and 1,000 endpoints, all of the
//! host's part included.
//!
//! `cargo bench -p waypost --bench policy_call [policy...]` prints nanoseconds per pick; without
//! arguments for every stock policy, and for a call with and without limits beside them. Plain
//! timing, the best of several rounds: what disturbs a round only adds to it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use waypost::http::variable::{Variable, VariableSource};
use waypost::plugin::{
    Balancer, Compiler, EndpointView, ExchangeContext, FleetView, Pick, PluginCounters,
    PolicyContext, Runtime,
};

/// The proxy's own allocator, as it counts for policies that read strings.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: u32 = 15;
const PICKS: u64 = 20_000;

struct Endpoints(u32);

impl FleetView for Endpoints {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |index| EndpointView {
            server: format!("server-{index}:80"),
            address: format!("10.0.{}.{}:80", index / 256, index % 256),
            weight: 1 + index % 3,
            max_fails: 1,
            down: false,
            route: String::new(),
        };
        (0..self.0).map(endpoint).collect()
    }

    fn in_flight(&self, index: u32) -> u32 {
        index % 7
    }

    fn latency_us(&self, index: u32) -> u32 {
        index
    }

    fn fail_timeout(&self, _: u32) -> u64 {
        10
    }

    fn len(&self) -> u32 {
        self.0
    }
}

/// A request in which every one of so many endpoints is a candidate.
struct Request(u32);

impl VariableSource for Request {
    fn append(&self, _: &Variable, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"/some/path?with=query");
        true
    }
}

impl ExchangeContext for Request {
    fn candidates(&self, word: u32) -> u64 {
        match self.0.saturating_sub(64 * word) {
            0 => 0,
            bits @ 1..64 => (1 << bits) - 1,
            _ => u64::MAX,
        }
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn path(&self) -> &str {
        "/some/path"
    }

    fn query(&self) -> &str {
        "with=query"
    }

    fn request_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 7).into())
    }

    fn memo(&self) -> u64 {
        0
    }

    fn set_memo(&self, _: u64) {}

    fn forget_response_headers(&self) {}

    fn add_response_header(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn response_status(&self) -> u16 {
        0
    }

    fn response_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}
}

#[allow(clippy::unwrap_used, reason = "a benchmark reports by panicking")]
fn main() {
    let runtime = Runtime::new(Compiler::Here).unwrap();
    // Cargo passes `--bench`.
    let mut policies: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if policies.is_empty() {
        for limited in [false, true] {
            let with = if limited { "with" } else { "without" };
            println!("a call {with} limits: {:.1} ns", bare_call(limited));
        }
        policies = waypost::stock::NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
    }
    let fallback = runtime.stock("round_robin").unwrap().unwrap();
    println!("{:<14} {:>10} {:>10}", "policy", "endpoints", "ns/pick");
    for name in policies {
        let Some(policy) = runtime.stock(&name).unwrap() else {
            println!("{name:<14} is no stock policy");
            continue;
        };
        let settings = match &*name {
            "hash" | "maglev" | "bounded_hash" => json!({ "key": "$request_uri" }),
            "subset" => json!({ "key": "$request_uri", "size": 4 }),
            "sticky" => json!({ "cookie": { "name": "route" } }),
            _ => json!({}),
        };
        for endpoints in [3, 32, 1000] {
            let fleet = Arc::new(Endpoints(endpoints));
            let balancer = match Balancer::new(
                policy.clone(),
                &settings,
                fallback.clone(),
                fleet,
                PolicyContext::default(),
            ) {
                Ok(balancer) => Arc::new(balancer),
                Err(error) => {
                    println!("{name:<14} {error}");
                    break;
                }
            };
            println!(
                "{name:<14} {endpoints:>10} {:>10.1}",
                measure(&balancer, endpoints)
            );
            let PluginCounters {
                traps,
                deadlines,
                memory,
                answers,
                ..
            } = policy.stats();
            assert_eq!(
                (traps, deadlines, memory, answers),
                (0, 0, 0, 0),
                "that was the fallback"
            );
        }
    }
}

/// Nanoseconds of a pick, in the fastest round.
fn measure(balancer: &Arc<Balancer>, endpoints: u32) -> f64 {
    let mut worker = balancer.attach(None);
    let exchange: Rc<dyn ExchangeContext> = Rc::new(Request(endpoints));
    let mut random = fastrand::Rng::with_seed(7);
    let mut best = f64::INFINITY;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        for lease in 0..PICKS {
            let lease = u64::from(round) * PICKS + lease;
            let pick = Pick {
                lease,
                attempt: 0,
                now_us: lease,
                random: random.u64(..),
            };
            black_box(worker.pick(&exchange, black_box(&pick)));
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / PICKS as f64);
    }
    best
}

/// Takes the first candidate, by looking at one after the other: a loop, as most policies have one.
const FIRST: &str = r#"
    (component
      (core module $policy
        (func (export "pick") (param i64 i32 i64 i64 i64) (result i32) (local $index i32)
          (block $found
            (loop $next
              (br_if $found (i32.wrap_i64 (i64.and (local.get 4) (i64.const 1))))
              (local.set 4 (i64.shr_u (local.get 4) (i64.const 1)))
              (local.set $index (i32.add (local.get $index) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $index) (i32.const 64)))))
          (local.get $index)))
      (core instance $instance (instantiate $policy))
      (func (export "pick")
        (param "lease" u64) (param "attempt" u32) (param "now-us" u64) (param "random" u64) (param "candidates" u64)
        (result u32)
        (canon lift (core func $instance "pick"))))"#;

type FirstPick = wasmtime::component::TypedFunc<(u64, u32, u64, u64, u64), (u32,)>;

/// Nanoseconds of a call in the engine alone, in the fastest round: with the deadline and the
/// bounds that plugins have, or with none.
#[allow(clippy::unwrap_used, reason = "a benchmark reports by panicking")]
fn bare_call(limited: bool) -> f64 {
    use wasmtime::component::{Component, Linker};
    use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline};

    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(limited)
        .max_wasm_stack(256 << 10);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, wat::parse_str(FIRST).unwrap()).unwrap();
    let limits = StoreLimitsBuilder::new().memory_size(16 << 20).build();
    let mut store: Store<StoreLimits> = Store::new(&engine, limits);
    if limited {
        store.limiter(|limits| limits);
        store.set_hostcall_fuel(1 << 20);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Interrupt));
        store.set_epoch_deadline(1);
    }
    let instance = Linker::new(&engine).instantiate(&mut store, &component);
    let instance = instance.unwrap();
    let pick: FirstPick = instance.get_typed_func(&mut store, "pick").unwrap();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for lease in 0..PICKS {
            if limited {
                store.set_epoch_deadline(1);
            }
            let picked = pick.call(&mut store, black_box((lease, 0, lease, lease, 0b1000)));
            assert_eq!(black_box(picked.unwrap()), (3,));
        }
        best = best.min(begun.elapsed().as_nanos() as f64 / PICKS as f64);
    }
    best
}
