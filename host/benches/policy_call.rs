//! What one decision costs: a pick of a stock policy over 3, 32 and 1,000 endpoints, and a call of a
//! hook, all of the host's part included.
//!
//! `cargo bench -p waypost --bench policy_call [policy...]` prints nanoseconds per call; without
//! arguments for every stock policy, for hooks that do next to nothing, and for a call with and
//! without limits beside them. Plain timing, the best of several rounds: what disturbs a round only
//! adds to it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use waypost::http::variable::{Variable, VariableSource};
use waypost::plugin::{
    AttemptFacts, Balancer, BalancerParts, Compiler, EndpointView, ExchangeAtHand, ExchangeContext,
    FleetView, HookCall, HookContext, HttpVersion, Pick, Plugin, PluginCounters, PluginOptions,
    PolicyContext, Runtime, ServerView, SharedHook, UpstreamTraits, WorkerHook,
};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The proxy's own allocator, as it counts for policies that read strings.
#[global_allocator]
static ALLOCATOR: waypost::Allocator = waypost::Allocator;

const ROUNDS: u32 = 15;
const PICKS: u64 = 20_000;

/// The names of the endpoints.
struct Endpoints(Vec<String>);

impl Endpoints {
    fn new(number: u32) -> Endpoints {
        Endpoints(
            (0..number)
                .map(|index| format!("server-{index}:80"))
                .collect(),
        )
    }
}

impl FleetView for Endpoints {
    fn endpoints(&self) -> Vec<EndpointView> {
        let endpoint = |index: u32| EndpointView {
            id: u64::from(index) << 32 | 7,
            address: format!("10.0.{}.{}:80", index / 256, index % 256),
            weight: 1 + index % 3,
        };
        (0..self.len()).map(endpoint).collect()
    }

