//! How turns are taken, and handed over.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{SmoothWeighted, StateWriter};
use crate::testing::endpoint;

fn of(weights: &[u32]) -> SmoothWeighted {
    let mut smooth = SmoothWeighted::default();
    let endpoints: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(i, &weight)| endpoint(&format!("a{i}:80")).weight(weight).build())
        .collect();
    smooth.update(&endpoints);
    smooth
}

fn pick(smooth: &mut SmoothWeighted) -> usize {
    let all = 0..smooth.len();
    let mut round = smooth.round();
    for index in all {
        round.join(index);
    }
    round.finish().unwrap_or(usize::MAX)
}

/// The next instance, over endpoints of these names and weights.
fn handed_over(smooth: &SmoothWeighted, endpoints: &[(&str, u32)]) -> SmoothWeighted {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|&(server, weight)| endpoint(server).weight(weight).build())
        .collect();
    let mut next = SmoothWeighted::default();
    next.update(&endpoints);
    next.import_state(&smooth.export_state()).unwrap();
    next
}

#[test]
fn the_rotation_goes_on_where_it_stood_whatever_the_order() {
    let mut smooth = of(&[5, 1, 1]);
    assert_eq!([pick(&mut smooth), pick(&mut smooth)], [0, 0]);
    let mut next = handed_over(&smooth, &[("a0:80", 5), ("a1:80", 1), ("a2:80", 1)]);
    assert_eq!([(); 5].map(|()| pick(&mut next)), [1, 0, 2, 0, 0]);
    let mut turned = handed_over(&smooth, &[("a2:80", 1), ("a1:80", 1), ("a0:80", 5)]);
    assert_eq!([(); 5].map(|()| pick(&mut turned)), [0, 2, 1, 2, 2]);
}

#[test]
fn endpoints_that_stay_keep_their_place_and_new_ones_begin_at_the_middle() {
    let mut smooth = of(&[2, 2, 2]);
    smooth.failed(1);
    assert_eq!(pick(&mut smooth), 0);
    let next = handed_over(&smooth, &[("new:80", 2), ("a1:80", 2), ("a0:80", 3)]);
    assert_eq!(next.current, [0, 0, 0]); // a0 has another weight
    assert_eq!(next.effective, [2, 1, 3]);
    let next = handed_over(&smooth, &[("a0:80", 2), ("new:80", 2)]);
    assert_eq!((next.current, next.effective), (vec![-2, 0], vec![2, 2]));
}

#[test]
fn endpoints_of_one_address_are_told_apart_by_their_order() {
    let twice = [("a:80", 1), ("a:80", 1), ("b:80", 1)];
    let mut smooth = handed_over(&SmoothWeighted::default(), &twice);
    assert_eq!(pick(&mut smooth), 0);
    assert_eq!(handed_over(&smooth, &twice).current, [-2, 1, 1]);
}

#[test]
fn a_debt_to_an_endpoint_that_is_gone_is_cut_to_a_round_of_those_left() {
    let mut smooth = of(&[1000, 1, 1]);
    (0..502).for_each(|_| _ = pick(&mut smooth));
    assert!(smooth.current.iter().any(|&current| current < -400));
    let mut next = handed_over(&smooth, &[("a1:80", 1), ("a2:80", 1)]);
    assert!((0..4).any(|_| pick(&mut next) == 0) && (0..4).any(|_| pick(&mut next) == 1));
}

#[test]
fn a_large_fleet_stays_below_its_bound() {
    let smooth = of(&[u32::MAX; 50_000]);
    let state = smooth.export_state();
    assert!(
        (300 << 10..=401 << 10).contains(&state.len()),
        "{}",
        state.len()
    );
    assert_eq!(of(&[u32::MAX; 50_000]).import_state(&state), Ok(()));
}

#[test]
fn a_refused_state_changes_nothing() {
    let mut smooth = of(&[1, 1]);
    pick(&mut smooth);
    let (current, good) = (smooth.current.clone(), smooth.export_state());
    let mut too_rich = StateWriter::new(1);
    too_rich.text("a0:80");
    too_rich.number(1);
    too_rich.signed(i64::MAX);
    too_rich.number(1);
    for (state, reason) in [
        (vec![], "the state ends early"),
        (
            vec![9, 1],
            "the state has format `9`, this version reads `1`",
        ),
        (good[..good.len() - 1].to_vec(), "the state ends early"),
        (
            too_rich.finish(),
            "the state's account of `a0:80` cannot be",
        ),
    ] {
        assert_eq!(smooth.import_state(&state).unwrap_err(), reason);
        assert_eq!(smooth.current, current);
    }
}

proptest::proptest! {
    #[test]
    fn no_state_makes_it_panic_or_choose_what_does_not_exist(
        state in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        at in 0_usize..200,
        byte in proptest::num::u8::ANY,
    ) {
        let mut smooth = of(&[3, 1, 2]);
        (0..4).for_each(|_| _ = pick(&mut smooth));
        let mut bent = smooth.export_state();
        let at = at % bent.len();
        bent[at] = byte;
        let any = [&[1], &*state].concat();
        for state in [state, any, bent] {
            _ = smooth.import_state(&state);
            (0..10).for_each(|_| assert!(pick(&mut smooth) < 3));
        }
    }
}

#[test]
fn a_failure_takes_weight_over_max_fails_and_each_round_returns_one() {
    let mut smooth = SmoothWeighted::default();
    smooth.update(&[
        endpoint("a:80").weight(6).max_fails(3).build(),
        endpoint("b:80").weight(6).max_fails(0).build(),
    ]);
    smooth.failed(0);
    smooth.failed(1);
    assert_eq!(smooth.effective, [4, 6]);
    pick(&mut smooth);
    assert_eq!(smooth.effective[0], 5);
    (0..9).for_each(|_| smooth.failed(0));
    assert_eq!(smooth.effective[0], 0);
}
