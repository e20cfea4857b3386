//! A policy that is slow, but never too slow, takes its share of a worker's time and no more; and
//! workers never wait for long for one that they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::config::model::PluginLimits;
use crate::plugin::{
    Balancer, BalancerParts, Ending, EndpointView, FleetView, Outcome, Plugin, PluginEventKind,
    PluginOptions, PolicyContext, ServerView,
};

use super::guests::{Guest, PROCESS, options, round_robin, runtime};
use super::peers::{Endpoints, balancer, exchange, logged, parts, pick, picked};

/// So many turns of a loop that does nothing.
macro_rules! spin {
    ($turns:literal) => {
        concat!(
            "(local $turn i32) (loop $again (br_if $again (i32.lt_u (local.tee $turn (i32.add ",
            "(local.get $turn) (i32.const 1))) (i32.const ",
            $turns,
            "))))"
        )
    };
}

/// Loaded with a deadline of 5 seconds.
fn load(guest: &Guest, budget: u32) -> Plugin {
    let options = PluginOptions {
        limits: PluginLimits {
            deadline: Some(std::time::Duration::from_secs(5)),
            ..options().limits
        },
        budget: Some(budget),
        ..options()
    };
    let name = format!("budget-{budget}");
    runtime().load(&name, 1, &guest.module(), &options).unwrap()
}

/// Thinks for some milliseconds, then takes the last of three.
fn thinks() -> Guest {
    Guest::picks(concat!(
        spin!("20000000"),
        "(i32.sub (i32.const 63) (i32.wrap_i64 (i64.clz (local.get $candidates))))"
    ))
}

#[test]
fn a_policy_that_has_used_up_its_budget_leaves_picks_to_the_fallback() {
    // A thread that gets little of a busy machine uses more than that as well.
    let policy = load(&thinks(), 1);
    let mut worker = balancer(&policy).attach(None);
    let mut picks = Vec::new();
    let log = logged(|| picks.extend((1..200).map(|lease| pick(&mut worker, lease).unwrap())));
    assert_eq!(picks[0], 2, "the policy answers at first");
    assert!(
        picks.contains(&0),
        "then the fallback, which takes turns: {picks:?}"
    );
    let told = "plugin `budget-1` has used up its budget of 1% of a worker's time";
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(policy.is_over_budget());
    let events = policy.history().events();
    let event = events
        .iter()
        .find(|event| event.kind == PluginEventKind::OverBudget);
    assert!(event.is_some_and(|event| event.version == 1), "{events:?}");
    drop(worker);
    let stats = policy.stats();
    assert_eq!(stats.calls + stats.over_budget, 199);
    assert!(stats.over_budget > 0, "{stats:?}");
}

#[test]
fn a_policy_without_a_budget_is_asked_every_time() {
    let policy = load(&thinks(), 100);
    let mut worker = balancer(&policy).attach(None);
    for lease in 1..60 {
        assert_eq!(pick(&mut worker, lease), Some(2));
    }
    assert_eq!((policy.stats().calls, policy.stats().over_budget), (59, 0));
}

/// Three endpoints. Asking for what the first has in progress is how a plugin says that it waits;
/// what it has in progress is how it is told to go on.
#[derive(Default)]
struct Gate {
    waits: AtomicBool,
    open: AtomicBool,
}

impl FleetView for Gate {
    fn endpoints(&self) -> Vec<EndpointView> {
        Endpoints(self.len()).endpoints()
    }

    fn in_flight(&self, _index: u32) -> u32 {
        self.waits.store(true, Relaxed);
        self.open.load(Relaxed).into()
    }

    fn latency_us(&self, _index: u32) -> u32 {
        0
    }

    fn health(&self, _: u32) -> u32 {
        100
    }

    fn server(&self, _index: u32) -> Option<ServerView<'_>> {
        None
    }

    fn len(&self) -> u32 {
        3
    }
}

#[test]
fn an_ending_is_told_later_where_the_shared_instance_is_busy() {
    const OUTCOME: Outcome = Outcome {
        ending: Ending::Completed,
        status: 200,
        connect_us: 0,
        header_us: 0,
        total_us: 0,
    };
    // Hears of the end of lease 1 for as long as the gate is closed.
    let guest = Guest {
        configured: PROCESS,
        more: concat!(
            r#"(import "waypost:plugin/fleet@0.2.0" "in-flight"
                 (func $in-flight (param i32) (result i32)))
               (func (export "waypost:plugin/observer@0.2.0#done")
                 (param $lease i64) (param $index i32) (param $ending i32) (param $status i32)
                 (param $connect i32) (param $header i32) (param $total i32)"#,
            "(if (i64.ne (local.get $lease) (i64.const 1)) (then return))",
            "(loop $again (br_if $again (i32.eqz (call $in-flight (i32.const 0))))))"
        ),
        worlds: &["with-observer"],
        ..Guest::default()
    };
    let policy = load(&guest, 99);
    let gate = Arc::new(Gate::default());
    let parts = BalancerParts {
        fallback: Some(round_robin()),
        ..parts(&policy)
    };
    let balancer = Balancer::new(parts, gate.clone(), &PolicyContext::default());
    let balancer = Arc::new(balancer.unwrap());
    std::thread::scope(|scope| {
        let mut other = balancer.attach(None);
        let answer = picked(&mut other, 2).unwrap();
        assert_eq!(answer.index, 2);
        let one = scope.spawn(|| {
            let mut one = balancer.attach(None);
            let answer = picked(&mut one, 1).unwrap();
            assert_eq!(answer.index, 2);
            one.done(&exchange(0b111), answer, &OUTCOME);
        });
        while !gate.waits.load(Relaxed) {
            std::thread::yield_now(); // until the other worker is in `done`
        }
        other.done(&exchange(0b111), answer, &OUTCOME);
        assert!(!one.is_finished(), "it waited for the other worker");
        assert_eq!(policy.stats().calls, 3);
        gate.open.store(true, Relaxed);
        one.join().unwrap();
        pick(&mut other, 3);
        assert_eq!(policy.stats().calls, 5, "the ending, and a choice");
    });
}
