//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod oracle;
mod as_nginx;
mod keys;
mod settings;
mod shared;
mod swaps;

use waypost_sdk::Verdict;
use waypost_sdk::log::Level;
use waypost_sdk::testing::{HookExchange, Hooked, Request};

use super::LimitReq;

/// Ten requests in a second.
const DECLARED: &str = r#"{"key": "$arg_user", "rate": "10r/s", "zone": "api"}"#;

fn of(declared: &str, place: &str) -> Hooked<LimitReq> {
    Hooked::new(declared, &[place]).unwrap_or_else(|error| panic!("{}", error.message))
}

fn request(user: &str) -> Request {
    Request::get(&format!("/?user={user}"))
}

/// A request of this user, and the verdict.
fn ask(hooked: &mut Hooked<LimitReq>, user: &str) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange(request(user));
    let verdict = hooked.on_request(&mut exchange);
    (verdict, exchange)
}

/// How many of so many requests at once pass.
fn passed(hooked: &mut Hooked<LimitReq>, user: &str, requests: usize) -> usize {
    let asked = (0..requests).map(|_| ask(hooked, user).0);
    asked.filter(|verdict| *verdict == Verdict::Proceed).count()
}

#[test]
fn twenty_requests_at_once_with_a_burst_of_five_are_six_that_pass() {
    let mut hooked = of(DECLARED, r#"{"burst": 5, "nodelay": true, "status": 429}"#);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let (verdict, exchange) = ask(&mut hooked, "a");
        statuses.push(exchange.answer().map_or(200, |(status, _)| status));
        assert_eq!(verdict == Verdict::Answer, exchange.answer().is_some());
        assert_eq!(exchange.changed().delay_us, 0);
    }
    assert_eq!(statuses, [[200; 6].as_slice(), &[429; 14]].concat());
    assert_eq!(hooked.counter("rejected"), 14);
    // A tenth of a second is one more.
    hooked.pass_us(100_000);
    assert_eq!(passed(&mut hooked, "a", 20), 1);
}

#[test]
fn a_rejection_leaves_the_body_to_the_host() {
    let mut hooked = of(DECLARED, "{}");
    assert_eq!(passed(&mut hooked, "a", 1), 1);
    let (_, exchange) = ask(&mut hooked, "a");
    assert_eq!(exchange.answer(), Some((503, "")));
    assert_eq!(
        exchange.attribute("limit_req_status").as_deref(),
        Some("REJECTED")
    );
    assert_eq!(
        hooked.log_lines(),
        [(
            Level::Error,
            "limiting requests, excess: 1.000 by zone \"api\"".to_owned()
        )]
    );
}

