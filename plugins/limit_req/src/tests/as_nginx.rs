//! Random zones, bursts, delays, keys and arrivals, beside the oracle: each verdict, delay and log
//! line is the same.

use std::fmt::Write;

use waypost_sdk::log::Level;
use waypost_sdk::testing::{Hooked, Request};
use waypost_sdk::{Draws, Verdict};

use super::super::LimitReq;
use super::oracle::{Limit, Outcome, handle};
use super::{ask, of, passed};

/// A zone with random settings: for nginx, for the declaration, for the place.
fn random_limit(number: usize, most: usize, draws: &mut Draws) -> (Limit, String, String) {
    let name = format!("zone{number}");
    let requests = [1, 2, 5, 10, 59, 60, 61, 100, 999, 5000][draws.below(10) as usize];
    let (unit, seconds) = [("s", 1), ("m", 60)][draws.below(2) as usize];
    let burst = [0, 0, 1, 2, 5, 20, 1000][draws.below(7) as usize];
    let (delay, delay_text) = match draws.below(3) {
        0 => (Some(0), String::new()),
        1 => (None, ", \"nodelay\": true".to_owned()),
        _ => {
            let delay = draws.below(burst + 2);
            (Some(delay), format!(", \"delay\": {delay}"))
        }
    };
    let limit = Limit::new(&name, requests * 1000 / seconds, burst, delay, most);
    let declared = format!(r#""key": "$arg_k{number}", "rate": "{requests}r/{unit}""#);
    let used = format!(r#""burst": {burst}{delay_text}"#);
    (limit, declared, used)
}

/// How far the clock moves before the next request: mostly forward, by steps around those that
/// matter to rates; sometimes back.
fn step(draws: &mut Draws) -> i64 {
    match draws.below(40) {
        0 => -(draws.below(200) as i64),
        1 => -(draws.below(130_000) as i64),
        2 => draws.below(200_000) as i64,
        3..8 => draws.below(2000) as i64,
        8..20 => draws.below(50) as i64,
        _ => draws.below(2) as i64,
    }
}

fn outcome(hooked: &mut Hooked<LimitReq>, target: &str) -> Outcome {
    let mut exchange = hooked.exchange(Request::get(target));
    let verdict = hooked.on_request(&mut exchange);
    assert_eq!(verdict == Verdict::Answer, exchange.answer().is_some());
    let status = exchange.attribute("limit_req_status");
    assert_eq!(
        verdict == Verdict::Answer,
        status.as_deref() == Some("REJECTED")
    );
    let statuses = [
        "PASSED",
        "DELAYED",
        "REJECTED",
        "DELAYED_DRY_RUN",
        "REJECTED_DRY_RUN",
    ];
    Outcome {
        status: status.map(|status| {
            let known = statuses.into_iter().find(|each| *each == status);
            known.expect("one of nginx's")
        }),
        delay_ms: exchange.changed().delay_us / 1000,
        line: hooked.log_lines().pop().map(|(_, line)| line),
    }
}

fn run(seed: u64) {
    let mut draws = Draws::from_seed(seed);
    let number = 1 + draws.below(3) as usize;
    let dry_run = draws.below(5) == 0;
    // The smallest zones hold 128 short keys where there is one, and 512 of several.
    let most = if number == 1 { 128 } else { 512 };
    let (mut limits, mut declared, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..number {
        let (limit, declaration, place) = random_limit(index, most, &mut draws);
        limits.push(limit);
        declared.push(declaration);
        used.push(place);
    }
    let (declaration, place) = if number == 1 {
        (
            format!(r#"{{{}, "zone": "zone0", "size": "32k"}}"#, declared[0]),
            format!(r#"{{{}, "dry_run": {dry_run}}}"#, used[0]),
        )
    } else {
        let zones = declared.iter().enumerate();
        let zones: Vec<String> = zones
            .map(|(n, zone)| format!(r#""zone{n}": {{{zone}, "size": "32k"}}"#))
            .collect();
        // In an order that is not that of names.
        limits.reverse();
        let uses = used.iter().enumerate().rev();
        let uses: Vec<String> = uses
            .map(|(n, place)| format!(r#"{{"zone": "zone{n}", {place}}}"#))
            .collect();
        (
            format!(r#"{{"zones": {{{}}}}}"#, zones.join(", ")),
            format!(
                r#"{{"zones": [{}], "dry_run": {dry_run}}}"#,
                uses.join(", ")
            ),
        )
    };
    let mut hooked = Hooked::<LimitReq>::new(&declaration, &[&place])
        .unwrap_or_else(|error| panic!("{declaration} {place}: {}", error.message));
    // Few keys meet their limits, many of them that of the table.
    let keys = [2, 5, 700][draws.below(3) as usize];
    let mut now_ms = 1_000_000_000_i64;
    for request in 0..2000 {
        now_ms += step(&mut draws);
        let (mut target, mut values) = ("/?".to_owned(), vec![String::new(); number]);
        for (index, value) in values.iter_mut().enumerate() {
            if draws.below(10) != 0 {
                *value = format!("key{}", draws.below(keys));
            }
            let _ = write!(target, "k{index}={value}&");
        }
        if number > 1 {
            values.reverse();
        }
        hooked.now_us = now_ms as u64 * 1000 + draws.below(1000);
        let got = outcome(&mut hooked, &target);
        let mut expected = handle(&mut limits, &values, now_ms as u64, dry_run);
        expected.delay_ms = expected.delay_ms.min(3_600_000); // the host's bound
        assert_eq!(
            got, expected,
            "seed {seed}, request {request} {target} at {now_ms}\n{declaration}\n{place}"
        );
    }
}

#[test]
fn each_verdict_delay_and_line_is_that_of_nginx() {
    for seed in 0..100 {
        run(seed);
    }
}

/// nginx goes through the zones from the last one, and keeps the first of equal delays.
#[test]
fn of_equal_delays_the_one_of_the_last_zone_is_named() {
    let declared = r#"{"zones": {"x": {"key": "$arg_user", "rate": "1r/s"},
                                 "y": {"key": "$arg_user", "rate": "1r/s"}}}"#;
    for (first, last) in [("x", "y"), ("y", "x")] {
        let place = format!(
            r#"{{"zones": [{{"zone": "{first}", "burst": 5}}, {{"zone": "{last}", "burst": 5}}]}}"#
        );
        let mut hooked = of(declared, &place);
        assert_eq!(passed(&mut hooked, "a", 2), 2);
        let line = format!("delaying request, excess: 1.000, by zone \"{last}\"");
        assert_eq!(hooked.log_lines(), [(Level::Warn, line)]);
    }
}

/// `ngx_http_limit_req_expire`: what is taken away by force may have had others behind it that are
/// stale, and these go as well. A key that was forgotten so begins anew.
#[test]
fn a_bucket_that_is_evicted_takes_two_stale_ones_with_it() {
    let declared = r#"{"key": "$arg_user", "rate": "1r/m", "size": "32k"}"#;
    let mut hooked = of(declared, r#"{"burst": 100}"#);
    // Far from empty when the others are, and so what keeps them from being dropped.
    passed(&mut hooked, "oldest", 10);
    for user in ["b", "c", "d"] {
        passed(&mut hooked, user, 2);
    }
    hooked.pass_us(50_000_000);
    for user in 0..124 {
        ask(&mut hooked, &user.to_string());
    }
    assert_eq!(hooked.counter("evicted"), 0);
    hooked.pass_us(13_000_000);
    ask(&mut hooked, "new");
    assert_eq!(hooked.counter("evicted"), 1);
    let mut delay = |user| ask(&mut hooked, user).1.changed().delay_us;
    // An excess of 1, less 63 seconds of the rate, which leaves nothing; and one more.
    assert_eq!(delay("d"), 62_000_000);
    assert_eq!(delay("b"), 0);
    assert_eq!(delay("c"), 0);
}
