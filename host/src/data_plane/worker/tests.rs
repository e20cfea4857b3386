//! What a worker does in one turn of its event loop when its configuration changes: as much with a
//! thousand upstreams as with a hundred, since no request is served meanwhile.
//!
//! Work is counted, not timed: by what is allocated and freed, which neither the machine nor its
//! load changes. Others count here as well.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::*;
use crate::access_log::AccessLogs;
use crate::config::model::Config;
use crate::data_plane::process::{ConnectionBounds, Process};
use crate::data_plane::scrapes::Scrapes;
use crate::data_plane::upstream::{Previous, Upstream};
use crate::data_plane::wanted::tests_wanted;
use crate::data_plane::worker_config::{ListenerId, Router, SnapshotMetrics, index_by_name};
use crate::metrics::Registry;
use crate::names::Resolution;
use crate::plugin::{Balancer, BalancerParts, Compiler, PolicyContext, Runtime};

/// The system's allocator; counts what the present thread asks of it.
struct Counting;

/// How often this thread has allocated and freed.
pub(in crate::data_plane) fn allocator_calls() -> u64 {
    CALLS.get()
}

/// Bytes that this thread has allocated and not freed; what it has freed for others is taken off.
pub(in crate::data_plane) fn allocated_bytes() -> i64 {
    BYTES.get()
}

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(more: usize, less: usize) {
    // A thread that ends frees its locals, these among them.
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
    let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + more as i64 - less as i64));
}

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; every call is passed on as it is"
)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that one turn did.
#[derive(Clone, Default)]
struct Busiest(Rc<Cell<u64>>);

impl Busiest {
    fn turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = CALLS.get();
        let done = work();
        self.0.set(self.0.get().max(CALLS.get() - before));
        done
    }

    fn of<F: Future>(&self, future: F) -> Turns<F> {
        Turns {
            future: Box::pin(future),
            busiest: self.clone(),
        }
    }
}

/// A future each poll of which is a turn.
struct Turns<F> {
    future: Pin<Box<F>>,
    busiest: Busiest,
}

impl<F: Future> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let busiest = self.busiest.clone();
        busiest.turn(|| self.future.as_mut().poll(cx))
    }
}

/// Builds snapshots as the control plane does.
pub(in crate::data_plane) struct Builder {
    runtime: Arc<Runtime>,
    generation: u64,
    /// Held, so that no worker is the last to do so.
    built: Vec<Arc<Snapshot>>,
}

impl Builder {
    pub(in crate::data_plane) fn new() -> Builder {
        Builder {
            runtime: Runtime::new(Compiler::Here).unwrap(),
            generation: 0,
            built: Vec::new(),
        }
    }

    /// A configuration of so many upstreams, each with a server of this weight.
    fn build(&mut self, upstreams: usize, weight: u32) -> Arc<Snapshot> {
        let listener = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
        let upstream = |index| {
            format!(
                "[upstream.u{index}]\npolicy = {{ plugin = \"hash\", key = \"$uri\" }}\n\
                 servers = [{{ address = \"127.0.0.1:1\", weight = {weight} }}]\n\
                 [[route]]\npath = \"/{index}/\"\nproxy = \"u{index}\"\n"
            )
        };
        let upstreams: String = (0..upstreams).map(upstream).collect();
        let rest = "[[route]]\nreturn = { status = 200 }\n";
        self.snapshot(&format!("{listener}{upstreams}{rest}"))
    }

    /// That of a configuration with one listener.
    pub(in crate::data_plane) fn snapshot(&mut self, text: &str) -> Arc<Snapshot> {
        let config = crate::config::parse(text, Path::new("test.toml")).unwrap();
        let previous = self.built.last();
        let upstreams = config.upstreams.iter();
        let upstreams: Vec<_> = upstreams
            .map(|upstream| {
                let before = previous.and_then(|previous| previous.upstream(&upstream.name));
                match before {
                    Some(same) if same.config.means_the_same_as(upstream) => same.clone(),
                    changed => self.upstream(&config, &upstream.name, changed),
                }
            })
            .collect();
        self.generation += 1;
        let snapshot = Arc::new(Snapshot {
            generation: self.generation,
            listeners: vec![ListenerId(1)],
            admin_tls: None,
            tls: vec![None],
            routers: Router::of_listeners(&config.routes, 1).into(),
            by_name: index_by_name(&upstreams).into(),
            upstreams,
            listener_logs: vec![Vec::new()],
            route_logs: config.routes.iter().map(|_| None).collect(),
            stream_logs: Vec::new(),
            hooks: Vec::new(),
            components: Vec::new(),
            trials: Default::default(),
            page_files: Arc::default(),
            shows_notes: false,
            traces: None,
            metrics: SnapshotMetrics::new(&config, &Registry::uncounted().into(), None),
            logs_sent_header: false,
            config,
        });
        self.built.push(snapshot.clone());
        snapshot
    }

