//! Counts go on through reloads, and have their bounds.

use waypost_tests::admin::ADMIN;
use waypost_tests::names::{host, origins};
use waypost_tests::{Answer, Origin, Proxy, origin, proxy};

async fn get(proxy: &Proxy, number: usize) {
    for _ in 0..number {
        assert_eq!(proxy.get("/").await.status, 200);
    }
}

async fn says(text: &'static str) -> Origin {
    origin::answers(move |_| Answer::ok(text)).await
}

#[tokio::test]
async fn what_stays_goes_on_counting_and_so_does_what_comes_back() {
    let (first, second) = (says("one").await, says("two").await);
    let proxy = proxy::to([&first]).more(ADMIN).start().await;
    get(&proxy, 2).await;
    let route = r#"waypost_requests_total{route="/",method="GET",code="2xx"}"#;
    let of = |origin: &Origin| {
        let address = origin.address();
        format!(
            r#"waypost_upstream_requests_total{{upstream="backend",endpoint="{address}",code="2xx"}}"#
        )
    };
    let before = proxy
        .counts("two requests", |metrics| metrics.value(route) == 2.0)
        .await;
    // Another server, and another timeout for the route.
    proxy.edit(first.address(), second.address());
    proxy.edit("proxy = ", "read_timeout = \"5s\"\nproxy = ");
    proxy.reload().await;
    get(&proxy, 3).await;
    let between = proxy
        .counts("five requests", |metrics| metrics.value(route) == 5.0)
        .await;
    assert_eq!(between.fallen_since(&before), [""; 0]);
    assert_eq!(between.value(&of(&first)), 2.0);
    assert_eq!(between.value(&of(&second)), 3.0);
    proxy.edit(second.address(), first.address());
    proxy.reload().await;
    get(&proxy, 1).await;
    let after = proxy
        .counts("six requests", |metrics| metrics.value(route) == 6.0)
        .await;
    assert_eq!(after.fallen_since(&between), [""; 0]);
    assert_eq!(after.value(&of(&first)), 3.0);
}

#[tokio::test]
async fn endpoints_beyond_the_bound_are_told_together() {
    let origins = [says("a").await, says("b").await, says("c").await];
    let proxy = proxy::to(&origins)
        .more(&format!(
            "[metrics]\nendpoints = 1\nbuckets = [\"1s\"]\n{ADMIN}"
        ))
        .start()
        .await;
    get(&proxy, 6).await;
    let metrics = proxy
        .counts("six attempts", |metrics| {
            metrics.sum("waypost_upstream_requests_total") == 6.0
        })
        .await;
    let of = |endpoint: &str| {
        metrics.value(&format!(
            r#"waypost_upstream_requests_total{{upstream="backend",endpoint="{endpoint}",code="2xx"}}"#
        ))
    };
    assert_eq!((of(origins[0].address()), of("other")), (2.0, 4.0));
    assert!(metrics.has(r#"waypost_request_duration_seconds_bucket{route="/",le="1.0"}"#));
    assert!(!metrics.has(r#"waypost_request_duration_seconds_bucket{route="/",le="0.1"}"#));
    // What was counted in some buckets cannot be told in others.
    proxy.edit(
        "endpoints = 1\nbuckets = [",
        "endpoints = 9\nbuckets = [\"100ms\", ",
    );
    let warnings = proxy.reload().await;
    assert!(
        matches!(&warnings[..], [warning] if warning.contains("`[metrics]` has changed")),
        "{warnings:?}"
    );
    let after = proxy.metrics().await;
    assert_eq!(after.fallen_since(&metrics), [""; 0]);
    assert!(!after.has(r#"waypost_request_duration_seconds_bucket{route="/",le="0.1"}"#));
}

#[tokio::test]
async fn upstreams_that_requests_name_are_told_by_name_up_to_the_bound() {
    let (origins, port) = origins(2).await;
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [metrics]\nnamed_upstreams = 1\n\
         [[route]]\nproxy = \"http://$arg_to:{port}\"\nproxy_allow = [\"127.0.0.0/8\"]\n{ADMIN}"
    );
    let proxy = proxy::run(&file, &[]).await;
    for origin in &origins {
        let target = format!("/?to={}", host(origin));
        assert_eq!(proxy.get(&target).await.text(), host(origin));
    }
    let metrics = proxy
        .counts("two attempts", |metrics| {
            metrics.sum("waypost_upstream_requests_total") == 2.0
        })
        .await;
    let told = metrics.all("waypost_upstream_requests_total");
    let (first, other) = (
        origins[0].address(),
        "upstream=\"other\",endpoint=\"other\"",
    );
    assert!(
        matches!(told[..], [(one, 1.0), (rest, 1.0)]
            if one.contains(&format!("endpoint=\"{first}\"")) && rest.contains(other)),
        "{told:?}"
    );
    let upstream = format!(
        "waypost_upstream_endpoints{{upstream=\"http://{}",
        host(&origins[0])
    );
    assert_eq!(metrics.sum(&upstream), 1.0);
}
