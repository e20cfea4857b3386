//! What filters and scorers leave of the candidates is what the policy may choose from.

use serde_json::{Value, json};

use crate::plugin::{BalancerParts, Picked, Plugin, ScorerPart, WorkerBalancer};

use super::guests::{Guest, Is, round_robin};
use super::peers::{attempt, exchange, exchange_of, logged, over, parts};

/// A policy that takes the last candidate, and traps if `fleet.candidates` says something else than
/// its argument.
fn last() -> Plugin {
    Guest {
        more: r#"(import "waypost:plugin/fleet@0.2.0" "candidates"
                   (func $candidates (param i32) (result i64)))"#,
        ..Guest::picks(
            "(if (i64.ne (call $candidates (i32.const 0)) (local.get $candidates)) (then unreachable))
             (if (i64.ne (call $candidates (i32.const 1)) (i64.const 0))
               (then (return (i32.sub (i32.const 127)
                               (i32.wrap_i64 (i64.clz (call $candidates (i32.const 1))))))))
             (i32.sub (i32.const 63) (i32.wrap_i64 (i64.clz (local.get $candidates))))",
        )
    }
    .load()
}

/// A filter with these bodies of `narrow` and `may-be-ignored`.
fn filter(narrow: &'static str, ignored: &'static str) -> (Plugin, Value) {
    let guest = Guest {
        is: Is::Filter(narrow, ignored),
        ..Guest::default()
    };
    (guest.load(), json!({}))
}

/// Keeps these, and insists on them.
fn keeps(bits: u64) -> (Plugin, Value) {
    let narrow = format!("(i64.and (local.get $candidates) (i64.const {bits}))");
    filter(narrow.leak(), "(i32.const 0)")
}

/// A scorer that answers these, as many times as they count.
fn scores(scores: &[u16], weight: u32) -> ScorerPart {
    let bytes = scores.iter().flat_map(|score| score.to_le_bytes());
    let escaped: String = bytes.map(|byte| format!("\\{byte:02x}")).collect();
    // The list's place, 0x800, and its length; then what is in it.
    let length = scores.len() as u16;
    let [low, high] = length.to_le_bytes();
    let more = format!(
        r#"(data (i32.const 1200) "\00\08\00\00\{low:02x}\{high:02x}\00\00")
           (data (i32.const 2048) "{escaped}")"#
    );
    scorer(more.leak(), "(i32.const 1200)", weight)
}

fn scorer(more: &'static str, score: &'static str, weight: u32) -> ScorerPart {
    let guest = Guest {
        more,
        is: Is::Scorer(score),
        ..Guest::default()
    };
    ScorerPart {
        plugin: guest.load(),
        settings: json!({}),
        weight,
    }
}

/// A worker that chooses from so many endpoints, behind these filters and scorers.
fn worker(
    endpoints: u32,
    policy: &Plugin,
    filters: &[(Plugin, Value)],
    scorers: &[ScorerPart],
) -> WorkerBalancer {
    let parts = BalancerParts {
        filters,
        scorers,
        fallback: Some(round_robin()),
        ..parts(policy)
    };
    over(endpoints, parts).unwrap().attach(None)
}

/// What is chosen from three endpoints.
fn chosen(filters: &[(Plugin, Value)], scorers: &[ScorerPart]) -> Option<u32> {
    let policy = last();
    let picked = worker(3, &policy, filters, scorers).pick(&exchange(0b111), &attempt(1));
    assert_eq!(policy.stats().traps, 0);
    picked.map(|picked| picked.index)
}

fn index(picked: Option<Picked>) -> Option<u32> {
    picked.map(|picked| picked.index)
}

#[test]
fn a_policy_chooses_from_what_a_filter_leaves() {
    assert_eq!(chosen(&[keeps(0b011)], &[]), Some(1));
    assert_eq!(chosen(&[keeps(0b001)], &[]), Some(0));
}

#[test]
fn a_filter_adds_no_candidates() {
    let policy = last();
    let mut worker = worker(
        3,
        &policy,
        &[filter("(i64.const -1)", "(i32.const 0)")],
        &[],
    );
    assert_eq!(index(worker.pick(&exchange(0b011), &attempt(1))), Some(1));
}

#[test]
fn a_filter_narrows_what_the_one_before_it_has_left() {
    let second = filter(
        "(if (i64.ne (local.get $candidates) (i64.const 3)) (then unreachable)) (i64.const 5)",
        "(i32.const 0)",
    );
    assert_eq!(chosen(&[keeps(0b011), second], &[]), Some(0));
}

