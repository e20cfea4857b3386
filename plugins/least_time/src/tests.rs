//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use round_robin::RoundRobin;
use waypost_sdk::testing::{
    Request, Response, Service, Simulated, Traffic, Upstream, damaged, endpoint,
};
use waypost_sdk::{Done, Draws, Ending, Keeper, Observer, Policy};

use super::LeastTime;

mod nginx;

const BY_HEADER: &str = r#"{"by": "header"}"#;
const INFLIGHT: &str = r#"{"by": "header", "inflight": true}"#;

/// An attempt at this server of such a time, the others being out.
fn measure(
    upstream: &mut Upstream<LeastTime>,
    index: usize,
    count: usize,
    ending: Ending,
    ms: u32,
) {
    let others = || (0..count).filter(|&other| other != index);
    others().for_each(|other| upstream.rotate_out(other));
    let mut exchange = upstream.exchange(Request::get("/"));
    assert_eq!(exchange.pick(), Some(index));
    exchange.done(index, ending, 1000 * ms, Response::status(200));
    others().for_each(|other| upstream.rotate_in(other));
}

fn measured<const N: usize>(settings: &str, times_ms: [u32; N]) -> Upstream<LeastTime> {
    let mut upstream = Upstream::of(settings, N);
    for (index, ms) in times_ms.into_iter().enumerate() {
        measure(&mut upstream, index, N, Ending::Completed, ms);
    }
    upstream
}

#[test]
fn the_quickest_is_chosen_unless_it_is_busier() {
    for count in [3, 6, 100] {
        let mut upstream = Upstream::<LeastTime>::of(BY_HEADER, count);
        for index in 0..count {
            let ms = if index == 1 { 90 } else { 300 };
            measure(&mut upstream, index, count, Ending::Completed, ms);
        }
        assert_eq!(upstream.picks(5), [Some(1); 5], "{count} servers");
        upstream.in_flight(1, 4); // 100 ms five deep against 320 ms
        assert_eq!(upstream.pick(), Some(0), "{count} servers");
    }
}

#[test]
fn servers_within_20_ms_of_each_other_take_turns() {
    let mut upstream = measured(BY_HEADER, [41, 59, 44]);
    assert_eq!(upstream.picks(6), [0, 1, 2, 0, 1, 2].map(Some));
}

#[test]
fn servers_above_5_s_are_equally_slow_and_load_decides() {
    let mut upstream = measured(BY_HEADER, [60_000, 6_000]);
    assert_eq!(upstream.picks(4), [0, 1, 0, 1].map(Some));
    upstream.in_flight(0, 1);
    assert_eq!(upstream.picks(2), [Some(1); 2]);
}

#[test]
fn time_counts_per_weight() {
    let servers = [3, 1].map(|weight| endpoint(&format!("{weight}.example")).weight(weight));
    let mut upstream = Upstream::<LeastTime>::new(BY_HEADER, servers).unwrap();
    measure(&mut upstream, 0, 2, Ending::Completed, 210);
    measure(&mut upstream, 1, 2, Ending::Completed, 90);
    assert_eq!(upstream.pick(), Some(0)); // 220/3 against 100
    upstream.in_flight(0, 1);
    assert_eq!(upstream.pick(), Some(1)); // 440/3 against 100
}

#[test]
fn a_slow_server_that_is_left_alone_gets_another_chance() {
    // fail_timeout is 10 seconds: 180 ms halve every 11 seconds, and 40 ms is the same step as 30.
    let mut upstream = measured(BY_HEADER, [179, 30]);
    let mut chances = Vec::new();
    for second in 1..=60 {
        upstream.now_us = 1_000_000 * (1 + second);
        let mut exchange = upstream.exchange(Request::get("/"));
        let chosen = exchange.pick().unwrap();
        let total_us = [179_000, 30_000][chosen];
        exchange.done(chosen, Ending::Completed, total_us, Response::status(200));
        if chosen == 0 {
            chances.push(second);
        }
    }
    // The third halving is in second 33. The other mean is halved then as well, until its server
    // is picked.
    assert_eq!(chances, [34]);
}

#[test]
fn a_server_that_fails_at_once_does_not_become_popular() {
    let mut upstream = measured(BY_HEADER, [90, 90]);
    for _ in 0..100 {
        measure(&mut upstream, 0, 2, Ending::Failed, 0);
        measure(&mut upstream, 0, 2, Ending::PassedOver, 0);
    }
    assert_eq!(upstream.picks(2), [0, 1].map(Some));
}