#[test]
fn a_burst_is_delayed_to_the_rate() {
    let mut hooked = of(DECLARED, r#"{"burst": 3}"#);
    let mut delay = || {
        let (verdict, exchange) = ask(&mut hooked, "a");
        (verdict, exchange.changed().delay_us)
    };
    assert_eq!(delay(), (Verdict::Proceed, 0));
    assert_eq!(delay(), (Verdict::Proceed, 100_000));
    assert_eq!(delay(), (Verdict::Proceed, 200_000));
    assert_eq!(delay(), (Verdict::Proceed, 300_000));
    assert_eq!(delay().0, Verdict::Answer);
    assert_eq!(hooked.counter("delayed"), 3);
    let lines = hooked.log_lines();
    assert_eq!(
        lines[0],
        (
            Level::Warn,
            "delaying request, excess: 1.000, by zone \"api\"".to_owned()
        )
    );
    assert_eq!(lines[3].0, Level::Error);
}

#[test]
fn the_first_part_of_a_burst_may_be_free_of_delays() {
    let mut hooked = of(DECLARED, r#"{"burst": 4, "delay": 2}"#);
    let mut delay = || ask(&mut hooked, "a").1.changed().delay_us;
    assert_eq!([delay(), delay(), delay()], [0; 3]);
    assert_eq!([delay(), delay()], [100_000, 200_000]);
}

#[test]
fn no_request_is_delayed_for_longer_than_an_hour() {
    let declared = r#"{"key": "$arg_user", "rate": "1r/m"}"#;
    let mut hooked = of(declared, r#"{"burst": 1000}"#);
    for _ in 0..500 {
        ask(&mut hooked, "a");
    }
    let (verdict, exchange) = ask(&mut hooked, "a");
    assert_eq!(
        (verdict, exchange.changed().delay_us),
        (Verdict::Proceed, 3_600_000_000)
    );
}

#[test]
fn a_dry_run_counts_and_logs_and_lets_pass() {
    let mut hooked = of(DECLARED, r#"{"burst": 1, "dry_run": true}"#);
    let mut status = || {
        let (verdict, exchange) = ask(&mut hooked, "a");
        assert_eq!(
            (verdict, exchange.changed().delay_us),
            (Verdict::Proceed, 0)
        );
        exchange.attribute("limit_req_status").unwrap()
    };
    assert_eq!(status(), "PASSED");
    assert_eq!(status(), "DELAYED_DRY_RUN");
    assert_eq!(status(), "REJECTED_DRY_RUN");
    let lines = hooked.log_lines();
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "delaying request, dry run, excess: 1.000, by zone \"api\"",
            "limiting requests, dry run, excess: 2.000 by zone \"api\""
        ]
    );
    assert_eq!(hooked.counter("rejected_dry_run"), 1);
    assert_eq!(hooked.counter("rejected"), 0);
}

#[test]
fn levels_of_lines_are_those_of_nginx() {
    for (level, rejected, delayed) in [
        ("error", Level::Error, Level::Warn),
        ("warn", Level::Warn, Level::Info),
        ("notice", Level::Info, Level::Info),
        ("info", Level::Info, Level::Info),
    ] {
        let place = format!(r#"{{"burst": 1, "log_level": "{level}"}}"#);
        let mut hooked = of(DECLARED, &place);
        passed(&mut hooked, "a", 3);
        let lines = hooked.log_lines();
        let levels: Vec<Level> = lines.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [delayed, rejected], "{level}");
    }
}

#[test]
fn places_share_a_zone_and_have_bursts_of_their_own() {
    let places = [
        r#"{"burst": 20, "nodelay": true}"#,
        r#"{"burst": 5, "nodelay": true}"#,
    ];
    let mut hooked = Hooked::<LimitReq>::new(DECLARED, &places).unwrap_or_else(|_| panic!());
    let mut passed = |place, requests| {
        let verdicts = (0..requests).map(|_| {
            let mut exchange = hooked.exchange_at(place, request("a"));
            hooked.on_request(&mut exchange)
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        verdicts
            .iter()
            .filter(|each| **each == Verdict::Proceed)
            .count()
    };
    assert_eq!(passed(1, 10), 6);
    assert_eq!(passed(0, 30), 15);
    assert_eq!(passed(1, 10), 0);
}

#[test]
fn a_rejected_request_is_counted_in_no_zone() {
    let declared = r#"{"zones": {
        "client": {"key": "$arg_user", "rate": "1r/s"},
        "all": {"key": "all", "rate": "1r/s"}}}"#;
    let place = r#"{"zones": [
        {"zone": "client", "burst": 1, "nodelay": true},
        {"zone": "all", "burst": 2, "nodelay": true}]}"#;
    let mut hooked = of(declared, place);
    assert_eq!(passed(&mut hooked, "a", 5), 2);
    // `a` has taken two of the three that all may have, not five.
    assert_eq!(passed(&mut hooked, "b", 5), 1);
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert_eq!(line, "limiting requests, excess: 3.000 by zone \"all\"");
    // `b` was looked up four times more, and counted once.
    hooked.pass_us(1_000_000);
    assert_eq!(passed(&mut hooked, "b", 5), 1);
}

#[test]
fn the_longest_delay_of_several_zones_counts() {
    let declared = r#"{"zones": {
        "slow": {"key": "$arg_user", "rate": "2r/s"},
        "quick": {"key": "all", "rate": "10r/s"}}}"#;
    let place = r#"{"zones": [{"zone": "slow", "burst": 5}, {"zone": "quick", "burst": 5}]}"#;
    let mut hooked = of(declared, place);
    let mut delay = || ask(&mut hooked, "a").1.changed().delay_us;
    assert_eq!([delay(), delay(), delay()], [0, 500_000, 1_000_000]);
    assert_eq!(
        hooked.log_lines().pop().unwrap().1,
        "delaying request, excess: 2.000, by zone \"slow\""
    );
}