#[test]
fn the_next_attempt_is_narrowed_anew() {
    // The first attempt keeps the first endpoint, further ones all.
    let narrow = "(select (i64.const -1) (i64.const 1) (local.get $attempt))";
    let filters = [filter(narrow, "(i32.const 0)")];
    let (policy, exchange) = (last(), exchange(0b111));
    let mut worker = worker(3, &policy, &filters, &[]);
    let mut pick = |number| {
        let mut attempt = attempt(1);
        attempt.attempt = number;
        index(worker.pick(&exchange, &attempt))
    };
    assert_eq!([pick(0), pick(1)], [Some(0), Some(2)]);
}

#[test]
fn a_filter_that_leaves_nothing_is_ignored_only_if_it_says_so() {
    let ignored = filter("(i64.const 0)", "(i32.const 1)");
    // It is as if it were not there: those before it count.
    assert_eq!(chosen(&[keeps(0b011), ignored], &[]), Some(1));

    let (policy, insists) = (last(), filter("(i64.const 0)", "(i32.const 0)"));
    let mut worker = worker(3, &policy, &[insists], &[]);
    assert!(worker.pick(&exchange(0b111), &attempt(1)).is_none());
    assert_eq!(worker.refusal(), Some(503));
    assert_eq!(policy.stats().calls, 0, "there is nothing to choose from");
}

#[test]
fn a_filter_that_fails_refuses_the_attempt() {
    for broken in [
        filter("unreachable", "(i32.const 1)"),
        filter("(i64.const 0)", "unreachable"),
        filter("(loop $again (br $again)) unreachable", "(i32.const 1)"),
    ] {
        let (policy, plugin) = (last(), broken.0.clone());
        let mut worker = worker(3, &policy, &[broken], &[]);
        let log = logged(|| {
            // Neither at once nor while it has no instance does anything else choose.
            for lease in 1..3 {
                assert!(worker.pick(&exchange(0b111), &attempt(lease)).is_none());
                assert_eq!(worker.refusal(), Some(503));
            }
        });
        assert!(log.contains("its requests are refused"), "{log}");
        let stats = plugin.stats();
        assert_eq!(
            (stats.traps + stats.deadlines, policy.stats().calls),
            (1, 0)
        );
    }
}

#[test]
fn without_a_candidate_no_filter_is_asked_and_nothing_is_refused() {
    let (policy, broken) = (last(), filter("unreachable", "unreachable"));
    let plugin = broken.0.clone();
    let scorer = scores(&[1], 1);
    let scored = scorer.plugin.clone();
    let mut worker = worker(3, &policy, &[broken], &[scorer]);
    assert!(worker.pick(&exchange(0), &attempt(1)).is_none());
    assert!(worker.refusal().is_none(), "backup servers may be asked");
    assert_eq!((plugin.stats().calls, scored.stats().calls), (0, 0));
}

#[test]
fn a_filter_narrows_every_word_of_a_large_fleet_in_order() {
    // 130 endpoints are three words. It remembers the word that is due, and keeps of each the bit
    // of its number.
    let guest = Guest {
        more: "(global $due (mut i32) (i32.const 0))",
        is: Is::Filter(
            "(if (i32.ne (local.get $word) (global.get $due)) (then unreachable))
             (global.set $due (i32.rem_u (i32.add (global.get $due) (i32.const 1)) (i32.const 3)))
             (i64.shl (i64.const 1) (i64.extend_i32_u (local.get $word)))",
            "(i32.const 0)",
        ),
        ..Guest::default()
    };
    let policy = last();
    let mut worker = worker(130, &policy, &[(guest.load(), json!({}))], &[]);
    let mut pick = |words: [u64; 3]| index(worker.pick(&exchange_of(words.to_vec()), &attempt(1)));
    assert_eq!(pick([u64::MAX, u64::MAX, 0b11]), Some(65));
    assert_eq!(
        pick([0b1, 0, 0b11]),
        Some(0),
        "a word without candidates is one as well"
    );
}

#[test]
fn the_best_scores_are_left() {
    assert_eq!(chosen(&[], &[scores(&[3, 9, 5], 1)]), Some(1));
    assert_eq!(chosen(&[], &[scores(&[u16::MAX, 0, 0], u32::MAX)]), Some(0));
}

#[test]
fn scores_count_as_often_as_their_weights_say() {
    let of = |first, second| {
        let scorers = [scores(&[10, 20, 5], first), scores(&[10, 1, 30], second)];
        chosen(&[], &scorers)
    };
    assert_eq!([of(1, 1), of(2, 1), of(3, 1)], [Some(2), Some(1), Some(1)]);
    assert_eq!(of(1, 0), Some(1));
}

