//! A policy that takes other endpoints in place is told of them once, before a call that needs them,
//! whichever worker makes it; and what began under other endpoints goes on at the same instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::plugin::{
    Balancer, Ending, EndpointView, FleetView, Outcome, Plugin, PolicyContext, ServerView,
    WorkerBalancer, deliver_late_reports,
};

use super::guests::{Guest, Is, PROCESS, WORKER};
use super::peers::{attempt, exchange, parts};

const OUTCOME: Outcome = Outcome {
    ending: Ending::Completed,
    status: 200,
    connect_us: 10,
    header_us: 20,
    total_us: 30,
};

/// Endpoints at these indexes, in this order; the others below `places` are gone.
#[derive(Default)]
struct Fleet {
    order: Vec<u32>,
    places: u32,
    /// Instances that were made for it.
    made: AtomicU32,
}

impl Fleet {
    fn view(&self, index: u32) -> EndpointView {
        EndpointView {
            id: u64::from(index),
            address: match self.order.contains(&index) {
                true => format!("192.0.2.{index}:80"),
                false => String::new(),
            },
            weight: 1,
        }
    }
}

impl FleetView for Fleet {
    fn endpoints(&self) -> Vec<EndpointView> {
        self.made.fetch_add(1, Relaxed);
        (0..self.places).map(|index| self.view(index)).collect()
    }

    fn members(&self) -> Vec<(u32, EndpointView)> {
        let members = self.order.iter();
        members.map(|&index| (index, self.view(index))).collect()
    }

    fn server(&self, _: u32) -> Option<ServerView<'_>> {
        None
    }

    fn in_flight(&self, _: u32) -> u32 {
        0
    }

    fn latency_us(&self, _: u32) -> u32 {
        0
    }

    fn health(&self, _: u32) -> u32 {
        100
    }

    fn len(&self) -> u32 {
        self.places
    }
}

/// How often it was told of endpoints, of ends and of failures.
const CHANGES: u64 = 100;
const ENDS: u64 = 101;
const FAILURES: u64 = 102;
/// The first of the endpoints that it was told of.
const FIRST: u64 = 103;
const TRAP: u64 = 104;

/// Answers with what the lease asks for: one of the above, else the last candidate. Traps if it is
/// told of an older list, of more than eight endpoints, or of a failure of one that it does not
/// know, or is asked for a trap.
fn roster(sharing: &'static str) -> Plugin {
    Guest {
        more: r#"
            (global $generation (mut i64) (i64.const 0))
            (global $known (mut i32) (i32.const 3))
            (global $first (mut i32) (i32.const 0))
            (global $changes (mut i32) (i32.const 0))
            (global $ends (mut i32) (i32.const 0))
            (global $failures (mut i32) (i32.const 0))
            (func (export "waypost:plugin/member-changes@0.2.0#change")
                (param $now i64) (param $list i32) (param $count i32) (local $next i32)
              (if (i64.lt_u (local.get $now) (global.get $generation)) (then unreachable))
              (if (i32.gt_u (local.get $count) (i32.const 8)) (then unreachable))
              (global.set $generation (local.get $now))
              (global.set $changes (i32.add (global.get $changes) (i32.const 1)))
              (global.set $first (i32.load (local.get $list)))
              (loop $each
                (local.set $next
                  (i32.add (i32.const 1) (i32.load (local.get $list))))
                (if (i32.gt_u (local.get $next) (global.get $known))
                  (then (global.set $known (local.get $next))))
                (local.set $list (i32.add (local.get $list) (i32.const 32)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br_if $each (local.get $count))))
            (func (export "waypost:plugin/observer@0.2.0#done")
                (param i64 i32 i32 i32 i32 i32 i32)
              (global.set $ends (i32.add (global.get $ends) (i32.const 1))))
            (func (export "waypost:plugin/failures@0.2.0#failed") (param $index i32)
              (if (i32.ge_u (local.get $index) (global.get $known)) (then unreachable))
              (global.set $failures (i32.add (global.get $failures) (i32.const 1))))"#,
        configured: sharing,
        is: Is::Policy(
            "(if (i64.eq (local.get $lease) (i64.const 100))
               (then (return (global.get $changes))))
             (if (i64.eq (local.get $lease) (i64.const 101))
               (then (return (global.get $ends))))
             (if (i64.eq (local.get $lease) (i64.const 102))
               (then (return (global.get $failures))))
             (if (i64.eq (local.get $lease) (i64.const 103))
               (then (return (global.get $first))))
             (if (i64.eq (local.get $lease) (i64.const 104)) (then unreachable))
             (i32.sub (i32.const 63) (i32.wrap_i64 (i64.clz (local.get $candidates))))",
        ),
        worlds: &["with-member-changes", "with-observer", "with-failures"],
        ..Guest::default()
    }
    .load()
}

