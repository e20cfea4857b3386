//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use round_robin::RoundRobin;
use waypost_sdk::testing::{
    Request, Response, Service, Simulated, Traffic, Upstream, damaged, endpoint,
};
use waypost_sdk::{Done, Draws, Ending, Keeper, MemberChanges, Observer, Policy};

use super::Ewma;

const SECOND: u64 = 1_000_000;

/// An attempt at this server that ends so, all others being out.
fn attempt(upstream: &mut Upstream<Ewma>, index: usize, ending: Ending, ms: u32, status: u16) {
    let count = upstream.policy.latencies.len();
    let others = || (0..count).filter(|&other| other != index);
    others().for_each(|other| upstream.rotate_out(other));
    let mut exchange = upstream.exchange(Request::get("/"));
    assert_eq!(exchange.pick(), Some(index));
    exchange.done(index, ending, 1000 * ms, Response::status(status));
    others().for_each(|other| upstream.rotate_in(other));
}

fn measured<const N: usize>(times_ms: [u32; N]) -> Upstream<Ewma> {
    let mut upstream = Upstream::of("{}", N);
    for (index, ms) in times_ms.into_iter().enumerate() {
        attempt(&mut upstream, index, Ending::Completed, ms, 200);
    }
    upstream
}

#[test]
fn of_two_the_quicker_is_chosen_unless_it_is_busier() {
    let mut upstream = measured([300, 90]);
    assert_eq!(upstream.picks(20), [Some(1); 20]);
    upstream.in_flight(1, 3); // 4 times 90 against 300
    assert_eq!(upstream.picks(20), [Some(0); 20]);
}

#[test]
fn the_slowest_of_many_is_never_chosen_of_two_and_the_others_all_are() {
    let mut upstream = measured([20, 20, 20, 900, 20]);
    let shares: [usize; 5] = upstream.shares(1000);
    assert_eq!(shares[3], 0);
    assert!(
        shares.iter().all(|&share| share == 0 || share > 150),
        "{shares:?}"
    );
}

#[test]
fn cost_counts_per_weight() {
    let servers = [3, 1].map(|weight| endpoint(&format!("{weight}.example")).weight(weight));
    let mut upstream = Upstream::<Ewma>::new("{}", servers).unwrap();
    attempt(&mut upstream, 0, Ending::Completed, 200, 200);
    attempt(&mut upstream, 1, Ending::Completed, 90, 200);
    assert_eq!(upstream.picks(20), [Some(0); 20]); // 200/3 against 90
    upstream.in_flight(0, 1);
    assert_eq!(upstream.picks(20), [Some(1); 20]); // 400/3 against 90
}

#[test]
fn one_slow_answer_is_noticed_at_once_and_forgiven_slowly() {
    let mut upstream = measured([20, 40]);
    attempt(&mut upstream, 0, Ending::Completed, 400, 200);
    for _ in 0..100 {
        attempt(&mut upstream, 0, Ending::Completed, 20, 200);
    }
    assert_eq!(upstream.picks(20), [Some(1); 20], "however many good ones");
    // `decay` is 10 seconds: e^-3 of 400 ms, and 20 ms.
    upstream.now_us += 30 * SECOND;
    attempt(&mut upstream, 0, Ending::Completed, 20, 200);
    attempt(&mut upstream, 1, Ending::Completed, 40, 200);
    assert_eq!(upstream.picks(20), [Some(0); 20]);
}

#[test]
fn an_endpoint_that_is_left_alone_is_tried_again_by_one_request_at_a_time() {
    let mut upstream = measured([900, 20]);
    for second in 1..100 {
        upstream.now_us += SECOND;
        attempt(&mut upstream, 1, Ending::Completed, 20, 200);
        upstream.in_flight(1, 5);
        if upstream.pick() == Some(0) {
            // 900 ms, measured in the first second, come down to 6 times 20 by e^-2.01.
            assert_eq!(second, 22);
            upstream.in_flight(0, 1);
            for _ in 0..3 {
                assert_eq!(upstream.picks(20), [Some(1); 20], "it has not answered yet");
                upstream.now_us += 20 * SECOND;
                attempt(&mut upstream, 1, Ending::Completed, 20, 200);
            }
            return;
        }
        upstream.in_flight(1, 0);
    }
    panic!("it is never tried again");
}

#[test]
fn a_new_endpoint_is_tried_at_once_and_gets_one_request_until_it_has_answered() {
    let mut upstream = measured([20, 20]);
    upstream = upstream.reload("{}", ["10.0.0.0:80", "new:80", "10.0.0.1:80"].map(endpoint));
    upstream.in_flight(0, 8);
    upstream.in_flight(2, 8);
    let of_the_new: usize = upstream.shares::<3>(300)[1];
    assert!(of_the_new > 150, "whenever it is drawn: {of_the_new}");
    upstream.in_flight(1, 1);
    assert_eq!(upstream.shares::<3>(300)[1], 0);
    attempt(&mut upstream, 1, Ending::Completed, 20, 200);
    assert!(upstream.shares::<3>(300)[1] > 150);
}