    fn server(&self, index: u32) -> Option<ServerView<'_>> {
        self.0.get(index as usize).map(|name| ServerView {
            name,
            down: false,
            labels: &[],
            max_fails: 1,
            fail_timeout: 10,
            route: "",
        })
    }

    fn in_flight(&self, index: u32) -> u32 {
        index % 7
    }

    fn latency_us(&self, index: u32) -> u32 {
        index
    }

    fn health(&self, _: u32) -> u32 {
        100
    }

    fn len(&self) -> u32 {
        self.0.len() as u32
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

    fn narrow(&self, _: Option<&[u64]>) {}

    fn method(&self) -> &str {
        "GET"
    }

    fn authority(&self) -> &[u8] {
        b"shop.example"
    }

    fn path(&self) -> &str {
        "/some/path"
    }

    fn query(&self) -> &str {
        "with=query"
    }

    fn scheme(&self) -> &str {
        "http"
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http11
    }

    fn request_header(&self, _: &str, each: &mut dyn FnMut(&[u8])) {
        each(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0");
    }

    fn request_headers(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client_address(&self) -> Option<IpAddr> {
        Some(Ipv4Addr::new(192, 0, 2, 7).into())
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        None
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

    fn attempt_facts(&self) -> AttemptFacts {
        AttemptFacts::default()
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
        false
    }

    fn log_context(&self) -> String {
        String::new()
    }
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
        for (what, text, on_request) in HOOKS {
            let plugin = written(&runtime, text, on_request);
            let cost = hook_call(plugin, &json!({}), &json!({}));
            println!("a hook that {what}: {cost:.1} ns");
        }
        for (name, shared, place) in stock_hooks() {
            let plugin = runtime.stock(name).unwrap().unwrap();
            println!("{name}: {:.1} ns", hook_call(plugin, &shared, &place));
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
            let fleet = Arc::new(Endpoints::new(endpoints));
            let parts = BalancerParts {
                policy: policy.clone(),
                settings: &settings,
                filters: &[],
                scorers: &[],
                fallback: Some(fallback.clone()),
            };
            let balancer = match Balancer::new(parts, fleet, &PolicyContext::default()) {
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
    let exchange: ExchangeAtHand = Rc::new(Request(endpoints));
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

/// Hooks: what they do, what they import, and the body of `on-request`.
const HOOKS: &[(&str, &str, &str)] = &[
    ("does nothing", "", "(i32.const 0)"),
    (
        "reads a header",
        r#"(import "waypost:plugin/request@0.2.0" "header" (func $header (param i32 i32 i32)))"#,
        "(call $header (i32.const 512) (i32.const 10) (i32.const 2048)) (i32.const 0)",
    ),
    (
        "sets a response header",
        r#"(import "waypost:plugin/changes@0.2.0" "set-response-header"
             (func $set (param i32 i32 i32 i32) (result i32)))"#,
        "(drop (call $set (i32.const 512) (i32.const 10) (i32.const 512) (i32.const 10)))
         (i32.const 0)",
    ),
    (
        "adds to a counter of the store",
        r#"(import "waypost:plugin/store@0.2.0" "add"
             (func $add (param i32 i32 i64 i64 i32)))"#,
        "(call $add (i32.const 512) (i32.const 10) (i64.const 1) (i64.const 60000) (i32.const 2048))
         (i32.const 0)",
    ),
    (
        "pours into a bucket of the store",
        r#"(import "waypost:plugin/store@0.2.0" "fill"
             (func $fill (param i32 i32 i64 i64 i64 i32)))"#,
        "(call $fill (i32.const 512) (i32.const 10) (i64.const 1) (i64.const 1000000)
                     (i64.const 1000000) (i32.const 2048))
         (i32.const 0)",
    ),
];

/// Stock hooks, with what is shared of their settings, and what is one place's.
fn stock_hooks() -> [(&'static str, Value, Value); 6] {
    let rules = ["deny 10.0.0.1", "allow 192.0.2.0/24", "deny all"];
    let parts = json!([{ "share": "10%", "value": "b" }, { "share": "*", "value": "a" }]);
    let zone = json!({ "key": "$binary_remote_addr", "rate": "1000000r/s" });
    [
        ("access", json!({}), json!({ "rules": rules })),
        (
            "limit_req",
            zone,
            json!({ "burst": 1_000_000, "nodelay": true }),
        ),
        (
            "cors",
            json!({ "origins": ["https://app.example"] }),
            json!({}),
        ),
        (
            "split",
            json!({ "key": "$remote_addr", "parts": parts }),
            json!({}),
        ),
        ("request_id", json!({}), json!({})),
        (
            "rewrite",
            json!({ "rules": ["^/other/(.*)$ /new/$1"] }),
            json!({}),
        ),
    ]
}

/// A hook of so many lines.
#[allow(clippy::unwrap_used, reason = "a benchmark reports by panicking")]
fn written(runtime: &Runtime, imports: &str, on_request: &str) -> Plugin {
    let text = format!(
        r#"(module {imports}
          (memory (export "memory") 1)
          (data (i32.const 512) "user-agent")
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
          (func (export "waypost:plugin/plugin@0.2.0#configure") (param i32 i32 i32) (result i32)
            (i32.const 1024))
          (func (export "waypost:plugin/hook@0.2.0#attach") (param i32 i32 i32) (result i32)
            (i32.const 1024))
          (func (export "waypost:plugin/on-request@0.2.0#on-request")
            (param i64 i32 i64 i64) (result i32) {on_request}))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/0.2.0");
    let (package, _) = resolve.push_path(wit).unwrap();
    for world in ["request-hook", "with-on-request"] {
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        let encoding = StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
    }
    let plugin = runtime.load("hook", 1, &module, &PluginOptions::stock());
    plugin.unwrap()
}

/// Nanoseconds of a hook's `on-request`, in the fastest round.
#[allow(clippy::unwrap_used, reason = "a benchmark reports by panicking")]
fn hook_call(plugin: Plugin, settings: &Value, place: &Value) -> f64 {
    let context = HookContext {
        places: &[place],
        traits: UpstreamTraits::default(),
        directory: Path::new("."),
        variables: &Arc::default(),
        destinations: &Arc::default(),
        workers: 1,
    };
    let hook = SharedHook::new("hook", plugin, settings, &context).unwrap();
    let worker = WorkerHook::attach(&Arc::new(hook), None);
    let exchange: ExchangeAtHand = Rc::new(Request(3));
    let mut best = f64::INFINITY;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        for number in 0..PICKS {
            let call = HookCall {
                exchange: u64::from(round) * PICKS + number,
                place: 0,
                now_us: number,
            };
            let asked = worker.on_request(&exchange, black_box(&call));
            assert!(black_box(asked).is_some());
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