fn context(generation: u64) -> PolicyContext {
    PolicyContext {
        generation,
        workers: 2,
        ..PolicyContext::default()
    }
}

fn of_three(policy: &Plugin) -> Arc<Balancer> {
    let fleet = Arc::new(Fleet {
        order: vec![0, 1, 2],
        places: 3,
        ..Fleet::default()
    });
    Arc::new(Balancer::new(parts(policy), fleet, &context(1)).unwrap())
}

/// The balancer behind `before`.
fn then(before: &Balancer, generation: u64, order: &[u32], places: u32) -> Arc<Balancer> {
    let fleet = Fleet {
        order: order.to_vec(),
        places,
        ..Fleet::default()
    };
    of_fleet(before, generation, Arc::new(fleet))
}

fn of_fleet(before: &Balancer, generation: u64, fleet: Arc<Fleet>) -> Arc<Balancer> {
    let parts = parts(before.policy());
    let next = Balancer::continuing(before, parts, fleet, &context(generation)).unwrap();
    assert!(next.continues(before));
    Arc::new(next)
}

/// As a worker does it.
fn moved(next: &Arc<Balancer>, mut before: WorkerBalancer) -> (WorkerBalancer, WorkerBalancer) {
    let mut worker = next.attach(Some(&before));
    worker.take_over(&mut before);
    (worker, before)
}

/// What the instance says, which costs it no lease.
fn said(worker: &mut WorkerBalancer, what: u64) -> u32 {
    let all = exchange(u64::MAX);
    worker.pick(&all, &attempt(what)).unwrap().index
}

const EACH_SHARING: [&str; 2] = [WORKER, PROCESS];

#[test]
fn an_instance_is_told_once_of_each_list_whoever_comes_with_it() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let (one, other) = (first.attach(None), first.attach(None));
        let second = then(&first, 2, &[3, 0, 1], 4);
        second.tell_of_endpoints();
        let (mut one, mut before) = moved(&second, one);
        for _ in 0..2 {
            assert_eq!(said(&mut one, CHANGES), 1);
            assert_eq!(
                said(&mut one, FIRST),
                3,
                "in the order of the configuration"
            );
            // What began before asks with the list of then, which is not told again.
            assert_eq!(said(&mut before, CHANGES), 1);
        }
        let (mut other, _before) = moved(&second, other);
        assert_eq!(
            said(&mut other, CHANGES),
            1,
            "its own, or the one that knows"
        );
        assert_eq!(policy.stats().traps, 0);
    }
}

#[test]
fn a_worker_that_comes_late_tells_of_the_newest_list_only() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let worker = first.attach(None);
        let second = then(&first, 2, &[1, 2], 3);
        let third = then(&second, 3, &[2, 3], 4);
        let (mut worker, _before) = moved(&third, worker);
        assert_eq!(said(&mut worker, CHANGES), 1);
        assert_eq!(said(&mut worker, FIRST), 2);
        // One that was replaced begins with an instance that was made ahead, or another one.
        for ready in [true, false] {
            let mut fresh = third.attach(None);
            let told = u32::from(ready || sharing == PROCESS);
            assert_eq!(said(&mut fresh, CHANGES), told, "made ahead: {ready}");
        }
        assert_eq!(policy.stats().traps, 0);
    }
}

