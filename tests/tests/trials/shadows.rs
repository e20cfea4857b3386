//! A shadow is asked as well: what it would decide is compared, and nobody else notices.

use waypost_tests::{eventually, origin};

use super::{
    asks, balanced, first, get_as, hooked, last, mine, origins, served_by, trial, tried, turns,
};
use crate::{hooks, misbehaving};

#[tokio::test]
async fn a_shadow_of_a_policy_changes_nothing_and_what_it_would_do_is_counted() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    tried(&proxy, "shadow", &first()).await;
    assert_eq!(
        served_by(&proxy, origins[0].address(), 40).await,
        [] as [usize; 0]
    );
    let shown = trial(&proxy).await;
    assert_eq!(
        (&shown["agreed"], &shown["differed"]),
        (&0.into(), &40.into()),
        "{shown}"
    );
    assert!(
        shown["calls"].as_u64() >= Some(40),
        "what it costs: {shown}"
    );
    assert_eq!(shown["serving"]["exchanges"], 40);
    // Another one takes its place.
    let mut same = last();
    same.extend([0, 2, 1, 7]);
    tried(&proxy, "shadow", &same).await;
    assert_eq!(
        served_by(&proxy, origins[0].address(), 10).await,
        [] as [usize; 0]
    );
    let shown = trial(&proxy).await;
    assert_eq!(
        (&shown["agreed"], &shown["differed"]),
        (&10.into(), &0.into()),
        "{shown}"
    );
    assert_eq!(asks(&proxy, "promote").await.json()["hash"], shown["hash"]);
}

#[tokio::test]
async fn headers_of_a_shadow_never_reach_the_client() {
    let origins = origins(1).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    let adds = misbehaving::in_mode("adds_a_megabyte_of_headers");
    tried(&proxy, "shadow", &adds).await;
    for _ in 0..5 {
        let answer = proxy.get("/").await;
        assert!(answer.headers.all("X-Header-0").is_empty(), "{answer:?}");
        assert_eq!(answer.text(), origins[0].address());
    }
    assert_eq!(trial(&proxy).await["agreed"], 5);
}

#[tokio::test]
async fn a_shadow_of_a_hook_changes_no_answer_and_its_differing_changes_are_counted() {
    let origin = origin::says("hello").await;
    let proxy = hooked(&hooks::in_mode("plain"), &origin).await;
    tried(&proxy, "shadow", &hooks::in_mode("marks")).await;
    for client in 0..10 {
        let answer = get_as(&proxy, client).await;
        assert_eq!(answer.text(), "hello");
        assert!(answer.headers.all("X-Mode").is_empty(), "{answer:?}");
    }
    // About each request it differed, and about each response it did not.
    let shown = trial(&proxy).await;
    assert_eq!(
        (&shown["agreed"], &shown["differed"]),
        (&10.into(), &10.into()),
        "{shown}"
    );
    tried(&proxy, "shadow", &hooks::in_mode("answers")).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(trial(&proxy).await["differed"], 1);
}

#[tokio::test]
async fn a_shadow_that_traps_costs_no_request_and_goes_when_it_is_quarantined() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "max_faults = 3", &origins).await;
    tried(
        &proxy,
        "shadow",
        &misbehaving::in_mode("traps_on_every_second_call"),
    )
    .await;
    eventually("the end of the shadow", async || {
        assert_eq!(
            served_by(&proxy, origins[0].address(), 5).await,
            [] as [usize; 0]
        );
        mine(&proxy).await["trial"].is_null()
    })
    .await;
    let shown = mine(&proxy).await;
    assert_eq!(
        (&shown["version"], &shown["state"]),
        (&1.into(), &"live".into())
    );
    assert_eq!(shown["traps"], 0, "those are the shadow's");
    proxy.log_contains("withdrawn (shadow)").await;
}