#[test]
fn before_anything_is_measured_the_attempts_in_progress_decide() {
    let mut upstream = Upstream::<Ewma>::of("{}", 3);
    for (index, load) in [3, 2, 3].into_iter().enumerate() {
        upstream.in_flight(index, load);
    }
    let shares: [usize; 3] = upstream.shares(300);
    assert!(
        shares[1] > 150 && shares[0] > 20 && shares[2] > 20,
        "{shares:?}"
    );
}

#[test]
fn a_server_that_fails_at_once_counts_as_slow() {
    for (settings, most_ms) in [("{}", 4000), (r#"{"penalty": "1s"}"#, 900)] {
        let mut upstream = Upstream::<Ewma>::of(settings, 2);
        attempt(&mut upstream, 0, Ending::Completed, 1, 200);
        attempt(&mut upstream, 1, Ending::Completed, most_ms, 200);
        attempt(&mut upstream, 0, Ending::Failed, 0, 0);
        assert_eq!(upstream.picks(20), [Some(1); 20], "{settings}");
    }
    // A failure is no reason to think better of a server that is slower than the penalty.
    let mut upstream = measured([8000, 7000]);
    upstream.now_us += 5 * SECOND;
    attempt(&mut upstream, 0, Ending::Failed, 0, 0);
    attempt(&mut upstream, 1, Ending::Completed, 7000, 200);
    assert_eq!(upstream.picks(20), [Some(1); 20]);
}

#[test]
fn a_client_that_gave_up_tells_how_long_it_waited() {
    let outcome = |total_ms: u32| waypost_sdk::Outcome {
        ending: Ending::Abandoned,
        status: 0,
        connect_us: 0,
        header_us: 0,
        total_us: 1000 * total_ms,
    };
    for (waited_ms, status, chosen) in [(3000, 0, 1), (5, 0, 0), (3000, 200, 0)] {
        let mut upstream = measured([20, 40]);
        let mut exchange = upstream.exchange(Request::get("/"));
        assert_eq!(exchange.pick(), Some(0));
        // With a status, the answer was there, and its length is not the server's fault.
        exchange.ended(0, outcome(waited_ms), Response::status(status));
        let choices = upstream.picks(20);
        assert_eq!(choices, [Some(chosen); 20], "{waited_ms} ms, {status}");
    }
}

#[test]
fn the_only_candidate_is_chosen_if_chance_misses_it() {
    let mut upstream = Upstream::<Ewma>::of("{}", 200);
    (0..199).for_each(|index| upstream.rotate_out(index));
    assert_eq!(upstream.picks(5), [Some(199); 5]);
}

#[test]
fn retries_reach_every_server_and_none_twice() {
    let mut upstream = Upstream::<Ewma>::of("{}", 4);
    let mut exchange = upstream.exchange(Request::get("/"));
    let mut chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
    chosen.sort_unstable();
    assert_eq!(chosen, [0, 1, 2, 3]);
}

#[test]
fn a_swap_changes_no_choice() {
    let run = |swaps: bool| {
        let mut upstream = measured([30, 70, 70, 400]);
        let mut chosen = Vec::new();
        for request in 0..200 {
            upstream.now_us += SECOND / 3;
            let mut exchange = upstream.exchange(Request::get("/"));
            let index = exchange.pick().unwrap();
            let ending = [Ending::Completed, Ending::Failed][usize::from(request % 7 == 0)];
            exchange.done(index, ending, 30_000 + request, Response::status(200));
            chosen.push(index);
            if swaps && request % 5 == 0 {
                upstream = upstream.swap("{}");
            }
        }
        chosen
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn servers_that_stay_keep_their_latency_when_others_come_and_go() {
    let upstream = measured([300, 30, 100]);
    let mut upstream = upstream.reload("{}", ["10.0.0.2:80", "10.0.0.0:80"].map(endpoint));
    assert_eq!(upstream.picks(20), [Some(0); 20]);
}

#[test]
fn in_place_servers_that_stay_keep_their_latency_and_those_that_are_gone_are_never_drawn() {
    let mut upstream = measured([300, 30, 100]);
    let change = |upstream: &mut Upstream<Ewma>, present: &[usize]| {
        let endpoints = present.iter().map(|&index| {
            let address = format!("10.0.0.{index}:80");
            (index, endpoint(&address).build())
        });
        upstream.policy.change(endpoints.collect());
    };
    change(&mut upstream, &[2, 0]);
    upstream.rotate_out(1);
    assert_eq!(upstream.picks(20), [Some(2); 20], "100 against 300");
    let state = upstream.policy.export_state();
    let mut upstream = Upstream::<Ewma>::of("{}", 4);
    upstream.policy.import_state(&state).unwrap();
    upstream.rotate_out(3);
    assert_eq!(upstream.pick(), Some(1), "nothing is known of it");
    change(&mut upstream, &[0, 2, 3]);
    upstream.rotate_out(1);
    assert_eq!(upstream.picks(20), [Some(2); 20], "100 against 300");
    upstream.rotate_in(3);
    let picks = upstream.picks(20);
    assert!(
        picks.contains(&Some(3)) && !picks.contains(&Some(0)),
        "{picks:?}"
    );
    // All that are left are gone for a request that began before.
    (0..4).for_each(|index| upstream.rotate_out(index));
    upstream.rotate_in(1);
    assert_eq!(upstream.pick(), Some(1));
}

#[test]
fn a_place_whose_server_is_gone_is_not_drawn_by_an_instance_that_begins_with_it() {
    let servers = ["10.0.0.0:80", "", "10.0.0.2:80"].map(endpoint);
    let mut upstream = Upstream::<Ewma>::new("{}", servers).ok().unwrap();
    // As often as chance will have it, if it can be drawn at all.
    assert!(!upstream.picks(200).contains(&Some(1)));
}

#[test]
fn no_state_makes_it_panic() {
    let state = measured([300, 30]).policy.export_state();
    let mut draws = Draws::from_seed(3);
    for _ in 0..5000 {
        let mut upstream = Upstream::<Ewma>::of("{}", 2);
        let _ = upstream.policy.import_state(&damaged(&state, &mut draws));
        upstream.picks(3);
        attempt(&mut upstream, 0, Ending::Completed, 1, 200);
    }
}

#[test]
fn a_decay_of_nothing_is_refused() {
    let error = Upstream::<Ewma>::new(r#"{"decay": 0}"#, []).err().unwrap();
    assert_eq!(
        (error.key.as_str(), error.message.as_str()),
        ("decay", "`decay` must be longer than nothing")
    );
}

/// Two minutes before eight servers that take 5 to 15 ms each. What befalls the last one from the
/// thirtieth second to the ninetieth is up to `trouble`.
fn one_in_trouble<P: Policy>(
    hear: impl FnMut(&mut P, &Done),
    trouble: impl Fn(u64) -> Service,
) -> Simulated {
    let traffic = Traffic {
        requests: 48_000,
        per_second: 400,
        parallel: 32,
        seed: 5,
    };
    let serve = |index, now_us, draws: &mut Draws| {
        let takes_us = 5_000 + draws.below(10_000);
        match index == 7 && (30 * SECOND..90 * SECOND).contains(&now_us) {
            true => trouble(takes_us),
            false => Service {
                takes_us,
                fails: false,
            },
        }
    };
    Upstream::of("{}", 8).simulate(&traffic, serve, hear)
}

#[test]
fn a_server_that_turns_slow_leaves_no_trace_in_the_99th_percentile() {
    let slow = |takes_us| Service {
        takes_us: 20 * takes_us,
        fails: false,
    };
    let run = one_in_trouble(Ewma::done, slow);
    let turns = one_in_trouble::<RoundRobin>(|_, _| {}, slow);
    let meanwhile = |run: &Simulated| run.between(30 * SECOND, 90 * SECOND).percentile_us(99);
    let (p99, p99_of_turns) = (meanwhile(&run), meanwhile(&turns));
    assert!(
        5 * p99 < p99_of_turns,
        "{p99} us against {p99_of_turns} us by turns"
    );
    assert!(p99 <= 15_000, "{p99} us");
    for (from, until) in [(0, 30), (110, 120)] {
        let share = run.between(from * SECOND, until * SECOND).share(7);
        assert!(
            (0.06..0.25).contains(&share),
            "{share} of the requests from second {from} on"
        );
    }
}

#[test]
fn a_server_that_fails_at_once_gets_next_to_no_requests() {
    let broken = |_| Service {
        takes_us: 100,
        fails: true,
    };
    let run = one_in_trouble(Ewma::done, broken);
    let turns = one_in_trouble::<RoundRobin>(|_, _| {}, broken);
    let (failures, by_turns) = (run.failures(), turns.failures());
    assert!(
        100.0 * failures < by_turns,
        "{failures} of the requests failed, {by_turns} by turns"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Ewma>::check_description(&[r#"{"decay": "1s", "penalty": 2}"#]);
}
