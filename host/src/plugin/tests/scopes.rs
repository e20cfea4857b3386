//! One instance per worker, or one for the process.

use super::guests::{Guest, Is, PROCESS, WORKER};
use super::peers::{balancer, pick};

/// Takes turns, beginning with the endpoint 0.
fn turns(configured: &'static str) -> Guest {
    Guest {
        more: "(global $next (mut i32) (i32.const -1))",
        is: Is::Policy(
            "(global.set $next (i32.rem_u (i32.add (global.get $next) (i32.const 1)) (i32.const 3))) (global.get $next)",
        ),
        configured,
        ..Guest::default()
    }
}

#[test]
fn workers_share_the_instance_of_a_policy_that_asks_for_one() {
    let balancer = balancer(&turns(PROCESS).load());
    let (mut one, mut other) = (balancer.attach(None), balancer.attach(None));
    let picks = [
        pick(&mut one, 1),
        pick(&mut other, 1),
        pick(&mut one, 2),
        pick(&mut other, 2),
    ];
    assert_eq!(picks, [Some(0), Some(1), Some(2), Some(0)]);
}

#[test]
fn workers_have_instances_of_their_own_otherwise() {
    let balancer = balancer(&turns(WORKER).load());
    let (mut one, mut other) = (balancer.attach(None), balancer.attach(None));
    let picks = [
        pick(&mut one, 1),
        pick(&mut other, 1),
        pick(&mut one, 2),
        pick(&mut other, 2),
    ];
    assert_eq!(picks, [Some(0), Some(0), Some(1), Some(1)]);
}

#[test]
fn turns_stay_exact_when_workers_race() {
    let balancer = balancer(&turns(PROCESS).load());
    let mut counts = [0; 3];
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut worker = balancer.attach(None);
                    (0..300)
                        .map(|lease| pick(&mut worker, lease).unwrap())
                        .collect::<Vec<u32>>()
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap()
                .into_iter()
                .for_each(|index| counts[index as usize] += 1);
        }
    });
    assert_eq!(counts, [300, 300, 300]);
}
