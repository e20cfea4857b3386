//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use round_robin::RoundRobin;
use waypost_sdk::testing::{Request, Upstream, check_filter_description, endpoint};
use waypost_sdk::{Filter, Settings};

use super::Labels;

/// Two servers without a version, two of `v2`, one of `v3`.
fn upstream(settings: &str) -> Upstream<RoundRobin> {
    let servers = [None, None, Some("v2"), Some("v2"), Some("v3")];
    let servers = servers.into_iter().enumerate().map(|(number, version)| {
        let server = endpoint(&format!("10.0.0.{number}:80"));
        match version {
            Some(version) => server.label("version", version),
            None => server,
        }
    });
    let upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    upstream.filter::<Labels>(settings)
}

fn by_cookie(otherwise: &str) -> Upstream<RoundRobin> {
    upstream(&format!(
        r#"{{"match": {{"version": "$cookie_version"}}, "otherwise": "{otherwise}"}}"#
    ))
}

fn wants(version: &str) -> Request {
    Request::get("/").cookie("version", version)
}

/// Where so many exchanges go, and whether they were refused.
fn picks(upstream: &mut Upstream<RoundRobin>, request: &Request) -> Vec<Option<usize>> {
    let pick = |_| {
        let mut exchange = upstream.exchange(request.clone());
        let picked = exchange.pick();
        assert_eq!(picked.is_none(), exchange.is_refused());
        picked
    };
    let mut picks: Vec<_> = (0..10).map(pick).collect();
    picks.sort_unstable();
    picks.dedup();
    picks
}

#[test]
fn a_request_gets_the_servers_whose_label_has_its_value() {
    for otherwise in ["refuse", "any", "unlabelled"] {
        let mut upstream = by_cookie(otherwise);
        assert_eq!(picks(&mut upstream, &wants("v2")), [Some(2), Some(3)]);
        assert_eq!(picks(&mut upstream, &wants("v3")), [Some(4)]);
    }
}

#[test]
fn without_such_a_server_the_setting_decides() {
    let all: Vec<_> = (0..5).map(Some).collect();
    for request in [wants("v4"), wants(""), Request::get("/")] {
        assert_eq!(picks(&mut by_cookie("refuse"), &request), [None]);
        assert_eq!(picks(&mut by_cookie("any"), &request), all);
        let unlabelled = picks(&mut by_cookie("unlabelled"), &request);
        assert_eq!(unlabelled, [Some(0), Some(1)]);
    }
}

#[test]
fn servers_that_are_out_are_as_good_as_none() {
    let out = |otherwise| {
        let mut upstream = by_cookie(otherwise);
        upstream.rotate_out(4);
        picks(&mut upstream, &wants("v3"))
    };
    assert_eq!(out("refuse"), [None]);
    assert_eq!(out("any"), [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(out("unlabelled"), [Some(0), Some(1)]);
    let mut upstream = by_cookie("unlabelled");
    [0, 1, 4]
        .into_iter()
        .for_each(|server| upstream.rotate_out(server));
    assert_eq!(
        picks(&mut upstream, &wants("v3")),
        [None],
        "v2 is not meant for it either"
    );
}

#[test]
fn a_retry_stays_among_them() {
    let mut upstream = by_cookie("refuse");
    let mut exchange = upstream.exchange(wants("v2"));
    let mut tried: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
    tried.sort_unstable();
    assert_eq!(tried, [2, 3]);
    assert!(exchange.is_refused());
}

#[test]
fn without_a_setting_a_request_is_refused() {
    let mut upstream = upstream(r#"{"match": {"version": "$cookie_version"}}"#);
    assert_eq!(picks(&mut upstream, &wants("v4")), [None]);
}

#[test]
fn several_labels_must_all_have_their_values() {
    let servers = [("a", "v1"), ("a", "v2"), ("b", "v2")].map(|(tenant, version)| {
        let server = endpoint(&format!("{tenant}-{version}:80"));
        server.label("tenant", tenant).label("version", version)
    });
    let upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    let mut upstream = upstream.filter::<Labels>(
        r#"{"match": {"tenant": "$http_x_tenant", "version": "v${arg_version}"}}"#,
    );
    let request =
        |tenant, version| Request::get(&format!("/?version={version}")).header("X-Tenant", tenant);
    assert_eq!(picks(&mut upstream, &request("a", 2)), [Some(1)]);
    assert_eq!(picks(&mut upstream, &request("b", 2)), [Some(2)]);
    assert_eq!(picks(&mut upstream, &request("b", 1)), [None]);
}

#[test]
fn labels_are_found_past_the_first_64_servers() {
    let servers = (0..200).map(|number| {
        let server = endpoint(&format!("10.0.0.{number}:80"));
        match number {
            150 => server.label("version", "v2"),
            199 => server,
            _ => server.label("version", "v1"),
        }
    });
    let upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    let mut upstream = upstream.filter::<Labels>(
        r#"{"match": {"version": "$cookie_version"}, "otherwise": "unlabelled"}"#,
    );
    assert_eq!(picks(&mut upstream, &wants("v2")), [Some(150)]);
    upstream.rotate_out(150);
    assert_eq!(picks(&mut upstream, &wants("v2")), [Some(199)]);
}

#[test]
fn settings_are_checked() {
    for (settings, key, message) in [
        ("{}", "match", "`match` is missing"),
        (r#"{"match": {}}"#, "match", "`match` is missing"),
        (
            r#"{"match": "v2"}"#,
            "match",
            "`match` must be a table of texts",
        ),
        (
            r#"{"match": {"version": "$"}}"#,
            "match.version",
            "`$` has a `$` without a variable name after it",
        ),
        (
            r#"{"match": {"version": "x"}, "otherwise": "deny"}"#,
            "otherwise",
            "`otherwise` must be \"refuse\", \"any\" or \"unlabelled\"",
        ),
    ] {
        let error = Labels::configure(Settings::parse(settings).unwrap())
            .err()
            .unwrap();
        assert_eq!((error.key.as_str(), error.message.as_str()), (key, message));
    }
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    let settings = r#"{"match": {"version": "$cookie_version"}, "otherwise": "any"}"#;
    check_filter_description::<Labels>(&[settings]);
}