    fn upstream(
        &self,
        config: &Config,
        name: &str,
        previous: Option<&Arc<Upstream>>,
    ) -> Arc<Upstream> {
        let mut upstreams = config.upstreams.iter();
        let own = upstreams.find(|named| named.name == name).unwrap();
        let addresses = vec![Resolution::default().addresses(&own.servers[0])];
        let previous = previous.map(|upstream| Previous {
            upstream,
            continues: false,
        });
        let registry = Registry::uncounted();
        let metrics = registry.upstream(name, false);
        let built = Upstream::new(
            own.clone(),
            addresses,
            None,
            previous,
            &metrics,
            |fleet, _| {
                let stock = |name| self.runtime.stock(name).unwrap().unwrap();
                let parts = BalancerParts {
                    policy: stock(&own.policy.plugin),
                    settings: &own.policy.settings,
                    filters: &[],
                    scorers: &[],
                    fallback: Some(stock("round_robin")),
                };
                let context = PolicyContext {
                    generation: self.generation,
                    ..PolicyContext::default()
                };
                Balancer::new(parts, fleet, &context)
            },
        );
        Arc::new(built.unwrap())
    }
}

/// A process of one worker.
pub(in crate::data_plane) fn process() -> Arc<Process> {
    let bounds = ConnectionBounds {
        clients: 1,
        descriptors: 1000,
    };
    Arc::new(Process::new(
        bounds,
        1,
        "host".into(),
        (tests_wanted(), Scrapes::new().0),
    ))
}

/// The busiest turn while a worker changes over from one configuration to another, each given by
/// its number of upstreams and their weight, and while the first one is freed because its last
/// exchange ends.
fn busiest_turn(before: (usize, u32), after: (usize, u32)) -> u64 {
    let mut builder = Builder::new();
    let before = builder.build(before.0, before.1);
    let after = builder.build(after.0, after.1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async move {
        let process = process();
        let logs = AccessLogs::start().unwrap();
        let (first, busiest) = (Arc::downgrade(&before), Busiest::default());
        let worker = busiest.of(Worker::new(0, before, process, logs.buffers()));
        let worker = Rc::new(worker.await);
        let retired = worker.retired.clone();
        tokio::task::spawn_local(busiest.of(async move { retired.free().await }));
        let exchange = worker.worker_config();
        let left: Vec<_> = exchange.upstreams.iter().map(Rc::downgrade).collect();
        busiest.of(worker.serve(after)).await;
        busiest.turn(|| drop(exchange));
        let served = worker.worker_config();
        let is_served = |upstream: &std::rc::Weak<_>| {
            let upstream = upstream.upgrade();
            upstream.is_some_and(|upstream| {
                let mut served = served.upstreams.iter();
                served.any(|served| Rc::ptr_eq(served, &upstream))
            })
        };
        while left
            .iter()
            .any(|upstream| upstream.strong_count() > 0 && !is_served(upstream))
        {
            tokio::task::yield_now().await;
        }
        drop(builder);
        assert_eq!(first.strong_count(), 0, "the worker no longer holds it");
        busiest.0.get()
    })
}

#[track_caller]
fn assert_as_busy_with_a_thousand(change: impl Fn(usize) -> ((usize, u32), (usize, u32))) {
    let of = |upstreams| {
        let (before, after) = change(upstreams);
        busiest_turn(before, after)
    };
    let (few, many) = (of(100), of(1000));
    // Twice: tables that grow, and the allocator's own bookkeeping of what is new.
    assert!(
        many <= 2 * few,
        "{few} calls of the allocator with 100 upstreams, {many} with 1000"
    );
}

#[test]
fn a_turn_has_as_much_to_do_when_a_thousand_upstreams_change_as_when_a_hundred_do() {
    assert_as_busy_with_a_thousand(|upstreams| ((upstreams, 1), (upstreams, 2)));
}

#[test]
fn a_turn_has_as_much_to_do_when_a_thousand_upstreams_stay_as_when_a_hundred_do() {
    assert_as_busy_with_a_thousand(|upstreams| ((upstreams, 1), (upstreams, 1)));
}

#[test]
fn a_turn_has_as_much_to_do_when_a_thousand_upstreams_go_as_when_a_hundred_do() {
    assert_as_busy_with_a_thousand(|upstreams| ((upstreams, 1), (1, 2)));
}
