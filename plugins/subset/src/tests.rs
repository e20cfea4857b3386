//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use std::collections::BTreeSet;

use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::Subset;

const SETTINGS: &str = r#"{"key": "$arg_tenant", "size": 3}"#;

fn request(tenant: usize) -> Request {
    Request::get(&format!("/?tenant={tenant}"))
}

/// The endpoints that a tenant's request can reach.
fn subset(upstream: &mut Upstream<Subset>, tenant: usize) -> BTreeSet<usize> {
    let mut exchange = upstream.exchange(request(tenant));
    std::iter::from_fn(|| exchange.pick()).collect()
}

fn pick(upstream: &mut Upstream<Subset>, tenant: usize) -> Option<usize> {
    upstream.exchange(request(tenant)).pick()
}

#[test]
fn each_key_has_so_many_servers_and_retries_reach_no_other() {
    let mut upstream = Upstream::<Subset>::of(SETTINGS, 100);
    for tenant in 0..50 {
        let servers = subset(&mut upstream, tenant);
        assert_eq!(servers.len(), 3);
        assert_eq!(servers, subset(&mut upstream, tenant));
    }
}

#[test]
fn no_other_server_steps_in_for_those_that_are_out() {
    let mut upstream = Upstream::<Subset>::of(SETTINGS, 20);
    let servers = subset(&mut upstream, 1);
    let (first, last) = (*servers.first().unwrap(), *servers.last().unwrap());
    upstream.rotate_out(first);
    let left = subset(&mut upstream, 1);
    assert!(left.len() == 2 && left.is_subset(&servers));
    servers.iter().for_each(|&index| upstream.rotate_out(index));
    let mut exchange = upstream.exchange(request(1));
    assert_eq!(exchange.pick(), None);
    assert!(exchange.is_refused());
    upstream.rotate_in(last);
    assert_eq!(pick(&mut upstream, 1), Some(last));
}

#[test]
fn every_server_is_in_about_as_many_subsets_as_any_other() {
    let mut upstream = Upstream::<Subset>::of(SETTINGS, 10);
    let mut subsets = [0; 10];
    for tenant in 0..10_000 {
        for index in subset(&mut upstream, tenant) {
            subsets[index] += 1;
        }
    }
    assert!(
        subsets.iter().all(|subsets| (2800..3200).contains(subsets)),
        "{subsets:?}"
    );
}

#[test]
fn a_server_that_comes_changes_one_place_in_few_subsets() {
    let servers = |count: usize| (0..count).map(|i| endpoint(&format!("app-{i}:80")));
    let mut before = Upstream::<Subset>::new(SETTINGS, servers(30)).unwrap();
    let mut after = Upstream::<Subset>::new(SETTINGS, servers(31)).unwrap();
    let mut changed = 0;
    for tenant in 0..1000 {
        let (old, new) = (subset(&mut before, tenant), subset(&mut after, tenant));
        if old != new {
            changed += 1;
            assert!(new.contains(&30) && old.intersection(&new).count() == 2);
        }
    }
    assert!((60..140).contains(&changed), "{changed} of 1000"); // 3 of 31
}

#[test]
fn the_least_loaded_of_the_subset_for_its_weight_is_chosen() {
    for size in [3, 12] {
        let settings = format!(r#"{{"key": "$arg_tenant", "size": {size}}}"#);
        let weights = (0..40).map(|i| endpoint(&format!("app-{i}:80")).weight(1 + i % 2));
        let mut upstream = Upstream::<Subset>::new(&settings, weights).unwrap();
        for index in 0..40 {
            upstream.in_flight(index, 2 * (1 + index as u32 % 2));
        }
        for tenant in 0..20 {
            for idler in subset(&mut upstream, tenant) {
                let weight = 1 + idler as u32 % 2;
                upstream.in_flight(idler, 2 * weight - 1);
                assert_eq!(pick(&mut upstream, tenant), Some(idler));
                upstream.in_flight(idler, 2 * weight);
            }
        }
    }
}

#[test]
fn chance_by_weight_decides_between_servers_that_are_loaded_alike() {
    let servers = [endpoint("a:1").weight(3), endpoint("b:1"), endpoint("c:1")];
    let mut upstream = Upstream::<Subset>::new(SETTINGS, servers).unwrap();
    for loads in [[0, 0, 0], [6, 2, 2]] {
        (0..3).for_each(|index| upstream.in_flight(index, loads[index]));
        let mut chosen = [0; 3];
        for _ in 0..5000 {
            chosen[pick(&mut upstream, 1).unwrap()] += 1;
        }
        assert!((2850..3150).contains(&chosen[0]), "{chosen:?}");
        assert!((900..1100).contains(&chosen[1]), "{chosen:?}");
    }
}

#[test]
fn requests_without_a_key_have_a_subset_as_those_of_any_key() {
    let mut upstream = Upstream::<Subset>::of(SETTINGS, 20);
    let chosen: BTreeSet<_> = upstream.picks(100).into_iter().collect();
    assert_eq!(chosen.len(), 3);
}

#[test]
fn a_size_beyond_the_servers_gives_every_key_all_of_them() {
    let mut upstream = Upstream::<Subset>::of(SETTINGS, 2);
    assert_eq!(subset(&mut upstream, 7), BTreeSet::from([0, 1]));
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str| {
        let error = Upstream::<Subset>::new(settings, []).err().unwrap();
        (error.key, error.message)
    };
    assert_eq!(
        refused(r#"{"size": 2}"#),
        ("key".into(), "`key` is missing".into())
    );
    assert_eq!(
        refused(r#"{"key": "$uri"}"#),
        ("size".into(), "`size` is missing".into())
    );
    for size in ["0", "65"] {
        let (key, message) = refused(&format!(r#"{{"key": "$uri", "size": {size}}}"#));
        assert_eq!(
            (key.as_str(), message.as_str()),
            ("size", "`size` must be from 1 to 64")
        );
    }
    assert_eq!(
        refused(r#"{"key": "$uri", "size": 2, "sized": 2}"#).1,
        "unknown key `sized`; did you mean `size`?"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Subset>::check_description(&[r#"{"key": "$uri", "size": 2}"#]);
}