#[test]
fn the_end_of_what_began_before_reaches_the_instance_that_picked_once() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let mut worker = first.attach(None);
        let picked = worker.pick(&exchange(0b111), &attempt(1)).unwrap();
        assert_eq!(picked.index, 2);
        let second = then(&first, 2, &[0, 1], 3);
        let third = then(&second, 3, &[1], 3);
        let (worker, mut before) = moved(&second, worker);
        let (mut worker, _second) = moved(&third, worker);
        assert_eq!(said(&mut worker, ENDS), 0);
        before.failed(picked.index);
        before.done(&exchange(0b111), picked, &OUTCOME);
        assert_eq!(said(&mut worker, ENDS), 1);
        assert_eq!(said(&mut worker, FAILURES), 1);
        assert_eq!(policy.stats().traps, 0);
    }
}

#[test]
fn an_instance_knows_each_endpoint_that_it_hears_of() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let before = first.attach(None);
        let second = then(&first, 2, &[0, 1, 2, 3], 4);
        // Not told ahead, and nothing taken over: the report itself has to bring the list.
        let mut worker = second.attach(Some(&before));
        worker.failed(3);
        assert_eq!(policy.stats().traps, 0);
        assert_eq!(said(&mut worker, FAILURES), 1);
    }
}

#[test]
fn a_list_that_was_given_up_does_not_keep_the_next_one_from_being_told() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let before = first.attach(None);
        let (given_up, _) = moved(&then(&first, 2, &[0, 3], 4), first.attach(Some(&before)));
        let (mut worker, _before) = moved(&then(&first, 2, &[2, 1], 3), before);
        assert_eq!(said(&mut worker, FIRST), 2);
        drop(given_up);
    }
}

#[test]
fn one_that_fails_at_a_change_is_replaced_by_one_that_was_made_for_it() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let mut worker = first.attach(None);
        let picked = worker.pick(&exchange(0b111), &attempt(1)).unwrap();
        let second = then(&first, 2, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 9);
        second.tell_of_endpoints();
        let (mut worker, mut before) = moved(&second, worker);
        assert_eq!(policy.stats().traps, 1);
        while worker.pick(&exchange(0b1_0000_0000), &attempt(1)).is_none() {
            assert_eq!(worker.refusal(), Some(503), "as there is no fallback");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(said(&mut worker, CHANGES), 0, "made for the list at hand");
        before.done(&exchange(0b111), picked, &OUTCOME);
        assert_eq!(said(&mut worker, ENDS), 0, "the one that picked is gone");
        assert_eq!(policy.stats().traps, 1);
    }
}

#[test]
fn an_instance_that_is_being_made_for_other_endpoints_is_not_waited_for() {
    for sharing in EACH_SHARING {
        let policy = roster(sharing);
        let first = of_three(&policy);
        let mut worker = first.attach(None);
        assert!(worker.pick(&exchange(0b111), &attempt(TRAP)).is_none());
        // Until the pause after the fault is over: it is no longer than 10 ms.
        std::thread::sleep(Duration::from_millis(20));
        assert!(worker.pick(&exchange(0b111), &attempt(1)).is_none());
        let fleet = Arc::new(Fleet {
            order: vec![3],
            places: 4,
            ..Fleet::default()
        });
        let second = of_fleet(&first, 2, fleet.clone());
        let (mut worker, _before) = moved(&second, worker);
        second.tell_of_endpoints();
        while worker.pick(&exchange(0b1000), &attempt(1)).is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(fleet.made.load(Relaxed), 1);
        assert_eq!(said(&mut worker, CHANGES), 0);
    }
}

#[test]
fn the_end_of_what_began_before_reaches_an_instance_that_was_busy_although_nothing_follows() {
    let policy = roster(PROCESS);
    let first = of_three(&policy);
    let before = first.attach(None);
    let second = then(&first, 2, &[0, 1], 3);
    let (mut worker, mut before) = moved(&second, before);
    let picked = before.pick(&exchange(0b111), &attempt(1)).unwrap();
    {
        let _busy = second.keep_busy();
        before.done(&exchange(0b111), picked, &OUTCOME);
        deliver_late_reports();
    }
    assert_eq!(said(&mut worker, ENDS), 0, "it waits");
    for _ in 0..2 {
        deliver_late_reports();
        assert_eq!(said(&mut worker, ENDS), 1);
    }
}