#[test]
fn ties_are_left_to_the_policy() {
    assert_eq!(
        chosen(&[], &[scores(&[7, 7, 1], 1)]),
        Some(1),
        "the last of both"
    );
    assert_eq!(chosen(&[], &[scores(&[7, 7, 7], 1)]), Some(2));
    assert_eq!(chosen(&[], &[scores(&[], 1)]), Some(2), "all have 0");
}

#[test]
fn endpoints_past_the_end_of_the_scores_have_0_and_scores_past_the_last_endpoint_none() {
    assert_eq!(chosen(&[], &[scores(&[0, 1], 1)]), Some(1));
    assert_eq!(chosen(&[], &[scores(&[1, 0, 0, 9, 9, 9], 1)]), Some(0));
}

#[test]
fn scorers_rank_what_filters_have_left() {
    assert_eq!(chosen(&[keeps(0b011)], &[scores(&[1, 2, 3], 1)]), Some(1));
}

#[test]
fn a_scorer_that_fails_ranks_nothing() {
    for score in ["unreachable", "(loop $again (br $again)) unreachable"] {
        let broken = scorer("", score, 1000);
        let plugin = broken.plugin.clone();
        let log = logged(|| {
            assert_eq!(chosen(&[], &[scores(&[9, 1, 1], 1), broken]), Some(0));
        });
        assert!(log.contains("it ranks nothing"), "{log}");
        assert_eq!(plugin.stats().traps + plugin.stats().deadlines, 1);
    }
    assert_eq!(chosen(&[], &[scorer("", "unreachable", 1)]), Some(2));
}

#[test]
fn scores_reach_beyond_the_first_64_endpoints() {
    let mut all = [1; 100];
    all[99] = 2;
    let policy = last();
    let mut worker = worker(100, &policy, &[], &[scores(&all, 1)]);
    let exchange = exchange_of(vec![u64::MAX, (1 << 36) - 1]);
    assert_eq!(index(worker.pick(&exchange, &attempt(1))), Some(99));
}

#[test]
fn the_fallback_chooses_from_what_is_left_as_well() {
    let policy = Guest::picks("unreachable").load();
    let mut worker = worker(3, &policy, &[keeps(0b110)], &[scores(&[9, 1, 2], 1)]);
    assert_eq!(index(worker.pick(&exchange(0b111), &attempt(1))), Some(2));
}

#[test]
fn a_policy_without_a_fallback_that_cannot_answer_refuses_the_attempt() {
    for pick in ["unreachable", "(i32.const -1)", "(i32.const 7)"] {
        let policy = Guest::picks(pick).load();
        let mut worker = over(3, parts(&policy)).unwrap().attach(None);
        assert!(worker.pick(&exchange(0b111), &attempt(1)).is_none());
        assert_eq!(worker.refusal(), Some(503), "{pick}");
        assert!(worker.pick(&exchange(0), &attempt(2)).is_none());
        assert!(worker.refusal().is_none(), "there was nothing to refuse");
    }
}

#[test]
fn what_a_filter_knows_is_taken_over() {
    // Keeps the first endpoint, and after a take-over the state of which is its byte, the second.
    let guest = Guest {
        more: r#"
            (data (i32.const 1200) "\f8\04\00\00\01\00\00\00")
            (data (i32.const 1216) "\00")
            (data (i32.const 1272) "\02")
            (global $keeps (mut i64) (i64.const 1))
            (func (export "waypost:plugin/keeper@0.2.0#export-state") (result i32) (i32.const 1200))
            (func (export "waypost:plugin/keeper@0.2.0#import-state") (param i32 i32) (result i32)
              (global.set $keeps (i64.load8_u (local.get 0)))
              (i32.const 1216))"#,
        is: Is::Filter("(global.get $keeps)", "(i32.const 0)"),
        worlds: &["with-keeper"],
        ..Guest::default()
    };
    for configured in [super::guests::WORKER, super::guests::PROCESS] {
        let filter = Guest {
            configured,
            ..guest
        };
        let (policy, filters) = (last(), [(filter.load(), json!({}))]);
        let make = || {
            let parts = BalancerParts {
                filters: &filters,
                ..parts(&policy)
            };
            over(3, parts).unwrap()
        };
        let (before, now) = (make(), make());
        let mut worker = before.attach(None);
        assert_eq!(index(worker.pick(&exchange(0b111), &attempt(1))), Some(0));
        now.inherit(&before).unwrap();
        let mut successor = now.attach(Some(&worker));
        successor.take_over(&mut worker);
        assert_eq!(
            index(successor.pick(&exchange(0b111), &attempt(1))),
            Some(1)
        );
    }
}