#[test]
fn the_last_byte_counts_where_the_setting_says_so() {
    let outcome = |header_ms: u32, total_ms: u32| waypost_sdk::Outcome {
        ending: Ending::Completed,
        status: 200,
        connect_us: 0,
        header_us: 1000 * header_ms,
        total_us: 1000 * total_ms,
    };
    for (settings, best) in [(BY_HEADER, 0), (r#"{"by": "last_byte"}"#, 1)] {
        let mut upstream = Upstream::<LeastTime>::of(settings, 2);
        for (index, outcome) in [(0, outcome(10, 500)), (1, outcome(100, 100))] {
            upstream.rotate_out(1 - index);
            let mut exchange = upstream.exchange(Request::get("/"));
            exchange.pick();
            exchange.ended(index, outcome, Response::status(200));
            upstream.rotate_in(1 - index);
        }
        assert_eq!(upstream.picks(3), [Some(best); 3], "{settings}");
    }
}

#[test]
fn attempts_that_take_long_count_before_they_end_where_the_setting_says_so() {
    for (settings, chosen) in [(BY_HEADER, 0), (INFLIGHT, 1)] {
        let mut upstream = measured(settings, [30, 70]);
        assert_eq!(upstream.pick(), Some(0)); // and hangs
        upstream.now_us += 2_000_000;
        assert_eq!(upstream.pick(), Some(chosen), "{settings}");
    }
}

#[test]
fn a_retry_goes_to_the_next_best() {
    let mut upstream = measured(BY_HEADER, [300, 100, 200]);
    let mut exchange = upstream.exchange(Request::get("/"));
    let chosen = [(); 4].map(|()| exchange.pick());
    assert_eq!(chosen, [Some(1), Some(2), Some(0), None]);
}

#[test]
fn a_swap_changes_no_choice() {
    let run = |swaps: bool| {
        let mut upstream = measured(INFLIGHT, [30, 70, 70, 400]);
        let mut chosen = Vec::new();
        for request in 0..200 {
            upstream.now_us += 300_000;
            let mut exchange = upstream.exchange(Request::get("/"));
            let index = exchange.pick().unwrap();
            let ending = [Ending::Completed, Ending::Failed][usize::from(request % 7 == 0)];
            exchange.done(
                index,
                ending,
                30_000 * (1 + index as u32),
                Response::status(200),
            );
            if ending == Ending::Failed {
                upstream.failed(index);
            }
            chosen.push(index);
            if swaps && request % 5 == 0 {
                upstream = upstream.swap(INFLIGHT);
            }
        }
        chosen
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn servers_that_stay_keep_their_times_when_others_come_and_go() {
    let upstream = measured(BY_HEADER, [300, 30, 100]);
    let servers = ["10.0.0.2:80", "10.0.0.0:80"].map(endpoint);
    let mut upstream = upstream.reload(BY_HEADER, servers);
    assert_eq!(upstream.picks(3), [Some(0); 3]);
}

#[test]
fn no_state_makes_it_panic() {
    let state = measured(INFLIGHT, [300, 30]).policy.export_state();
    let mut draws = Draws::from_seed(3);
    for _ in 0..5000 {
        let mut upstream = Upstream::<LeastTime>::of(INFLIGHT, 2);
        let _ = upstream.policy.import_state(&damaged(&state, &mut draws));
        upstream.picks(3);
    }
}

/// Where the shared instance is busy, the fallback may pick for the next attempt of an exchange, and
/// leave its own memo, before the end of the attempt before it is told.
#[test]
fn a_memo_of_another_policy_does_no_harm() {
    for memo in [0, u64::MAX, u64::MAX / 2] {
        let run = one_is_slow_for_a_while(INFLIGHT, |policy: &mut LeastTime, done| {
            if done.lease % 50 == 0 {
                done.set_memo(memo);
            }
            policy.done(done);
        });
        let last_minutes = run.between(400_000_000, 600_000_000);
        for index in 0..3 {
            let share = last_minutes.share(index);
            assert!((0.2..0.5).contains(&share), "{memo}: {share} of {index}");
        }
    }
}

#[test]
fn what_counts_as_time_must_be_said() {
    for (settings, message) in [
        ("{}", "`by` is missing: \"header\" or \"last_byte\""),
        (
            r#"{"by": "connect"}"#,
            "`by` must be \"header\" or \"last_byte\"",
        ),
    ] {
        let error = Upstream::<LeastTime>::new(settings, []).err().unwrap();
        assert_eq!(
            (error.key.as_str(), error.message.as_str()),
            ("by", message)
        );
    }
}

/// Ten minutes before three servers that take 20 to 40 ms; the last one takes ten times as long
/// from the second minute to the fifth.
fn one_is_slow_for_a_while<P: Policy>(
    settings: &str,
    hear: impl FnMut(&mut P, &Done),
) -> Simulated {
    let traffic = Traffic {
        requests: 60_000,
        per_second: 100,
        parallel: 64,
        seed: 7,
    };
    let serve = |index, now_us, draws: &mut Draws| {
        let is_slow = index == 2 && (60_000_000..300_000_000).contains(&now_us);
        Service {
            takes_us: (20_000 + draws.below(20_000)) * if is_slow { 10 } else { 1 },
            fails: false,
        }
    };
    Upstream::of(settings, 3).simulate(&traffic, serve, hear)
}

#[test]
fn a_slow_server_costs_few_requests_and_is_not_forgotten_when_it_recovers() {
    const SECOND: u64 = 1_000_000;
    let turns = one_is_slow_for_a_while::<RoundRobin>("{}", |_, _| {});
    for settings in [
        BY_HEADER,
        r#"{"by": "last_byte"}"#,
        r#"{"by": "last_byte", "inflight": true}"#,
    ] {
        let run = one_is_slow_for_a_while(settings, LeastTime::done);
        let slow = |run: &Simulated| run.between(90 * SECOND, 300 * SECOND);
        let (mean, mean_of_turns) = (slow(&run).mean_us(), slow(&turns).mean_us());
        assert!(
            2.0 * mean < mean_of_turns,
            "{settings}: {mean} us against {mean_of_turns} us by turns"
        );
        let share = slow(&run).share(2);
        assert!((0.0005..0.1).contains(&share), "{settings}: {share}");
        for (from, until) in [(0, 60), (400, 600)] {
            let share = run.between(from * SECOND, until * SECOND).share(2);
            assert!(
                (0.2..0.5).contains(&share),
                "{settings}: {share} from second {from} on"
            );
        }
    }
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<LeastTime>::check_description(&[r#"{"by": "header", "inflight": true}"#]);
}
